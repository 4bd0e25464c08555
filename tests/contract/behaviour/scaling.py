"""UpdateShardCount."""

from kit import (BAD, HASH_KEYS, IN_USE, LIMIT, NOT_FOUND, a_stream, an_on_demand_stream, check,
                 equal, hash_range, refusals, true)

refuses = refusals(__name__)


def to(target, **changed):
    given = {"StreamName": a_stream, "TargetShardCount": target, "ScalingType": "UNIFORM_SCALING",
             **changed}
    return {name: value for name, value in given.items() if value is not None}


def four_shards(k):
    return k.stream(4)


refuses("UpdateShardCount of no stream is ResourceNotFoundException", "UpdateShardCount",
        NOT_FOUND, **to(2, StreamName="behaviour-that-is-not-there"))
refuses("UpdateShardCount must have StreamName or StreamARN", "UpdateShardCount",
        *BAD, **to(2, StreamName=None))
refuses("UpdateShardCount requires TargetShardCount", "UpdateShardCount", *BAD, **to(None))
refuses("TargetShardCount is at least 1", "UpdateShardCount", *BAD, **to(0))
refuses("UpdateShardCount requires ScalingType", "UpdateShardCount", *BAD, **to(2, ScalingType=None))
refuses("ScalingType is UNIFORM_SCALING", "UpdateShardCount",
        *BAD, **to(2, ScalingType="SOME_SCALING"))
refuses("A stream is not scaled to more than double its shards", "UpdateShardCount",
        *BAD, LIMIT, **to(9, StreamName=four_shards))
refuses("A stream is not scaled to less than half its shards", "UpdateShardCount",
        *BAD, LIMIT, **to(1, StreamName=four_shards))
refuses("UpdateShardCount is only for provisioned streams", "UpdateShardCount",
        *BAD, **to(6, StreamName=an_on_demand_stream))


def scale(k, name, target):
    answer = k.patiently("UpdateShardCount", [IN_USE], **to(target, StreamName=name))
    k.active(name)
    return answer


@check("UpdateShardCount answers with the current and the target number, name and ARN")
def answer(k):
    name = k.stream(2)
    got = scale(k, name, 4)
    equal((got["StreamName"], got["CurrentShardCount"], got["TargetShardCount"]), (name, 2, 4))
    equal(got.get("StreamARN"), k.arn(name))


@check("UpdateShardCount sets UPDATING, and ACTIVE when it is done", alone=True)
def states(k):
    name = k.stream(2)
    k.at_once("UpdateShardCount", **to(4, StreamName=name))
    equal(k.status(name), "UPDATING")
    k.active(name)


@check("A stream may be scaled to double its shards")
def doubled(k):
    name = k.stream(2)
    scale(k, name, 4)
    equal(k.summary(name)["OpenShardCount"], 4)


@check("A stream may be scaled to half its shards")
def halved(k):
    name = k.stream(4)
    scale(k, name, 2)
    equal(k.summary(name)["OpenShardCount"], 2)


def open_ranges(k, name):
    shards = k.shards(name, ShardFilter={"Type": "AT_LATEST"})
    return sorted(hash_range(shard) for shard in shards
                  if "EndingSequenceNumber" not in shard["SequenceNumberRange"])


def uniform(ranges, count):
    equal(len(ranges), count, "open shards")
    equal((ranges[0][0], ranges[-1][1]), (0, HASH_KEYS - 1))
    for start, end in ranges:
        true(abs(end - start + 1 - HASH_KEYS // count) <= count, "the shards are not equal")


@check("Uniform scaling up creates shards of equal size")
def uniform_up(k):
    name = k.stream(2)
    scale(k, name, 3)
    uniform(open_ranges(k, name), 3)


@check("Uniform scaling down creates shards of equal size")
def uniform_down(k):
    name = k.stream(4)
    scale(k, name, 3)
    uniform(open_ranges(k, name), 3)


@check("UpdateShardCount splits or merges: new shards have parents")
def parents(k):
    name = k.stream(2)
    scale(k, name, 4)
    true(all(shard.get("ParentShardId") for shard in k.shards(name)[2:]), "a shard has no parent")


@check("UpdateShardCount takes StreamARN")
def by_arn(k):
    name = k.stream()
    k.ask("UpdateShardCount", StreamARN=k.arn(name), TargetShardCount=2,
          ScalingType="UNIFORM_SCALING")
    equal(k.summary(k.active(name))["OpenShardCount"], 2)


@check("UpdateShardCount of a stream that is UPDATING is ResourceInUseException", alone=True)
def updating(k):
    name = k.stream(2)
    k.at_once("UpdateShardCount", **to(4, StreamName=name))
    k.refused("UpdateShardCount", IN_USE, **to(3, StreamName=name))


@check("A stream is not scaled more than ten times in 24 hours")
def eleventh(k):
    name = k.stream()
    for number in range(10):
        scale(k, name, 2 - number % 2)
    k.refused("UpdateShardCount", LIMIT, **to(2, StreamName=name))
