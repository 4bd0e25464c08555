"""An endpoint as a check sees it: requests, their pace, and set-ups that many checks share."""

import itertools
import threading
import time
import uuid
from http.client import HTTPConnection, HTTPSConnection
from urllib.parse import urlparse

import boto3
from botocore import xform_name
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError, ClientError

from kit import FIRST, LIMIT, MIB, THROUGHPUT, Wrong

KEY = Credentials("AKIDBEHAVIOUR", "of sixteen characters or more")
REGION = "us-east-1"
RUN = uuid.uuid4().hex[:6]

# Requests a second that the documentation allows an account; five where it says nothing else.
RATES = {"DescribeStreamSummary": 20, "DescribeStream": 10, "UpdateShardCount": 10,
         "DescribeLimits": 1}
# These are limited by stream or by shard.
BY_SHARD = {"PutRecord", "PutRecords", "GetRecords", "GetShardIterator", "SubscribeToShard",
            "ListShards", "DescribeStreamConsumer"}


class Refused(Exception):
    """The endpoint answered with an error."""

    def __init__(self, code, message):
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class Pace:
    """Spreads requests over time so that no rate of the account is passed."""

    def __init__(self):
        self.lock = threading.Lock()
        self.free = {}

    def wait(self, operation):
        if operation in BY_SHARD:
            return
        gap = 1.15 / RATES.get(operation, 5)
        with self.lock:
            turn = max(time.monotonic(), self.free.get(operation, 0))
            self.free[operation] = turn + gap
        time.sleep(max(0, turn - time.monotonic()))


class Server:
    """What all checks share."""

    def __init__(self, url):
        config = Config(retries={"total_max_attempts": 1}, parameter_validation=False,
                        connect_timeout=5, read_timeout=15, max_pool_connections=60)
        self.url = urlparse(url)
        self.pace = Pace()
        self.numbers = itertools.count()
        self.client = boto3.client(
            "kinesis", endpoint_url=url, region_name=REGION, config=config,
            aws_access_key_id=KEY.access_key, aws_secret_access_key=KEY.secret_key)

    def connect(self):
        kind = HTTPSConnection if self.url.scheme == "https" else HTTPConnection
        return kind(self.url.hostname, self.url.port, timeout=15)


def short(value, most=160):
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}..."


