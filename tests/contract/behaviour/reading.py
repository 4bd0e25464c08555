"""GetRecords: records, pages, the distance to the tip, and the end of a shard."""

import time

from kit import (BAD, DRY_RUN, FIRST, INVALID, NOT_FOUND, SECOND, an_iterator, check, data, equal,
                 hash_range, refusals, true)

refuses = refusals(__name__)
THIRD = "shardId-000000000002"

refuses("GetRecords requires ShardIterator", "GetRecords", *BAD)
refuses("An iterator has at least one character", "GetRecords", *BAD, ShardIterator="")
refuses("An iterator of more than 512 characters is refused",
        "GetRecords", *BAD, ShardIterator="A" * 513)
refuses("An iterator that the service did not give is InvalidArgumentException",
        "GetRecords", INVALID, ShardIterator="not-an-iterator")
refuses("An iterator that was cut is InvalidArgumentException",
        "GetRecords", INVALID, ShardIterator=lambda k: an_iterator(k)[:-8])
refuses("The Limit of GetRecords is at least 1",
        "GetRecords", *BAD, ShardIterator=an_iterator, Limit=0)
refuses("A Limit of more than 10,000 is InvalidArgumentException",
        "GetRecords", INVALID, ShardIterator=an_iterator, Limit=10001)


def filled(k, count=3):
    name = k.stream()
    k.ask("PutRecords", StreamName=name, Records=[
        {"Data": str(number).encode(), "PartitionKey": f"key-{number}"}
        for number in range(count)])
    return name


@check("A record has its data, partition key and sequence number")
def fields(k):
    name = k.stream()
    number = k.put(name, b"text", "key")["SequenceNumber"]
    record = k.read(k.iterator(name), 1)[0][0]
    equal((record["Data"], record["PartitionKey"], record["SequenceNumber"]),
          (b"text", "key", number))


@check("ApproximateArrivalTimestamp is set when the stream receives the record")
def arrival(k):
    name = k.stream()
    before = time.time()
    k.put(name)
    arrived = k.read(k.iterator(name), 1)[0][0]["ApproximateArrivalTimestamp"].timestamp()
    true(before - 2 <= arrived <= time.time() + 2, "it is another time")


@check("ApproximateArrivalTimestamp has millisecond precision")
def arrival_precision(k):
    name = k.stream()
    for _ in range(5):
        k.put(name)
        time.sleep(0.013)
    records = k.read(k.iterator(name), 5)[0]
    true(any(one["ApproximateArrivalTimestamp"].microsecond for one in records), "whole seconds")


@check("EncryptionType of a record that is not encrypted is NONE, or not there")
def not_encrypted(k):
    record = k.read(k.iterator(filled(k)), 1)[0][0]
    true(record.get("EncryptionType", "NONE") == "NONE", "it is something else")


@check("GetRecords without records returns an empty list")
def empty(k):
    equal(k.get(k.iterator(k.stream()))["Records"], [])


@check("GetRecords returns records in the order of their sequence numbers")
def in_order(k):
    numbers = [int(one["SequenceNumber"]) for one in k.read(k.iterator(filled(k, 50)), 50)[0]]
    equal((len(numbers), numbers), (50, sorted(numbers)))


@check("Limit is the most records that GetRecords returns")
def limited(k):
    equal(len(k.get(k.iterator(filled(k)), Limit=2)["Records"]), 2)


@check("A Limit of 10,000 is taken")
def largest_limit(k):
    equal(len(k.get(k.iterator(filled(k)), Limit=10000)["Records"]), 3)


@check("NextShardIterator goes on after the records returned")
def next_iterator(k):
    iterator = k.iterator(filled(k))
    found = []
    for _ in range(3):
        answer = k.get(iterator, Limit=1)
        found += data(answer["Records"])
        iterator = answer["NextShardIterator"]
    equal(found, [b"0", b"1", b"2"])


@check("NextShardIterator of an open shard reads what is put later")
def reads_on(k):
    name = filled(k)
    iterator = k.get(k.iterator(name))["NextShardIterator"]
    k.put(name, b"later")
    equal(data(k.read(iterator, 1)[0]), [b"later"])


