"""A worker of another make, for `kcl drill --worker-cmd`: boto3, one thread, and leases of the simplest
kind. A row a shard; who renews it has the shard; whoever sees it unrenewed for a lease duration on its own
clock takes it, under the next fence. It knows nothing of splits and merges.

What it must do is in docs/drills.md.
"""

import json
import os
import signal
import socket
import sys
import time

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

WORKER = os.environ["WORKER_ID"]
STREAM = os.environ["STREAM"]
TABLE = os.environ["APP"]
START = os.environ["START_POSITION"]
LEASE_S = int(os.environ["DRILL_LEASE_MS"]) / 1000
POLL_S = int(os.environ["DRILL_POLL_MS"]) / 1000
RENEW_EVERY_S = LEASE_S / 5
# It stops this long before others may begin: enough for the batch it is in.
MARGIN_S = 0.5

QUICK = Config(connect_timeout=1, read_timeout=1, retries={"max_attempts": 0})
kinesis = boto3.client("kinesis", endpoint_url=os.environ["KINESIS_ENDPOINT"], region_name="us-east-1", config=QUICK)
dynamodb = boto3.client("dynamodb", endpoint_url=os.environ["DYNAMODB_ENDPOINT"], region_name="us-east-1", config=QUICK)


def say(event, **members):
    line = {"ts": time.time(), "worker": WORKER, "event": event, **members}
    print(json.dumps(line), flush=True)


class Sink:
    """Where effects go: a line of JSON for each, answered by a word."""

    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.lines = socket.create_connection((host, int(port)), timeout=2).makefile("rw")

    def takes(self, shard, fence, ids):
        print(json.dumps({"shard": shard, "fence": fence, "ids": ids}), file=self.lines, flush=True)
        return self.lines.readline().strip() == "ok"


class Held:
    """A shard that is ours, as far as we know."""

    def __init__(self, shard, fence, checkpoint):
        self.shard, self.fence, self.checkpoint = shard, fence, checkpoint
        self.iterator = None
        self.until = 0.0

    def is_ours(self):
        return time.monotonic() < self.until - MARGIN_S

    def valid_until(self):
        return time.time() + self.until - time.monotonic()

    def update(self, expression, **values):
        """Changes the row if it is still ours; false if it is not."""
        values = {":me": {"S": WORKER}, ":fence": {"N": str(self.fence)}, **values}
        try:
            dynamodb.update_item(
                TableName=TABLE, Key={"rowShard": {"S": self.shard}}, UpdateExpression=expression,
                ConditionExpression="rowHolder = :me AND rowFence = :fence", ExpressionAttributeValues=values)
        except dynamodb.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def renew(self):
        sent = time.monotonic()
        if not self.update("SET rowBeat = rowBeat + :one", **{":one": {"N": "1"}}):
            return False
        self.until = sent + LEASE_S
        return True

    def read(self):
        if self.iterator is None:
            where = {"ShardIteratorType": START}
            if self.checkpoint:
                where = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": self.checkpoint}
            answer = kinesis.get_shard_iterator(StreamName=STREAM, ShardId=self.shard, **where)
            self.iterator = answer["ShardIterator"]
        answer = kinesis.get_records(ShardIterator=self.iterator)
        self.iterator = answer.get("NextShardIterator")
        return answer["Records"]

    def process(self, sink):
        """One batch: effect, line, checkpoint. False if the shard is not ours any more."""
        started, valid_until = time.time(), self.valid_until()
        records = self.read()
        if not records:
            return True
        if not self.is_ours():
            # Read again from the checkpoint, once it is ours again.
            self.iterator = None
            return True
        ids = [record["Data"].decode() for record in records]
        seq = records[-1]["SequenceNumber"]
        if not sink.takes(self.shard, self.fence, ids):
            return False
        say("records", shard=self.shard, n=len(ids), seq=seq, ids=ids, fence=self.fence,
            started=started, valid_until=valid_until)
        self.checkpoint = seq
        return self.update("SET rowDone = :seq", **{":seq": {"S": seq}})


class Worker:
    def __init__(self):
        self.sink = Sink(os.environ["DRILL_SINK"])
        self.held = {}
        # Of each row: what it said of its holder, and since when it has.
        self.seen = {}
        self.leaves = False
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "leaves", True))

    def prepare(self):
        try:
            dynamodb.create_table(
                TableName=TABLE, BillingMode="PAY_PER_REQUEST",
                AttributeDefinitions=[{"AttributeName": "rowShard", "AttributeType": "S"}],
                KeySchema=[{"AttributeName": "rowShard", "KeyType": "HASH"}])
        except dynamodb.exceptions.ResourceInUseException:
            pass
        for shard in kinesis.list_shards(StreamName=STREAM)["Shards"]:
            row = {"rowShard": {"S": shard["ShardId"]}, "rowFence": {"N": "0"}, "rowBeat": {"N": "0"}}
            try:
                dynamodb.put_item(TableName=TABLE, Item=row, ConditionExpression="attribute_not_exists(rowShard)")
            except dynamodb.exceptions.ConditionalCheckFailedException:
                pass

    def take(self):
        """Takes what nobody has, or whose holder has not renewed it for a lease duration."""
        for row in dynamodb.scan(TableName=TABLE, ConsistentRead=True)["Items"]:
            shard, fence, beat = row["rowShard"]["S"], int(row["rowFence"]["N"]), row["rowBeat"]["N"]
            holder = row.get("rowHolder", {}).get("S")
            said, now = (holder, fence, beat), time.monotonic()
            if self.seen.get(shard, (None,))[0] != said:
                self.seen[shard] = (said, now)
            if shard in self.held or (holder and now - self.seen[shard][1] < LEASE_S):
                continue
            condition = "rowFence = :fence AND rowBeat = :beat AND " + (
                "rowHolder = :holder" if holder else "attribute_not_exists(rowHolder)")
            values = {":fence": {"N": str(fence)}, ":beat": {"N": beat}, ":next": {"N": str(fence + 1)},
                      ":me": {"S": WORKER}, **({":holder": {"S": holder}} if holder else {})}
            sent = time.monotonic()
            try:
                dynamodb.update_item(
                    TableName=TABLE, Key={"rowShard": {"S": shard}}, ConditionExpression=condition,
                    UpdateExpression="SET rowHolder = :me, rowFence = :next", ExpressionAttributeValues=values)
            except dynamodb.exceptions.ConditionalCheckFailedException:
                continue
            held = Held(shard, fence + 1, row.get("rowDone", {}).get("S"))
            held.until = sent + LEASE_S
            self.held[shard] = held
            say("shard_start", shard=shard, seq=held.checkpoint, fence=held.fence)

    def lose(self, shard):
        del self.held[shard]
        say("lease_lost", shard=shard)

    def each(self, does):
        """Does something for each shard; what proves lost is let go."""
        for shard, held in list(self.held.items()):
            try:
                if not does(held):
                    self.lose(shard)
            except ClientError as error:
                # Told and tried again: an iterator that has expired, a request that was refused.
                print(f"{shard}: {error}", file=sys.stderr, flush=True)
                held.iterator = None

    def run(self):
        self.prepare()
        say("ready")
        renewed = 0.0
        while not self.leaves:
            if time.monotonic() - renewed >= RENEW_EVERY_S:
                renewed = time.monotonic()
                self.each(Held.renew)
                self.take()
            self.each(lambda held: held.process(self.sink) if held.is_ours() else True)
            time.sleep(POLL_S)
        self.each(lambda held: held.update("REMOVE rowHolder"))
        say("shutdown")


Worker().run()
