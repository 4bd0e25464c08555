"""SplitShard and MergeShards."""

from kit import (BAD, FIRST, HASH_KEYS, IN_USE, INVALID, NOT_FOUND, SECOND, a_stream,
                 an_on_demand_stream, check, data, equal, hash_range, ids, refusals, true)

refuses = refusals(__name__)
THIRD = "shardId-000000000002"
MIDDLE = str(2 ** 127)
ABSENT = "shardId-000000000009"


def three_shards(k):
    return k.stream(3)


def two_shards(k):
    return k.stream(2)


refuses("SplitShard of no stream is ResourceNotFoundException", "SplitShard", NOT_FOUND,
        StreamName="behaviour-that-is-not-there", ShardToSplit=FIRST, NewStartingHashKey=MIDDLE)
refuses("SplitShard of no shard is ResourceNotFoundException", "SplitShard", NOT_FOUND,
        StreamName=a_stream, ShardToSplit=ABSENT, NewStartingHashKey=MIDDLE)
refuses("SplitShard must have StreamName or StreamARN", "SplitShard", *BAD,
        ShardToSplit=FIRST, NewStartingHashKey=MIDDLE)
refuses("SplitShard requires ShardToSplit", "SplitShard", *BAD,
        StreamName=a_stream, NewStartingHashKey=MIDDLE)
refuses("SplitShard requires NewStartingHashKey", "SplitShard", *BAD,
        StreamName=a_stream, ShardToSplit=FIRST)
refuses("NewStartingHashKey must be in the range of the shard", "SplitShard", INVALID,
        StreamName=two_shards, ShardToSplit=FIRST, NewStartingHashKey=str(2 ** 127 + 5))
refuses("A NewStartingHashKey that is no number is refused", "SplitShard", *BAD,
        StreamName=a_stream, ShardToSplit=FIRST, NewStartingHashKey="middle")
refuses("A NewStartingHashKey above all hash keys is refused", "SplitShard", *BAD,
        StreamName=a_stream, ShardToSplit=FIRST, NewStartingHashKey=str(HASH_KEYS))
refuses("SplitShard is only for provisioned streams", "SplitShard", *BAD,
        StreamName=an_on_demand_stream, ShardToSplit=FIRST, NewStartingHashKey="1000")
refuses("MergeShards of no stream is ResourceNotFoundException", "MergeShards", NOT_FOUND,
        StreamName="behaviour-that-is-not-there", ShardToMerge=FIRST, AdjacentShardToMerge=SECOND)
refuses("MergeShards of no shard is ResourceNotFoundException", "MergeShards", NOT_FOUND,
        StreamName=two_shards, ShardToMerge=FIRST, AdjacentShardToMerge=ABSENT)
refuses("MergeShards must have StreamName or StreamARN", "MergeShards", *BAD,
        ShardToMerge=FIRST, AdjacentShardToMerge=SECOND)
refuses("MergeShards requires AdjacentShardToMerge", "MergeShards", *BAD,
        StreamName=two_shards, ShardToMerge=FIRST)
refuses("Shards whose ranges are not adjacent are not merged", "MergeShards", INVALID,
        StreamName=three_shards, ShardToMerge=FIRST, AdjacentShardToMerge=THIRD)
refuses("A shard is not merged with itself", "MergeShards", *BAD,
        StreamName=two_shards, ShardToMerge=FIRST, AdjacentShardToMerge=FIRST)
refuses("MergeShards is only for provisioned streams", "MergeShards", *BAD,
        StreamName=an_on_demand_stream, ShardToMerge=FIRST, AdjacentShardToMerge=SECOND)


def states(k, operation, shards, **params):
    name = k.stream(shards)
    equal(k.at_once(operation, StreamName=name, **params), {})
    equal(k.status(name), "UPDATING")
    equal(k.summary(k.active(name))["StreamStatus"], "ACTIVE")


@check("SplitShard returns at once, sets UPDATING, and ACTIVE when it is done", alone=True)
def split_states(k):
    states(k, "SplitShard", 1, ShardToSplit=FIRST, NewStartingHashKey=MIDDLE)


@check("MergeShards returns at once, sets UPDATING, and ACTIVE when it is done", alone=True)
def merge_states(k):
    states(k, "MergeShards", 2, ShardToMerge=FIRST, AdjacentShardToMerge=SECOND)


@check("SplitShard of a stream that is UPDATING is ResourceInUseException", alone=True)
def split_twice(k):
    name = k.stream(2)
    k.at_once("SplitShard", StreamName=name, ShardToSplit=FIRST, NewStartingHashKey="1000")
    k.refused("SplitShard", IN_USE, StreamName=name, ShardToSplit=SECOND,
              NewStartingHashKey=str(2 ** 127 + 1000))