@check("The same iterator reads the same records again")
def again(k):
    iterator = k.iterator(filled(k))
    equal(data(k.get(iterator)["Records"]), data(k.get(iterator)["Records"]))


@check("Two readers of a shard both get all its records")
def two_readers(k):
    name = filled(k)
    equal(data(k.read(k.iterator(name), 3)[0]), data(k.read(k.iterator(name), 3)[0]))


@check("GetRecords takes StreamARN with the iterator")
def with_arn(k):
    name = filled(k)
    equal(len(k.get(k.iterator(name), StreamARN=k.arn(name))["Records"]), 3)


@check("An iterator reads only its own shard")
def own_shard(k):
    name = k.stream(2)
    k.put(name, b"low", ExplicitHashKey="0")
    k.put(name, b"high", ExplicitHashKey=str(2 ** 128 - 1))
    equal(data(k.read(k.iterator(name, shard=SECOND), 1)[0]), [b"high"])


@check("MillisBehindLatest is 0 when there are no new records")
def at_tip(k):
    equal(k.read(k.iterator(filled(k)), 3)[1]["MillisBehindLatest"], 0)


@check("MillisBehindLatest is the distance to the tip when records are left")
def behind(k):
    name = filled(k)
    time.sleep(1.5)
    k.put(name, b"newest")
    behind_by = k.get(k.iterator(name), Limit=1)["MillisBehindLatest"]
    true(1000 <= behind_by <= 20000, f"it is {behind_by} after 1.5 seconds")


@check("An iterator of a deleted stream is ResourceNotFoundException")
def deleted(k):
    name = k.stream()
    iterator = k.iterator(name)
    k.ask("DeleteStream", StreamName=name)
    k.gone(name)
    k.refused("GetRecords", NOT_FOUND, ShardIterator=iterator)


@check("DryRun of GetRecords that would succeed is DryRunOperationException")
def dry_run(k):
    k.refused("GetRecords", DRY_RUN, ShardIterator=k.iterator(k.stream()), DryRun=True)


@check("At the end of a closed shard NextShardIterator is null")
def shard_end(k):
    name = k.split(filled(k))
    records, answer = k.read(k.iterator(name), 4)
    equal((len(records), answer.get("NextShardIterator")), (3, None))


@check("Records put before a split are read from the parent")
def parents_records(k):
    name = k.split(filled(k))
    equal(data(k.read(k.iterator(name), 3)[0]), [b"0", b"1", b"2"])


@check("NextShardIterator of a closed shard is there while records are left")
def closed_with_rest(k):
    name = k.split(filled(k))
    true(k.get(k.iterator(name), Limit=1).get("NextShardIterator"), "it is null")


@check("At the end of a split shard ChildShards has both children, with parent and hash keys")
def split_children(k):
    name = k.split(filled(k))
    _, answer = k.read(k.iterator(name), 4)
    children = sorted(answer.get("ChildShards") or [], key=lambda child: child["ShardId"])
    equal([child["ShardId"] for child in children], [SECOND, THIRD])
    equal([child["ParentShards"] for child in children], [[FIRST], [FIRST]])
    equal([hash_range(child) for child in children],
          [hash_range(shard) for shard in k.shards(name)[1:]])


@check("At the end of a merged shard ChildShards has the one child, with both parents")
def merge_child(k):
    name = k.merge(k.stream(2))
    _, answer = k.read(k.iterator(name), 1)
    children = answer.get("ChildShards") or []
    equal([(child["ShardId"], sorted(child["ParentShards"])) for child in children],
          [(THIRD, [FIRST, SECOND])])


@check("ChildShards is there only when the end of the shard is reached")
def no_children_yet(k):
    name = k.split(filled(k))
    equal(k.get(k.iterator(name), Limit=1).get("ChildShards") or [], [])


@check("An iterator of an open shard that is split meanwhile comes to the end")
def open_then_split(k):
    name = filled(k)
    iterator = k.get(k.iterator(name))["NextShardIterator"]
    k.split(name)
    _, answer = k.read(iterator, 1)
    equal(answer.get("NextShardIterator"), None)
