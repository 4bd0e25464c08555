"""DescribeLimits, account settings, and warm throughput, which needs their commitment."""

import time

from kit import BAD, IN_USE, LIMIT, MISSING_ARN, NOT_FOUND, check, equal, true

SETTING = "MinimumThroughputBillingCommitment"
WARM = "UpdateStreamWarmThroughput"


def limits(k):
    return k.ask("DescribeLimits")


@check("DescribeLimits has the shards and on-demand streams, and the most of both", alone=True)
def described(k):
    found = limits(k)
    for name in ("ShardLimit", "OpenShardCount", "OnDemandStreamCount",
                 "OnDemandStreamCountLimit"):
        true(isinstance(found.get(name), int), f"{name} is {found.get(name)!r}")


@check("An account may have 50 on-demand streams by default", alone=True)
def on_demand_limit(k):
    equal(limits(k).get("OnDemandStreamCountLimit"), 50)


@check("OpenShardCount counts the shards of a new stream", alone=True)
def counted(k):
    before = limits(k)["OpenShardCount"]
    k.stream(3)
    equal(limits(k)["OpenShardCount"], before + 3)


@check("OpenShardCount does not count closed shards", alone=True)
def closed(k):
    name = k.stream(2)
    before = limits(k)["OpenShardCount"]
    k.merge(name)
    equal(limits(k)["OpenShardCount"], before - 1)


@check("OpenShardCount does not count the shards of a deleted stream", alone=True)
def deleted(k):
    before = limits(k)["OpenShardCount"]
    name = k.stream(3)
    k.ask("DeleteStream", StreamName=name)
    k.gone(name)
    equal(limits(k)["OpenShardCount"], before)


@check("OnDemandStreamCount counts on-demand streams", alone=True)
def on_demand(k):
    before = limits(k)["OnDemandStreamCount"]
    k.on_demand()
    equal(limits(k)["OnDemandStreamCount"], before + 1)


@check("The billing commitment of an account is DISABLED until it is enabled", alone=True)
def no_commitment(k):
    equal(k.ask("DescribeAccountSettings")[SETTING]["Status"], "DISABLED")


@check("UpdateAccountSettings requires the commitment", alone=True)
def setting_required(k):
    k.refused("UpdateAccountSettings", *BAD)


@check("The Status of the commitment is ENABLED or DISABLED", alone=True)
def setting_status(k):
    k.refused("UpdateAccountSettings", *BAD, **{SETTING: {"Status": "PERHAPS"}})


@check("Warm throughput without the commitment is refused", alone=True)
def warm_without(k):
    k.refused(WARM, *BAD, StreamARN=k.arn(k.on_demand()), WarmThroughputMiBps=10)


def commit(k):
    if k.ask("DescribeAccountSettings")[SETTING]["Status"] != "ENABLED":
        return k.ask("UpdateAccountSettings", **{SETTING: {"Status": "ENABLED"}})
    return None


@check("UpdateAccountSettings returns the updated settings at once", alone=True)
def commitment(k):
    found = commit(k)[SETTING]
    equal(found["Status"], "ENABLED")
    true(abs(found["StartedAt"].timestamp() - time.time()) < 30, "it did not start now")


@check("DescribeAccountSettings returns the settings that were updated", alone=True)
def commitment_described(k):
    commit(k)
    equal(k.ask("DescribeAccountSettings")[SETTING]["Status"], "ENABLED")


def warm(k, most):
    commit(k)
    name = k.on_demand()
    return name, k.ask(WARM, StreamName=name, WarmThroughputMiBps=most)


@check("UpdateStreamWarmThroughput answers with the stream and its new warm throughput",
       alone=True)
def warmed(k):
    name, got = warm(k, 10)
    equal((got["StreamName"], got["WarmThroughput"]["TargetMiBps"]), (name, 10))


@check("UpdateStreamWarmThroughput sets UPDATING, and ACTIVE when it is done", alone=True)
def warming(k):
    commit(k)
    name = k.on_demand()
    k.at_once(WARM, StreamName=name, WarmThroughputMiBps=10)
    equal(k.status(name), "UPDATING")
    k.active(name)


@check("When it is ACTIVE the stream says its warm throughput", alone=True)
def warm_described(k):
    name, _ = warm(k, 10)
    equal(k.summary(k.active(name)).get("WarmThroughput", {}).get("CurrentMiBps"), 10)


@check("Warm throughput is released by a lower value", alone=True)
def cooled(k):
    name, _ = warm(k, 20)
    k.active(name)
    got = k.patiently(WARM, [IN_USE], StreamName=name, WarmThroughputMiBps=10)
    equal(got["WarmThroughput"]["TargetMiBps"], 10)


@check("CreateStream of an on-demand stream takes warm throughput", alone=True)
def created_warm(k):
    commit(k)
    name = k.on_demand(WarmThroughputMiBps=12)
    found = k.summary(name).get("WarmThroughput", {})
    true(12 in found.values(), f"it is {found}")


@check("A stream has at most 10 GiB a second of warm throughput", alone=True)
def too_warm(k):
    commit(k)
    k.refused(WARM, *BAD, LIMIT, StreamName=k.on_demand(), WarmThroughputMiBps=10 * 1024 + 1)


@check("Provisioned streams do not support warm throughput", alone=True)
def provisioned(k):
    commit(k)
    k.refused(WARM, *BAD, StreamName=k.stream(), WarmThroughputMiBps=10)


@check("Warm throughput of no stream is ResourceNotFoundException", alone=True)
def missing(k):
    commit(k)
    k.refused(WARM, NOT_FOUND, StreamARN=MISSING_ARN, WarmThroughputMiBps=10)


@check("UpdateStreamWarmThroughput requires WarmThroughputMiBps", alone=True)
def value_required(k):
    commit(k)
    k.refused(WARM, *BAD, StreamName=k.on_demand())


@check("With the commitment an on-demand stream may have more than 20 consumers", alone=True,
       seconds=70)
def more_consumers(k):
    commit(k)
    arn = k.arn(k.on_demand())
    for number in range(20):
        k.consumer(arn, f"reader-{number}")
    equal(k.patiently("RegisterStreamConsumer", [], StreamARN=arn, ConsumerName="reader-20")
          ["Consumer"]["ConsumerName"], "reader-20")
