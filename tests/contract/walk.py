"""Walks an endpoint with boto3, its checks and waiters included: create, put, read by every kind of
iterator, split, merge, fan-out, throttling, errors.

usage: walk.py URL        (an endpoint with the service's limits)
"""

import sys
import time

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

STREAM = "walk"
FIRST = "shardId-000000000000"


def equal(found, expected, what):
    if found != expected:
        raise SystemExit(f"{what}: {found!r} instead of {expected!r}")
    print(f"  {what}")


def refused(call, expected, what):
    try:
        call()
    except ClientError as error:
        equal(error.response["Error"]["Code"], expected, what)
        return error
    raise SystemExit(f"{what}: it was not refused")


def client(url):
    once = Config(retries={"total_max_attempts": 1}, read_timeout=20)
    return boto3.client("kinesis", endpoint_url=url, region_name="us-east-1", config=once,
                        aws_access_key_id="local", aws_secret_access_key="local")


def active(kinesis, name=STREAM):
    kinesis.get_waiter("stream_exists").wait(
        StreamName=name, WaiterConfig={"Delay": 0.15, "MaxAttempts": 70})


def iterator(kinesis, kind, shard=FIRST, **more):
    got = kinesis.get_shard_iterator(StreamName=STREAM, ShardId=shard, ShardIteratorType=kind, **more)
    return got["ShardIterator"]


def data(got):
    return [record["Data"].decode() for record in got["Records"]]


def wait_for_reads():
    # Five reads a second of a shard.
    time.sleep(1.1)


def put_and_read(kinesis):
    entries = [{"Data": text.encode(), "PartitionKey": "k", "ExplicitHashKey": "0"}
               for text in ("a", "b", "c")]
    put = kinesis.put_records(StreamName=STREAM, Records=entries)
    equal(put["FailedRecordCount"], 0, "PutRecords takes three records")
    second = put["Records"][1]["SequenceNumber"]
    one = kinesis.put_record(StreamName=STREAM, PartitionKey="k", ExplicitHashKey="0", Data=b"d")
    equal(one["ShardId"], FIRST, "PutRecord goes to the shard of its hash key")
    for kind, more, expected in (
        ("TRIM_HORIZON", {}, "abcd"),
        ("LATEST", {}, ""),
        ("AT_SEQUENCE_NUMBER", {"StartingSequenceNumber": second}, "bcd"),
        ("AFTER_SEQUENCE_NUMBER", {"StartingSequenceNumber": second}, "cd"),
        ("AT_TIMESTAMP", {"Timestamp": time.time() - 60}, "abcd"),
    ):
        wait_for_reads()
        got = kinesis.get_records(ShardIterator=iterator(kinesis, kind, **more))
        equal("".join(data(got)), expected, f"an iterator {kind} reads {expected!r}")
        equal(got["MillisBehindLatest"], 0, "and stands at the tip")


def throttle(kinesis):
    wait_for_reads()
    place = iterator(kinesis, "LATEST")
    for _ in range(5):
        kinesis.get_records(ShardIterator=place)
    refused(lambda: kinesis.get_records(ShardIterator=place),
            "ProvisionedThroughputExceededException", "the sixth read within a second is refused")
    large = [{"Data": b"x" * 400_000, "PartitionKey": "k", "ExplicitHashKey": "0"}] * 4
    put = kinesis.put_records(StreamName=STREAM, Records=large)
    codes = {record.get("ErrorCode") for record in put["Records"]}
    equal(codes, {None, "ProvisionedThroughputExceededException"},
          "of 1.6 MB at once to a shard some records are refused")


def reshard(kinesis):
    kinesis.split_shard(StreamName=STREAM, ShardToSplit=FIRST, NewStartingHashKey="1000")
    refused(lambda: kinesis.merge_shards(StreamName=STREAM, ShardToMerge="shardId-000000000002",
                                         AdjacentShardToMerge="shardId-000000000003"),
            "ResourceInUseException", "a stream that is UPDATING is not resharded")
    active(kinesis)
    kinesis.merge_shards(StreamName=STREAM, ShardToMerge="shardId-000000000002",
                         AdjacentShardToMerge="shardId-000000000003")
    active(kinesis)
    for shard, expected in ((FIRST, ["shardId-000000000002", "shardId-000000000003"]),
                            ("shardId-000000000002", ["shardId-000000000004"])):
        place = iterator(kinesis, "TRIM_HORIZON", shard)
        while True:
            wait_for_reads()
            got = kinesis.get_records(ShardIterator=place)
            place = got.get("NextShardIterator")
            if place is None:
                break
        equal([child["ShardId"] for child in got["ChildShards"]], expected,
              f"the end of {shard} names its children")
    # By hand: the paginator repeats the stream's name, which the service refuses with a token.
    page = kinesis.list_shards(StreamName=STREAM, MaxResults=2)
    shards = page["Shards"]
    while "NextToken" in page:
        page = kinesis.list_shards(NextToken=page["NextToken"], MaxResults=2)
        shards += page["Shards"]
    equal(len(shards), 5, "pages list five shards")
    open_now = kinesis.list_shards(StreamName=STREAM, ShardFilter={"Type": "AT_LATEST"})
    equal(len(open_now["Shards"]), 2, "two of them are open")


