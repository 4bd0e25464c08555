"""PutRecord."""

import hashlib

from kit import (BAD, DRY_RUN, FIRST, HASH_KEYS, MIB, NOT_FOUND, SECOND, a_stream, check, data,
                 equal, hash_range, refusals, true)

refuses = refusals(__name__)


def record(**changed):
    given = {"StreamName": a_stream, "Data": b"x", "PartitionKey": "k", **changed}
    return {name: value for name, value in given.items() if value is not None}


refuses("PutRecord to no stream is ResourceNotFoundException",
        "PutRecord", NOT_FOUND, **record(StreamName="behaviour-that-is-not-there"))
refuses("PutRecord must have StreamName or StreamARN", "PutRecord", *BAD, **record(StreamName=None))
refuses("PutRecord requires Data", "PutRecord", *BAD, **record(Data=None))
refuses("PutRecord requires a partition key unless the strategy is AUTO",
        "PutRecord", *BAD, **record(PartitionKey=None))
refuses("A partition key has at least one character",
        "PutRecord", *BAD, **record(PartitionKey=""))
refuses("A partition key of more than 256 characters is refused",
        "PutRecord", *BAD, **record(PartitionKey="k" * 257))
refuses("An ExplicitHashKey of 2^128 is out of the hash keys",
        "PutRecord", *BAD, **record(ExplicitHashKey=str(HASH_KEYS)))
refuses("A negative ExplicitHashKey is refused", "PutRecord", *BAD, **record(ExplicitHashKey="-1"))
refuses("An ExplicitHashKey with a leading zero is refused",
        "PutRecord", *BAD, **record(ExplicitHashKey="01"))
refuses("An ExplicitHashKey that is no number is refused",
        "PutRecord", *BAD, **record(ExplicitHashKey="middle"))
refuses("A SequenceNumberForOrdering that is no number is refused",
        "PutRecord", *BAD, **record(SequenceNumberForOrdering="last"))
refuses("Data and partition key of more than 1 MiB are refused by default",
        "PutRecord", *BAD, **record(Data=b"x" * MIB))
refuses("Data of more than 10 MiB is refused", "PutRecord", *BAD, **record(Data=b"x" * 10 * MIB))


@check("PutRecord returns the shard and the sequence number of the record")
def put(k):
    got = k.put(k.stream())
    equal(got["ShardId"], FIRST)
    true(got["SequenceNumber"].isdigit() and len(got["SequenceNumber"]) <= 129,
         "the sequence number is another text")


@check("PutRecord takes StreamARN")
def put_by_arn(k):
    arn = k.arn(k.stream())
    equal(k.ask("PutRecord", StreamARN=arn, Data=b"x", PartitionKey="k")["ShardId"], FIRST)


@check("The MD5 of the partition key maps a record to the shard of that hash key")
def md5_maps(k):
    name = k.stream(4)
    shards = k.shards(name)
    for key in ("a", "user-17", "ключ", "0", "partition"):
        hashed = int.from_bytes(hashlib.md5(key.encode()).digest(), "big")
        wanted = [shard["ShardId"] for shard in shards
                  if hash_range(shard)[0] <= hashed <= hash_range(shard)[1]]
        equal([k.put(name, key=key)["ShardId"]], wanted, f"the key {key}")


@check("ExplicitHashKey overrides the hash of the partition key")
def explicit(k):
    name = k.stream(2)
    found = [k.put(name, ExplicitHashKey=at)["ShardId"] for at in ("0", str(HASH_KEYS - 1))]
    equal(found, [FIRST, SECOND])


@check("ExplicitHashKey is in a shard up to and with its ending hash key")
def explicit_bounds(k):
    name = k.stream(2)
    ending = hash_range(k.shards(name)[0])[1]
    found = [k.put(name, ExplicitHashKey=str(at))["ShardId"] for at in (ending, ending + 1)]
    equal(found, [FIRST, SECOND])


@check("Records with the same partition key go to the same shard")
def same_key(k):
    name = k.stream(4)
    equal(len({k.put(name, key="same")["ShardId"] for _ in range(5)}), 1)


@check("A partition key may have 256 characters")
def long_key(k):
    equal(k.put(k.stream(), key="k" * 256)["ShardId"], FIRST)


@check("Partition keys are Unicode: 256 characters of more bytes are taken, and come back")
def unicode_key(k):
    name = k.stream()
    k.put(name, key="ключ" * 64)
    equal(k.read(k.iterator(name), 1)[0][0]["PartitionKey"], "ключ" * 64)


@check("Data may be empty")
def empty_data(k):
    name = k.stream()
    k.put(name, b"")
    equal(data(k.read(k.iterator(name), 1)[0]), [b""])


@check("Data can be any bytes, and they are not changed")
def any_bytes(k):
    name = k.stream()
    k.put(name, bytes(range(256)))
    equal(data(k.read(k.iterator(name), 1)[0]), [bytes(range(256))])


@check("Data and partition key may be 1 MiB together")
def largest(k):
    name = k.stream()
    k.put(name, b"x" * (MIB - 1))
    equal(len(k.read(k.iterator(name), 1)[0][0]["Data"]), MIB - 1)


@check("Sequence numbers in a shard increase over time")
def increasing(k):
    name = k.stream()
    numbers = [int(k.put(name)["SequenceNumber"]) for _ in range(10)]
    equal(numbers, sorted(set(numbers)))


@check("Sequence numbers are unique to all records of the stream")
def unique(k):
    name = k.stream(3)
    found = {k.put(name, key=str(number))["SequenceNumber"] for number in range(20)}
    equal(len(found), 20)


@check("SequenceNumberForOrdering guarantees a greater sequence number")
def ordering(k):
    name = k.stream()
    last = k.put(name)["SequenceNumber"]
    for _ in range(5):
        following = k.put(name, SequenceNumberForOrdering=last)["SequenceNumber"]
        true(int(following) > int(last), f"{following} is not above {last}")
        last = following


@check("The order of records put one after the other is kept")
def order_kept(k):
    name = k.stream()
    for number in range(10):
        k.put(name, str(number).encode())
    equal(b"".join(data(k.read(k.iterator(name), 10)[0])), b"0123456789")


@check("EncryptionType of a put to a stream that is not encrypted is NONE, or not there")
def no_encryption(k):
    true(k.put(k.stream()).get("EncryptionType", "NONE") == "NONE", "it is something else")


@check("DryRun of PutRecord that would succeed is DryRunOperationException, and writes nothing")
def dry_run(k):
    name = k.stream()
    k.refused("PutRecord", DRY_RUN, StreamName=name, Data=b"x", PartitionKey="k", DryRun=True)
    equal(k.read(k.iterator(name), 1)[0], [])
