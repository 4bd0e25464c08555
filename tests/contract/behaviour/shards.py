"""ListShards: shards, their ranges and parents, pages, and filters."""

import time

from kit import (BAD, FIRST, HASH_KEYS, NOT_FOUND, SECOND, a_stream, check, equal, hash_range, ids,
                 refusals, true)

refuses = refusals(__name__)
THIRD = "shardId-000000000002"

refuses("ListShards of no stream is ResourceNotFoundException",
        "ListShards", NOT_FOUND, StreamName="behaviour-that-is-not-there")
refuses("ListShards must have a stream or a NextToken", "ListShards", *BAD)
refuses("MaxResults of ListShards is at least 1",
        "ListShards", *BAD, StreamName=a_stream, MaxResults=0)
refuses("MaxResults of ListShards is at most 10,000",
        "ListShards", *BAD, StreamName=a_stream, MaxResults=10001)
refuses("A NextToken that ListShards did not give is refused",
        "ListShards", *BAD, NextToken="not-a-token")
refuses("A ShardFilter must have a Type",
        "ListShards", *BAD, StreamName=a_stream, ShardFilter={"ShardId": FIRST})
refuses("A ShardFilter of another Type is refused",
        "ListShards", *BAD, StreamName=a_stream, ShardFilter={"Type": "AT_NOON"})
refuses("AFTER_SHARD_ID must have ShardId",
        "ListShards", *BAD, StreamName=a_stream, ShardFilter={"Type": "AFTER_SHARD_ID"})
refuses("AT_TIMESTAMP must have Timestamp",
        "ListShards", *BAD, StreamName=a_stream, ShardFilter={"Type": "AT_TIMESTAMP"})
refuses("FROM_TIMESTAMP must have Timestamp",
        "ListShards", *BAD, StreamName=a_stream, ShardFilter={"Type": "FROM_TIMESTAMP"})
refuses("ShardId can only be used with AFTER_SHARD_ID", "ListShards", *BAD, StreamName=a_stream,
        ShardFilter={"Type": "AT_LATEST", "ShardId": FIRST})
refuses("Timestamp can only be used with AT_TIMESTAMP and FROM_TIMESTAMP", "ListShards", *BAD,
        StreamName=a_stream, ShardFilter={"Type": "AT_LATEST", "Timestamp": 1.0})


@check("Shard ids are shardId- and twelve digits, counted from 0")
def shard_ids(k):
    equal(ids(k.shards(k.stream(3))), [FIRST, SECOND, THIRD])


@check("Together the hash key ranges are 0 to 2^128-1, without gaps and overlaps")
def whole_range(k):
    ranges = sorted(map(hash_range, k.shards(k.stream(3))))
    equal((ranges[0][0], ranges[-1][1]), (0, HASH_KEYS - 1))
    equal([start for start, _ in ranges[1:]], [end + 1 for _, end in ranges[:-1]])


