"""GetShardIterator: its five types, as they read, and its refusals."""

import time

from kit import (BAD, DRY_RUN, FIRST, NOT_FOUND, a_stream, check, data, equal, refusals, true)

refuses = refusals(__name__)


def wanted(**changed):
    given = {"StreamName": a_stream, "ShardId": FIRST, "ShardIteratorType": "LATEST", **changed}
    return {name: value for name, value in given.items() if value is not None}


refuses("GetShardIterator of no stream is ResourceNotFoundException", "GetShardIterator",
        NOT_FOUND, **wanted(StreamName="behaviour-that-is-not-there"))
refuses("GetShardIterator of no shard is ResourceNotFoundException", "GetShardIterator",
        NOT_FOUND, **wanted(ShardId="shardId-000000000009"))
refuses("GetShardIterator must have StreamName or StreamARN", "GetShardIterator",
        *BAD, **wanted(StreamName=None))
refuses("GetShardIterator requires ShardId", "GetShardIterator", *BAD, **wanted(ShardId=None))
refuses("A ShardId is 1 to 128 letters, digits, underscores, dots and hyphens", "GetShardIterator",
        *BAD, **wanted(ShardId="not a shard"))
refuses("GetShardIterator requires ShardIteratorType", "GetShardIterator",
        *BAD, **wanted(ShardIteratorType=None))
refuses("ShardIteratorType is one of five", "GetShardIterator",
        *BAD, **wanted(ShardIteratorType="FROM_HERE"))
refuses("AT_SEQUENCE_NUMBER is used with StartingSequenceNumber", "GetShardIterator",
        *BAD, **wanted(ShardIteratorType="AT_SEQUENCE_NUMBER"))
refuses("AFTER_SEQUENCE_NUMBER is used with StartingSequenceNumber", "GetShardIterator",
        *BAD, **wanted(ShardIteratorType="AFTER_SEQUENCE_NUMBER"))
refuses("AT_TIMESTAMP is used with Timestamp", "GetShardIterator",
        *BAD, **wanted(ShardIteratorType="AT_TIMESTAMP"))
refuses("A StartingSequenceNumber that is no number is refused", "GetShardIterator",
        *BAD, **wanted(ShardIteratorType="AT_SEQUENCE_NUMBER", StartingSequenceNumber="first"))
refuses("A StartingSequenceNumber with a leading zero is refused", "GetShardIterator",
        *BAD, **wanted(ShardIteratorType="AT_SEQUENCE_NUMBER", StartingSequenceNumber="01"))
refuses("A time stamp of AT_TIMESTAMP that is in the future is refused", "GetShardIterator",
        *BAD, **wanted(ShardIteratorType="AT_TIMESTAMP", Timestamp=time.time() + 7200))


def three(k):
    """A stream of the records 0, 1 and 2; its name and their sequence numbers."""
    name = k.stream()
    return name, [k.put(name, str(number).encode())["SequenceNumber"] for number in range(3)]


def text(k, iterator, most=3):
    return b"".join(data(k.read(iterator, most)[0]))


@check("An iterator has at most 512 characters")
def length(k):
    true(1 <= len(k.iterator(k.stream())) <= 512, "it has more")


@check("GetShardIterator takes StreamARN")
def by_arn(k):
    name, _ = three(k)
    got = k.ask("GetShardIterator", StreamARN=k.arn(name), ShardId=FIRST,
                ShardIteratorType="TRIM_HORIZON")
    equal(text(k, got["ShardIterator"]), b"012")


@check("TRIM_HORIZON starts with the oldest record of the shard")
def trim_horizon(k):
    name, _ = three(k)
    equal(text(k, k.iterator(name)), b"012")


@check("LATEST starts just after the most recent record")
def latest(k):
    name, _ = three(k)
    iterator = k.iterator(name, "LATEST")
    k.put(name, b"new")
    equal(text(k, iterator, 1), b"new")


@check("AT_SEQUENCE_NUMBER starts with the record of that number")
def at_number(k):
    name, numbers = three(k)
    equal(text(k, k.iterator(name, "AT_SEQUENCE_NUMBER", StartingSequenceNumber=numbers[1]), 2),
          b"12")


@check("AFTER_SEQUENCE_NUMBER starts right after the record of that number")
def after_number(k):
    name, numbers = three(k)
    equal(text(k, k.iterator(name, "AFTER_SEQUENCE_NUMBER", StartingSequenceNumber=numbers[1]), 1),
          b"2")


@check("AFTER_SEQUENCE_NUMBER of the last record reads what comes next")
def after_last(k):
    name, numbers = three(k)
    iterator = k.iterator(name, "AFTER_SEQUENCE_NUMBER", StartingSequenceNumber=numbers[2])
    k.put(name, b"next")
    equal(text(k, iterator, 1), b"next")


@check("A starting sequence number from DescribeStream reads the shard from its start")
def shard_start(k):
    name, _ = three(k)
    shards = k.ask("DescribeStream", StreamName=name)["StreamDescription"]["Shards"]
    start = shards[0]["SequenceNumberRange"]["StartingSequenceNumber"]
    equal(text(k, k.iterator(name, "AT_SEQUENCE_NUMBER", StartingSequenceNumber=start)), b"012")


@check("AT_TIMESTAMP starts with the next record when none has this exact time")
def at_time(k):
    name = k.stream()
    between = k.put_around(name, b"before", b"after")
    equal(text(k, k.iterator(name, "AT_TIMESTAMP", Timestamp=between), 1), b"after")


@check("AT_TIMESTAMP with the arrival of a record starts with that record")
def at_arrival(k):
    name = k.stream()
    for record in (b"0", b"1", b"2"):
        k.put(name, record)
        time.sleep(0.1)
    arrived = k.read(k.iterator(name), 3)[0][1]["ApproximateArrivalTimestamp"]
    equal(text(k, k.iterator(name, "AT_TIMESTAMP", Timestamp=arrived.timestamp()), 2), b"12")


@check("AT_TIMESTAMP older than the trim horizon starts with the oldest record")
def at_old_time(k):
    name, _ = three(k)
    equal(text(k, k.iterator(name, "AT_TIMESTAMP", Timestamp=1459799926.48)), b"012")


@check("AT_TIMESTAMP after the last record reads what comes later")
def at_late_time(k):
    name, _ = three(k)
    time.sleep(0.5)
    iterator = k.iterator(name, "AT_TIMESTAMP", Timestamp=time.time() - 0.2)
    k.put(name, b"new")
    equal(text(k, iterator, 1), b"new")


@check("GetShardIterator of a closed shard gives an iterator; LATEST finds its end")
def closed(k):
    name, _ = three(k)
    records, answer = k.read(k.iterator(k.split(name), "LATEST"), 1)
    equal((records, answer.get("NextShardIterator")), ([], None))


@check("DryRun of GetShardIterator that would succeed is DryRunOperationException")
def dry_run(k):
    k.refused("GetShardIterator", DRY_RUN, StreamName=k.stream(), ShardId=FIRST,
              ShardIteratorType="LATEST", DryRun=True)
