"""What a shard takes and gives: records, bytes and calls a second."""

import time

from endpoint import Refused
from kit import FIRST, MIB, THROUGHPUT, check, equal, true


def refusals_of(k, operation, count, **params):
    codes = []
    for _ in range(count):
        try:
            k.at_once(operation, **params)
        except Refused as refusal:
            codes.append(refusal.code)
    return codes


def throttled(codes):
    equal(set(codes), {THROUGHPUT}, "refusals")


@check("A shard takes up to 1 MiB a second by PutRecord", alone=True)
def written_bytes(k):
    throttled(refusals_of(k, "PutRecord", 6, StreamName=k.stream(), Data=b"x" * (MIB - 1),
                          PartitionKey="k"))


@check("A shard takes up to 1,000 records a second", alone=True)
def written_records(k):
    name, failed = k.stream(), 0
    for _ in range(8):
        failed += k.ask("PutRecords", StreamName=name, Records=[
            {"Data": b"x", "PartitionKey": "k"}] * 500)["FailedRecordCount"]
    true(failed > 0, "4,000 records at once are all taken")


@check("A shard that was over its throughput takes records again after a second", alone=True)
def writes_again(k):
    name = k.stream()
    throttled(refusals_of(k, "PutRecord", 6, StreamName=name, Data=b"x" * (MIB - 1),
                          PartitionKey="k"))
    time.sleep(1.6)
    equal(k.put(name)["ShardId"], FIRST)


@check("Each shard has its own throughput: two take twice as many", alone=True)
def two_shards(k):
    name = k.stream(2)
    got = k.ask("PutRecords", StreamName=name, Records=[
        {"Data": b"x" * (MIB // 2), "PartitionKey": "k", "ExplicitHashKey": key}
        for key in ("0", str(2 ** 127))])
    equal(got["FailedRecordCount"], 0)


@check("A shard supports five GetRecords a second", alone=True)
def reads(k):
    iterator = k.iterator(k.stream())
    throttled(refusals_of(k, "GetRecords", 12, ShardIterator=iterator))


@check("The five GetRecords a second are shared by all readers of the shard", alone=True)
def shared_reads(k):
    name = k.stream()
    codes = k.burst("GetRecords", [
        {"ShardIterator": k.iterator(name)} if number < 3 else {"ShardIterator": k.iterator(
            name, "LATEST")} for number in range(4)] * 3)
    true(THROUGHPUT in codes, "12 reads at once are all answered")


@check("Five GetRecords in a second are answered", alone=True)
def five_reads(k):
    iterator = k.iterator(k.stream())
    equal(refusals_of(k, "GetRecords", 5, ShardIterator=iterator), [])


@check("A shard that was read too often is read again after a second", alone=True)
def reads_again(k):
    iterator = k.iterator(k.stream())
    throttled(refusals_of(k, "GetRecords", 12, ShardIterator=iterator))
    time.sleep(1.6)
    equal(k.at_once("GetRecords", ShardIterator=iterator)["Records"], [])


@check("Reads of one shard do not count for another", alone=True)
def other_shard(k):
    name = k.stream(2)
    first, second = (k.iterator(name, shard=shard) for shard in (FIRST, "shardId-000000000001"))
    refusals_of(k, "GetRecords", 8, ShardIterator=first)
    equal(k.at_once("GetRecords", ShardIterator=second)["Records"], [])


@check("A shard supports five GetShardIterator a second", alone=True)
def iterators(k):
    throttled(refusals_of(k, "GetShardIterator", 12, StreamName=k.stream(), ShardId=FIRST,
                          ShardIteratorType="LATEST"))


@check("A shard gives 2 MiB a second: after more, calls within a second are refused")
def read_bytes(k):
    name = k.stream()
    k.put_mebibytes(name, 4)
    iterator = k.iterator(name)
    equal(len(k.get(iterator)["Records"]), 4)
    throttled(refusals_of(k, "GetRecords", 1, ShardIterator=iterator))


def large(k):
    """A stream with 12 MiB in its shard."""
    name = k.stream()
    k.put_mebibytes(name, 12)
    return name


def size(records):
    return sum(len(one["Data"]) + len(one["PartitionKey"]) for one in records)


@check("GetRecords returns at most 10 MiB", seconds=70)
def most(k):
    found = size(k.get(k.iterator(large(k)))["Records"])
    true(5 * MIB < found <= 10 * MIB, f"it returns {found} bytes of 12 MiB")


@check("After 10 MiB, calls within the next 5 seconds are refused", seconds=70)
def pause(k):
    name = large(k)
    iterator = k.get(k.iterator(name))["NextShardIterator"]
    time.sleep(3)
    throttled(refusals_of(k, "GetRecords", 1, ShardIterator=iterator))


@check("What is beyond 10 MiB comes with the next iterator, after the 5 seconds", seconds=80)
def rest(k):
    name = large(k)
    first = k.get(k.iterator(name))
    time.sleep(6)
    second = k.get(first["NextShardIterator"])
    equal(len(first["Records"]) + len(second["Records"]), 12)