def subscribe(kinesis, consumer, shard, **start):
    return kinesis.subscribe_to_shard(ConsumerARN=consumer, ShardId=shard, StartingPosition=start)


def fan_out(kinesis, arn):
    consumer = kinesis.register_stream_consumer(StreamARN=arn, ConsumerName="c")["Consumer"]
    equal(consumer["ConsumerStatus"], "CREATING", "a new consumer is CREATING")
    consumer = consumer["ConsumerARN"]
    described = lambda: kinesis.describe_stream_consumer(ConsumerARN=consumer)
    while described()["ConsumerDescription"]["ConsumerStatus"] != "ACTIVE":
        time.sleep(0.05)
    last = None
    read = ""
    for event in subscribe(kinesis, consumer, FIRST, Type="TRIM_HORIZON")["EventStream"]:
        last = event["SubscribeToShardEvent"]
        read += "".join(text for text in data(last) if len(text) == 1)
    equal(read, "abcd", "a subscription reads a closed shard to its end")
    equal(last.get("ContinuationSequenceNumber"), None, "where there is no place to go on")
    equal(len(last["ChildShards"]), 2, "but children")
    refused(lambda: subscribe(kinesis, consumer, FIRST, Type="LATEST"),
            "ResourceInUseException", "a second subscription within five seconds is refused")
    child = "shardId-000000000004"
    events = iter(subscribe(kinesis, consumer, child, Type="LATEST")["EventStream"])
    put = time.monotonic()
    kinesis.put_record(StreamName=STREAM, PartitionKey="k", ExplicitHashKey="0", Data=b"e")
    equal(data(next(events)["SubscribeToShardEvent"]), ["e"], "a record comes as it is put")
    print(f"  after {(time.monotonic() - put) * 1000:.1f} ms, put included")
    time.sleep(5.1)
    subscribe(kinesis, consumer, child, Type="LATEST")
    refused(lambda: [event for event in events], "ResourceInUseException",
            "after five seconds a second subscription takes over, and the first is told")
    kinesis.deregister_stream_consumer(ConsumerARN=consumer)


def errors(kinesis):
    refused(lambda: kinesis.describe_stream(StreamName="nowhere"),
            "ResourceNotFoundException", "an unknown stream is not found")
    refused(lambda: kinesis.create_stream(StreamName=STREAM, ShardCount=1),
            "ResourceInUseException", "a name is used once")
    refused(lambda: kinesis.get_records(ShardIterator="forged"),
            "InvalidArgumentException", "a forged iterator is refused")
    refused(lambda: kinesis.put_record(StreamName=STREAM, PartitionKey="k", Data=b"x" * (1 << 20)),
            "InvalidArgumentException", "a record above 1 MiB with its key is refused")
    error = refused(lambda: kinesis.list_shards(StreamName="a b"), "ValidationException",
                    "a name against its pattern is refused")
    equal(len(error.response["ResponseMetadata"]["RequestId"]), 36, "an error has a request id")
    equal(error.response["ResponseMetadata"]["HTTPStatusCode"], 400, "and status 400")


def main():
    kinesis = client(sys.argv[1])
    kinesis.create_stream(StreamName=STREAM, ShardCount=2, Tags={"team": "walk"})
    active(kinesis)
    summary = kinesis.describe_stream_summary(StreamName=STREAM)["StreamDescriptionSummary"]
    equal((summary["StreamStatus"], summary["OpenShardCount"]), ("ACTIVE", 2), "a stream is made")
    for part in (put_and_read, throttle, errors, reshard):
        print(part.__name__)
        part(kinesis)
    print("fan_out")
    fan_out(kinesis, summary["StreamARN"])
    kinesis.create_stream(StreamName="walk-2", ShardCount=1)
    active(kinesis, "walk-2")
    pages = kinesis.get_paginator("list_streams").paginate(PaginationConfig={"PageSize": 1})
    names = [stream["StreamName"] for page in pages for stream in page["StreamSummaries"]]
    equal(names, [STREAM, "walk-2"], "pages list both streams with summaries")
    kinesis.delete_stream(StreamName=STREAM, EnforceConsumerDeletion=True)
    kinesis.get_waiter("stream_not_exists").wait(
        StreamName=STREAM, WaiterConfig={"Delay": 0.15, "MaxAttempts": 70})
    print("boto3 walked the endpoint")


main()
