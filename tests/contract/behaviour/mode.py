"""On-demand streams: UpdateStreamMode, UpdateStreamRecordDistributionStrategy."""

from kit import (BAD, FIRST, INVALID, LIMIT, MISSING_ARN, NOT_FOUND, an_arn, an_on_demand_stream,
                 check, equal, refusals, true)

refuses = refusals(__name__)
ON_DEMAND = {"StreamMode": "ON_DEMAND"}
PROVISIONED = {"StreamMode": "PROVISIONED"}
STRATEGY = "UpdateStreamRecordDistributionStrategy"

refuses("UpdateStreamMode of no stream is ResourceNotFoundException",
        "UpdateStreamMode", NOT_FOUND, StreamARN=MISSING_ARN, StreamModeDetails=ON_DEMAND)
refuses("UpdateStreamMode requires StreamARN", "UpdateStreamMode", *BAD,
        StreamModeDetails=ON_DEMAND)
refuses("UpdateStreamMode requires StreamModeDetails", "UpdateStreamMode", *BAD, StreamARN=an_arn)
refuses("UpdateStreamMode refuses another mode", "UpdateStreamMode", *BAD, StreamARN=an_arn,
        StreamModeDetails={"StreamMode": "SOMETIMES"})
refuses("AUTO on a provisioned stream is InvalidArgumentException",
        STRATEGY, INVALID, StreamARN=an_arn, RecordDistributionStrategy="AUTO")
refuses("The strategy is AUTO or USER_PARTITION_KEY", STRATEGY, *BAD,
        StreamARN=lambda k: k.arn(an_on_demand_stream(k)), RecordDistributionStrategy="FAIR")
refuses("The strategy of no stream is ResourceNotFoundException",
        STRATEGY, NOT_FOUND, StreamARN=MISSING_ARN, RecordDistributionStrategy="AUTO")
refuses("The strategy is set by StreamARN", STRATEGY, *BAD, RecordDistributionStrategy="AUTO")


@check("An on-demand stream needs no shard count, and says its mode")
def created(k):
    equal(k.summary(k.on_demand()).get("StreamModeDetails"), ON_DEMAND)


@check("A new on-demand stream takes 4 MB a second: it has four shards")
def four_shards(k):
    equal(k.summary(k.on_demand())["OpenShardCount"], 4)


@check("Records of an on-demand stream are put and read like others")
def put_and_read(k):
    name = k.on_demand()
    k.put(name, b"x", ExplicitHashKey="0")
    equal([one["Data"] for one in k.read(k.iterator(name), 1)[0]], [b"x"])


def switch(k, name, mode):
    equal(k.ask("UpdateStreamMode", StreamARN=k.arn(name), StreamModeDetails=mode), {})
    k.active(name)


@check("A provisioned stream becomes on-demand")
def to_on_demand(k):
    name = k.stream()
    switch(k, name, ON_DEMAND)
    equal(k.summary(name).get("StreamModeDetails"), ON_DEMAND)


@check("An on-demand stream becomes provisioned, with the shards it had")
def to_provisioned(k):
    name = k.on_demand()
    switch(k, name, PROVISIONED)
    found = k.summary(name)
    equal((found.get("StreamModeDetails"), found["OpenShardCount"]), (PROVISIONED, 4))


@check("UpdateStreamMode sets UPDATING, and ACTIVE when it is done", alone=True)
def states(k):
    name = k.stream()
    k.at_once("UpdateStreamMode", StreamARN=k.arn(name), StreamModeDetails=ON_DEMAND)
    equal(k.status(name), "UPDATING")
    k.active(name)


@check("A stream switches its mode at most twice in 24 hours")
def third_switch(k):
    name = k.stream()
    switch(k, name, ON_DEMAND)
    switch(k, name, PROVISIONED)
    k.refused("UpdateStreamMode", LIMIT, StreamARN=k.arn(name), StreamModeDetails=ON_DEMAND)


@check("The strategy of an on-demand stream is USER_PARTITION_KEY unless it is set")
def default_strategy(k):
    equal(k.summary(k.on_demand()).get("RecordDistributionStrategy"), "USER_PARTITION_KEY")


@check("CreateStream of an on-demand stream takes the strategy")
def created_with(k):
    name = k.on_demand(RecordDistributionStrategy="AUTO")
    equal(k.summary(name).get("RecordDistributionStrategy"), "AUTO")


def automatic(k):
    name = k.on_demand()
    equal(k.ask(STRATEGY, StreamARN=k.arn(name), RecordDistributionStrategy="AUTO"), {})
    return name


@check("The strategy changes at once")
def changed(k):
    equal(k.summary(automatic(k)).get("RecordDistributionStrategy"), "AUTO")


@check("With AUTO a record needs no partition key")
def no_key(k):
    got = k.ask("PutRecord", StreamName=automatic(k), Data=b"x")
    true(got["SequenceNumber"], "there is no sequence number")


@check("With AUTO records of one key are distributed evenly across the shards")
def distributed(k):
    name = automatic(k)
    found = [k.put(name, ExplicitHashKey="0")["ShardId"] for _ in range(40)]
    true(len(set(found)) == 4, f"40 records are in {sorted(set(found))}")


@check("With USER_PARTITION_KEY again, the hash key decides")
def set_back(k):
    name = automatic(k)
    k.ask(STRATEGY, StreamARN=k.arn(name), RecordDistributionStrategy="USER_PARTITION_KEY")
    equal({k.put(name, ExplicitHashKey="0")["ShardId"] for _ in range(8)}, {FIRST})