@check("MergeShards of a stream that is UPDATING is ResourceInUseException", alone=True)
def merge_updating(k):
    name = k.stream(3)
    k.at_once("SplitShard", StreamName=name, ShardToSplit=THIRD,
              NewStartingHashKey=str(HASH_KEYS - 1000))
    k.refused("MergeShards", IN_USE, StreamName=name, ShardToMerge=FIRST,
              AdjacentShardToMerge=SECOND)


@check("Writes go on while the stream is UPDATING", alone=True)
def writes_meanwhile(k):
    name = k.stream()
    k.at_once("SplitShard", StreamName=name, ShardToSplit=FIRST, NewStartingHashKey=MIDDLE)
    true(k.at_once("PutRecord", StreamName=name, Data=b"x", PartitionKey="k")["SequenceNumber"],
         "there is no sequence number")


@check("Reads go on while the stream is UPDATING", alone=True)
def reads_meanwhile(k):
    name = k.stream()
    k.put(name)
    iterator = k.iterator(name)
    k.at_once("SplitShard", StreamName=name, ShardToSplit=FIRST, NewStartingHashKey=MIDDLE)
    equal(data(k.at_once("GetRecords", ShardIterator=iterator)["Records"]), [b"x"])


@check("NewStartingHashKey and all above go to one child, all below to the other")
def split_ranges(k):
    found = sorted(map(hash_range, k.shards(k.split(k.stream(), at=1000))[1:]))
    equal(found, [(0, 999), (1000, HASH_KEYS - 1)])


@check("The children of a split have its shard as their parent")
def split_parents(k):
    children = k.shards(k.split(k.stream()))[1:]
    equal([(child.get("ParentShardId"), child.get("AdjacentParentShardId"))
           for child in children], [(FIRST, None)] * 2)


@check("The children of a split have the next shard ids")
def split_ids(k):
    equal(ids(k.shards(k.split(k.stream(2), at=1000)))[2:], [THIRD, "shardId-000000000003"])


@check("A split shard is closed, and its children are open")
def split_closes(k):
    name = k.split(k.stream())
    equal(["EndingSequenceNumber" in shard["SequenceNumberRange"] for shard in k.shards(name)],
          [True, False, False])
    equal(k.summary(name)["OpenShardCount"], 2)


@check("After a split, records go to the child of their hash key")
def split_puts(k):
    name = k.split(k.stream(), at=1000)
    low, high = (k.put(name, ExplicitHashKey=key)["ShardId"] for key in ("999", "1000"))
    ranges = {shard["ShardId"]: hash_range(shard) for shard in k.shards(name)}
    equal((ranges[low], ranges[high]), ((0, 999), (1000, HASH_KEYS - 1)))


@check("Sequence numbers of a child are above those of its parent")
def split_numbers(k):
    name = k.stream()
    before = int(k.put(name)["SequenceNumber"])
    true(int(k.put(k.split(name))["SequenceNumber"]) > before, "a child's is not above")


@check("A shard that was split cannot be split again")
def closed_split(k):
    k.refused("SplitShard", *BAD, IN_USE, StreamName=k.split(k.stream()), ShardToSplit=FIRST,
              NewStartingHashKey="1000")


@check("SplitShard takes StreamARN")
def split_by_arn(k):
    name = k.stream()
    k.ask("SplitShard", StreamARN=k.arn(name), ShardToSplit=FIRST, NewStartingHashKey=MIDDLE)
    equal(k.summary(k.active(name))["OpenShardCount"], 2)


@check("A merged shard has the hash key range of both its parents")
def merge_range(k):
    equal(hash_range(k.shards(k.merge(k.stream(2)))[2]), (0, HASH_KEYS - 1))


@check("A merged shard has ParentShardId and AdjacentParentShardId")
def merge_parents(k):
    child = k.shards(k.merge(k.stream(2)))[2]
    equal({child.get("ParentShardId"), child.get("AdjacentParentShardId")}, {FIRST, SECOND})


@check("Two shards are adjacent when their ranges are, whichever of them is named first")
def merge_order(k):
    child = k.shards(k.merge(k.stream(2), SECOND, FIRST))[2]
    equal({child.get("ParentShardId"), child.get("AdjacentParentShardId")}, {FIRST, SECOND})


@check("Merged shards are closed, and their child is open")
def merge_closes(k):
    name = k.merge(k.stream(2))
    equal(["EndingSequenceNumber" in shard["SequenceNumberRange"] for shard in k.shards(name)],
          [True, True, False])
    equal(k.summary(name)["OpenShardCount"], 1)


@check("After a merge, the child receives the records of both parents' hash keys")
def merge_puts(k):
    name = k.merge(k.stream(2))
    found = [k.put(name, ExplicitHashKey=key)["ShardId"] for key in ("0", str(HASH_KEYS - 1))]
    equal(found, [THIRD, THIRD])


@check("A shard that was merged cannot be merged again")
def closed_merge(k):
    k.refused("MergeShards", *BAD, IN_USE, StreamName=k.merge(k.stream(3)), ShardToMerge=SECOND,
              AdjacentShardToMerge=THIRD)