@check("A new stream's shards have even hash key ranges")
def even_ranges(k):
    for start, end in map(hash_range, k.shards(k.stream(4))):
        true(abs(end - start + 1 - HASH_KEYS // 4) <= 4, "a shard has more or less than a quarter")


@check("A shard has a starting sequence number of up to 129 digits")
def starting_number(k):
    number = k.shards(k.stream())[0]["SequenceNumberRange"]["StartingSequenceNumber"]
    true(number.isdigit() and len(number) <= 129, "it is another text")


@check("An open shard has no EndingSequenceNumber")
def open_shard(k):
    equal(k.shards(k.stream())[0]["SequenceNumberRange"].get("EndingSequenceNumber"), None)


@check("A closed shard has an EndingSequenceNumber that is not below its records")
def closed_shard(k):
    name = k.stream()
    number = k.put(name)["SequenceNumber"]
    ending = k.shards(k.split(name))[0]["SequenceNumberRange"].get("EndingSequenceNumber")
    true(ending and int(ending) >= int(number), f"it is {ending}, a record has {number}")


@check("Records have sequence numbers above the start of their shard")
def above_start(k):
    name = k.stream()
    start = k.shards(name)[0]["SequenceNumberRange"]["StartingSequenceNumber"]
    true(int(k.put(name)["SequenceNumber"]) >= int(start), f"the shard starts with {start}")


@check("A new stream's shards have no parents")
def no_parents(k):
    shard = k.shards(k.stream())[0]
    equal((shard.get("ParentShardId"), shard.get("AdjacentParentShardId")), (None, None))


@check("ListShards takes StreamARN")
def by_arn(k):
    equal(ids(k.ask("ListShards", StreamARN=k.arn(k.stream(2)))["Shards"]), [FIRST, SECOND])


@check("ListShards starts with the shard after ExclusiveStartShardId")
def exclusive_start(k):
    equal(ids(k.shards(k.stream(3), ExclusiveStartShardId=FIRST)), [SECOND, THIRD])


@check("MaxResults below the number of shards gives so many, and a NextToken")
def max_results(k):
    got = k.ask("ListShards", StreamName=k.stream(3), MaxResults=2)
    equal(ids(got["Shards"]), [FIRST, SECOND])
    true(got.get("NextToken"), "there is no NextToken")


@check("There is no NextToken when all shards are listed")
def no_token(k):
    equal(k.ask("ListShards", StreamName=k.stream(2), MaxResults=2).get("NextToken"), None)


@check("NextToken alone lists the next shards")
def next_token(k):
    token = k.ask("ListShards", StreamName=k.stream(3), MaxResults=2)["NextToken"]
    equal(ids(k.ask("ListShards", NextToken=token)["Shards"]), [THIRD])


@check("MaxResults can be given with NextToken, and gives a new NextToken")
def token_and_max(k):
    token = k.ask("ListShards", StreamName=k.stream(3), MaxResults=1)["NextToken"]
    got = k.ask("ListShards", NextToken=token, MaxResults=1)
    equal(ids(got["Shards"]), [SECOND])
    equal(ids(k.ask("ListShards", NextToken=got["NextToken"])["Shards"]), [THIRD])


def with_token(documented, **more):
    @check(documented)
    def run(k):
        name = k.stream(2)
        token = k.ask("ListShards", StreamName=name, MaxResults=1)["NextToken"]
        given = {key: value(name) if callable(value) else value for key, value in more.items()}
        k.refused("ListShards", *BAD, NextToken=token, **given)


with_token("StreamName cannot be specified with NextToken", StreamName=lambda name: name)
with_token("ExclusiveStartShardId cannot be specified with NextToken", ExclusiveStartShardId=FIRST)
with_token("StreamCreationTimestamp cannot be specified with NextToken",
           StreamCreationTimestamp=1459799926.48)


@check("StreamCreationTimestamp says which stream of the name is meant")
def creation_time(k):
    name = k.stream()
    created = k.summary(name)["StreamCreationTimestamp"]
    equal(ids(k.shards(name, StreamCreationTimestamp=created)), [FIRST])


@check("StreamCreationTimestamp of no stream of the name is ResourceNotFoundException")
def other_creation_time(k):
    k.refused("ListShards", NOT_FOUND, StreamName=k.stream(), StreamCreationTimestamp=1459799926.48)


def split_stream(k):
    """A stream whose first shard was split; times before and after that."""
    name = k.stream(2)
    time.sleep(1.2)
    before = time.time()
    time.sleep(1.2)
    k.split(name, at=2 ** 126)
    time.sleep(1.2)
    return name, before, time.time()


def filtered(documented, wanted, **filter_of):
    @check(documented)
    def run(k):
        name, before, after = split_stream(k)
        times = {"before": before, "after": after, "long ago": 1459799926.48}
        shard_filter = {key: times.get(value, value) for key, value in filter_of.items()}
        found = ids(k.shards(name, ShardFilter=shard_filter))
        equal([int(shard[-12:]) for shard in sorted(found)], wanted)


filtered("AT_LATEST lists only the open shards", [1, 2, 3], Type="AT_LATEST")
filtered("AT_TRIM_HORIZON lists the shards that were open at TRIM_HORIZON", [0, 1],
         Type="AT_TRIM_HORIZON")
filtered("FROM_TRIM_HORIZON lists all shards within the retention", [0, 1, 2, 3],
         Type="FROM_TRIM_HORIZON")
filtered("AFTER_SHARD_ID lists the shards after that one", [2, 3],
         Type="AFTER_SHARD_ID", ShardId=SECOND)
filtered("AT_TIMESTAMP before a split lists the parent, not its children", [0, 1],
         Type="AT_TIMESTAMP", Timestamp="before")
filtered("AT_TIMESTAMP after a split lists the children, not the parent", [1, 2, 3],
         Type="AT_TIMESTAMP", Timestamp="after")
filtered("FROM_TIMESTAMP before a split lists the parent and its children", [0, 1, 2, 3],
         Type="FROM_TIMESTAMP", Timestamp="before")
filtered("FROM_TIMESTAMP after a split leaves out the shard closed before", [1, 2, 3],
         Type="FROM_TIMESTAMP", Timestamp="after")
filtered("FROM_TIMESTAMP below TRIM_HORIZON is corrected to it", [0, 1, 2, 3],
         Type="FROM_TIMESTAMP", Timestamp="long ago")


@check("FROM_TRIM_HORIZON is what ListShards does without a filter")
def default_filter(k):
    name, _, _ = split_stream(k)
    equal(ids(k.shards(name)), ids(k.shards(name, ShardFilter={"Type": "FROM_TRIM_HORIZON"})))


@check("NextToken goes on with the filter of its first call")
def filtered_pages(k):
    name, _, _ = split_stream(k)
    first = k.ask("ListShards", StreamName=name, ShardFilter={"Type": "AT_LATEST"}, MaxResults=1)
    rest = k.ask("ListShards", NextToken=first["NextToken"])
    equal(sorted(shard[-1] for shard in ids(first["Shards"] + rest["Shards"])), ["1", "2", "3"])
