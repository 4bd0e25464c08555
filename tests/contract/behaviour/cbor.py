"""Requests and answers of the type application/x-amz-cbor-1.1, as the Java SDK makes them."""

import time

import codec
from kit import FIRST, NOT_FOUND, check, equal, true

TYPE = "application/x-amz-cbor-1.1"
MALFORMED = "SerializationException"


def call(k, operation, endless=True, **params):
    """The status, headers and decoded body of an answer."""
    status, headers, body = k.post(operation, codec.write(params, endless), TYPE)
    return status, headers, codec.read(body) if body else None


def answer(k, operation, **params):
    status, _, body = call(k, operation, **params)
    equal(status, 200, f"{operation} with {body!r}, status")
    return body


def first_record(k, name):
    got = answer(k, "GetShardIterator", StreamName=name, ShardId=FIRST,
                 ShardIteratorType="TRIM_HORIZON")
    return answer(k, "GetRecords", ShardIterator=got["ShardIterator"])["Records"][0]


@check("A request in CBOR is answered in CBOR")
def content_type(k):
    status, headers, body = call(k, "ListShards", StreamName=k.stream())
    equal((status, headers["Content-Type"]), (200, TYPE))
    equal(body["Shards"][0]["ShardId"], FIRST)


@check("Maps and lists of definite length are taken")
def definite(k):
    status, _, body = call(k, "PutRecords", endless=False, StreamName=k.stream(), Records=[
        {"Data": b"x", "PartitionKey": "k"}])
    equal((status, body["Records"][0]["ShardId"]), (200, FIRST))


@check("Maps and lists of indefinite length are taken")
def indefinite(k):
    got = answer(k, "PutRecords", StreamName=k.stream(), Records=[
        {"Data": b"x", "PartitionKey": "k"}])
    equal(got["Records"][0]["ShardId"], FIRST)


@check("Texts in chunks are taken")
def chunks(k):
    name = k.stream()
    chunked = b"\x7f" + codec.write(name[:5]) + codec.write(name[5:]) + b"\xff"
    status, _, _ = k.post("ListShards", b"\xbf" + codec.write("StreamName") + chunked + b"\xff",
                          TYPE)
    equal(status, 200)


@check("Data is a byte string in a request")
def bytes_sent(k):
    name = k.stream()
    answer(k, "PutRecord", StreamName=name, Data=bytes(range(256)), PartitionKey="k")
    equal(k.read(k.iterator(name), 1)[0][0]["Data"], bytes(range(256)))


@check("Data is a byte string in an answer")
def bytes_received(k):
    name = k.stream()
    k.put(name, bytes(range(256)))
    equal(first_record(k, name)["Data"], bytes(range(256)))


def is_now(value):
    true(isinstance(value, codec.Tagged) and value.tag == 1, f"{value!r} has not the tag 1")
    true(isinstance(value.value, int), f"{value!r} is not an integer")
    true(abs(value.value / 1000 - time.time()) < 60, f"{value!r} are not milliseconds of now")


@check("ApproximateArrivalTimestamp is milliseconds with the tag 1")
def arrival(k):
    name = k.stream()
    k.put(name)
    is_now(first_record(k, name)["ApproximateArrivalTimestamp"])


@check("StreamCreationTimestamp is milliseconds with the tag 1")
def creation(k):
    k.server.pace.wait("DescribeStreamSummary")
    got = answer(k, "DescribeStreamSummary", StreamName=k.stream())
    is_now(got["StreamDescriptionSummary"]["StreamCreationTimestamp"])


@check("ConsumerCreationTimestamp is milliseconds with the tag 1")
def consumer_creation(k):
    consumer = k.consumer(k.arn(k.stream()))
    got = answer(k, "DescribeStreamConsumer", ConsumerARN=consumer)
    is_now(got["ConsumerDescription"]["ConsumerCreationTimestamp"])


@check("The Timestamp of a request is milliseconds with the tag 1")
def timestamp_sent(k):
    name = k.stream()
    between = k.put_around(name, b"before", b"after")
    got = answer(k, "GetShardIterator", StreamName=name, ShardId=FIRST,
                 ShardIteratorType="AT_TIMESTAMP", Timestamp=codec.milliseconds(between))
    records = answer(k, "GetRecords", ShardIterator=got["ShardIterator"])["Records"]
    equal([record["Data"] for record in records], [b"after"])


@check("The Timestamp of a ShardFilter is milliseconds with the tag 1")
def filter_sent(k):
    name = k.stream()
    time.sleep(1.2)
    before = time.time()
    time.sleep(1.2)
    k.split(name)
    got = answer(k, "ListShards", StreamName=name, ShardFilter={
        "Type": "AT_TIMESTAMP", "Timestamp": codec.milliseconds(before)})
    equal([shard["ShardId"] for shard in got["Shards"]], [FIRST])


@check("Numbers are integers both ways")
def numbers(k):
    name = k.stream()
    for _ in range(3):
        k.put(name)
    got = answer(k, "GetRecords", ShardIterator=k.iterator(name), Limit=2)
    equal((len(got["Records"]), type(got["MillisBehindLatest"])), (2, int))


@check("An error in CBOR is status 400 with __type and message")
def error(k):
    status, headers, body = call(k, "ListShards", StreamName="behaviour-that-is-not-there")
    equal((status, headers["Content-Type"]), (400, TYPE))
    equal(body["__type"].split("#")[-1], NOT_FOUND)
    true(body.get("message") or body.get("Message"), "there is no message")


@check("A body that is not CBOR is SerializationException")
def garbage(k):
    status, _, body = k.post("ListShards", b"\xbf\x61", TYPE)
    equal(status, 400)
    equal(codec.read(body)["__type"].split("#")[-1], MALFORMED)


@check("A member of another type is SerializationException")
def other_type(k):
    status, _, body = call(k, "ListShards", StreamName={"a": 1})
    equal((status, body["__type"].split("#")[-1]), (400, MALFORMED))


@check("An answer without output has no body")
def no_output(k):
    name = k.stream()
    status, _, body = call(k, "AddTagsToStream", StreamName=name, Tags={"a": "1"})
    equal((status, body), (200, None))


@check("An answer of a megabyte is whole")
def large(k):
    name = k.stream()
    k.put(name, bytes(range(250)) * 4000)
    equal(first_record(k, name)["Data"], bytes(range(250)) * 4000)