class Endpoint:
    """One check's view of the server; it remembers the last request and its answer."""

    def __init__(self, server):
        self.server = server
        self.sent = self.came = "nothing"

    # Requests.

    def ask(self, operation, **params):
        self.server.pace.wait(operation)
        return self.at_once(operation, **params)

    def at_once(self, operation, **params):
        """Without the pace: for what has to be quick, and for passing a rate."""
        self.sent = f"{operation} {short(params)}"
        try:
            answer = getattr(self.server.client, xform_name(operation))(**params)
        except ClientError as error:
            refusal = Refused(error.response["Error"]["Code"], error.response["Error"]["Message"])
            self.came = short(str(refusal))
            raise refusal from None
        except (BotoCoreError, ValueError) as error:
            self.came = short(error)
            raise
        answer.pop("ResponseMetadata", None)
        self.came = short(answer)
        return answer

    def refused(self, operation, *codes, **params):
        try:
            self.ask(operation, **params)
        except Refused as refusal:
            if refusal.code not in codes:
                raise Wrong(f"it was refused with {refusal.code}, not {' or '.join(codes)}")
            return refusal
        raise Wrong(f"it was not refused with {' or '.join(codes)}")

    def burst(self, operation, requests):
        """Sends all requests at the same time; their errors, with None for a success."""
        codes = []

        def send(params):
            try:
                Endpoint(self.server).at_once(operation, **params)
                codes.append(None)
            except Refused as refusal:
                codes.append(refusal.code)

        threads = [threading.Thread(target=send, args=[params], daemon=True) for params in requests]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        time.sleep(1.1)
        self.sent, self.came = f"{len(requests)} times {operation} at once", short(codes)
        return codes

    def headers(self, target, body, content_type="application/x-amz-json-1.1", more=None,
                method="POST", signed=True):
        headers = {"Content-Type": content_type, **(more or {})}
        if target:
            headers["X-Amz-Target"] = f"Kinesis_20131202.{target}"
        request = AWSRequest(method, self.server.url.geturl(), headers, body)
        if signed:
            SigV4Auth(KEY, "kinesis", REGION).add_auth(request)
        return dict(request.headers)

    def post(self, target, body, content_type="application/x-amz-json-1.1", headers=None,
             connection=None, method="POST", signed=True):
        """A request made by hand; its status, headers and body."""
        headers = self.headers(target, body, content_type, headers, method, signed)
        connection = connection or self.server.connect()
        self.sent = f"{target} {content_type} {short(body)}"
        connection.request(method, "/", body, headers)
        answer = connection.getresponse()
        came = answer.status, answer.headers, answer.read()
        self.came = f"{answer.status} {short(came[2])}"
        return came

    # Set-ups.

    def name(self):
        return f"behaviour-{RUN}-{next(self.server.numbers):04}"

    def patiently(self, operation, codes, **params):
        """Waits and asks again while a limit holds it back, as official clients do."""
        for _ in range(60):
            try:
                return self.ask(operation, **params)
            except Refused as refusal:
                if refusal.code not in codes:
                    raise
                time.sleep(0.4)
        raise Wrong(f"{operation} is held back by a limit for good")

    def stream(self, shards=1, name=None, **more):
        name = name or self.name()
        self.patiently("CreateStream", [LIMIT], StreamName=name, ShardCount=shards, **more)
        return self.active(name)

    def on_demand(self, **more):
        name = self.name()
        self.patiently("CreateStream", [LIMIT], StreamName=name,
                       StreamModeDetails={"StreamMode": "ON_DEMAND"}, **more)
        return self.active(name)

    def summary(self, name):
        return self.ask("DescribeStreamSummary", StreamName=name)["StreamDescriptionSummary"]

    def status(self, name):
        described = self.at_once("DescribeStreamSummary", StreamName=name)
        return described["StreamDescriptionSummary"]["StreamStatus"]

    def arn(self, name):
        return self.summary(name)["StreamARN"]

    def active(self, name):
        for _ in range(60):
            time.sleep(0.25)
            if self.summary(name)["StreamStatus"] == "ACTIVE":
                return name
        raise Wrong(f"{name} does not become ACTIVE")

    def gone(self, name):
        for _ in range(60):
            time.sleep(0.25)
            try:
                self.summary(name)
            except Refused:
                return
        raise Wrong(f"{name} does not go away")

    def shards(self, name, **more):
        return self.ask("ListShards", StreamName=name, **more)["Shards"]

    def put(self, name, text=b"x", key="k", **more):
        return self.ask("PutRecord", StreamName=name, Data=text, PartitionKey=key, **more)

    def put_around(self, name, before, after):
        """Two records, and a time between their arrivals."""
        self.put(name, before)
        time.sleep(1)
        between = time.time()
        time.sleep(1)
        self.put(name, after)
        return between

    def put_mebibytes(self, name, count):
        """Records of one mebibyte with their key, as fast as a shard takes them."""
        for _ in range(count):
            self.patiently("PutRecord", [THROUGHPUT], StreamName=name, Data=b"m" * (MIB - 1),
                           PartitionKey="k")

    def iterator(self, name, kind="TRIM_HORIZON", shard=FIRST, **more):
        return self.patiently("GetShardIterator", [THROUGHPUT], StreamName=name, ShardId=shard,
                              ShardIteratorType=kind, **more)["ShardIterator"]

    def get(self, iterator, **more):
        return self.patiently("GetRecords", [THROUGHPUT], ShardIterator=iterator, **more)

    def read(self, iterator, wanted):
        """Records from here on, until there are so many or no more come; and the last answer."""
        records = []
        for _ in range(12):
            answer = self.get(iterator)
            records += answer["Records"]
            iterator = answer.get("NextShardIterator")
            if iterator is None or len(records) >= wanted:
                break
            time.sleep(0.25)
        return records, answer

    def split(self, name, shard=FIRST, at=2 ** 127):
        self.patiently("SplitShard", [LIMIT], StreamName=name, ShardToSplit=shard,
                       NewStartingHashKey=str(at))
        return self.active(name)

    def merge(self, name, shard=FIRST, other="shardId-000000000001"):
        self.patiently("MergeShards", [LIMIT], StreamName=name, ShardToMerge=shard,
                       AdjacentShardToMerge=other)
        return self.active(name)

    def consumer(self, stream_arn, name="reader", **more):
        """A registered consumer that is ACTIVE; its ARN."""
        made = self.patiently("RegisterStreamConsumer", [LIMIT], StreamARN=stream_arn,
                              ConsumerName=name, **more)["Consumer"]
        for _ in range(60):
            time.sleep(0.2)
            described = self.ask("DescribeStreamConsumer", ConsumerARN=made["ConsumerARN"])
            if described["ConsumerDescription"]["ConsumerStatus"] == "ACTIVE":
                return made["ConsumerARN"]
        raise Wrong(f"the consumer {name} does not become ACTIVE")
