"""EnableEnhancedMonitoring and DisableEnhancedMonitoring."""

from kit import BAD, NOT_FOUND, a_stream, check, equal, refusals

refuses = refusals(__name__)
METRICS = ["IncomingBytes", "IncomingRecords", "IteratorAgeMilliseconds", "OutgoingBytes",
           "OutgoingRecords", "ReadProvisionedThroughputExceeded",
           "WriteProvisionedThroughputExceeded"]
ENABLE = "EnableEnhancedMonitoring"
DISABLE = "DisableEnhancedMonitoring"
ABSENT = "behaviour-that-is-not-there"

refuses("EnableEnhancedMonitoring of no stream is ResourceNotFoundException",
        ENABLE, NOT_FOUND, StreamName=ABSENT, ShardLevelMetrics=["ALL"])
refuses("DisableEnhancedMonitoring of no stream is ResourceNotFoundException",
        DISABLE, NOT_FOUND, StreamName=ABSENT, ShardLevelMetrics=["ALL"])
refuses("EnableEnhancedMonitoring must have StreamName or StreamARN",
        ENABLE, *BAD, ShardLevelMetrics=["ALL"])
refuses("EnableEnhancedMonitoring requires ShardLevelMetrics", ENABLE, *BAD, StreamName=a_stream)
refuses("ShardLevelMetrics has at least one metric",
        ENABLE, *BAD, StreamName=a_stream, ShardLevelMetrics=[])
refuses("ShardLevelMetrics has at most seven metrics",
        ENABLE, *BAD, StreamName=a_stream, ShardLevelMetrics=METRICS + ["ALL"])
refuses("Another metric is refused",
        ENABLE, *BAD, StreamName=a_stream, ShardLevelMetrics=["IncomingNoise"])


def plain(metrics):
    return METRICS if "ALL" in metrics else sorted(metrics)


def of_stream(k, name):
    return plain([metric for one in k.summary(name)["EnhancedMonitoring"]
                  for metric in one["ShardLevelMetrics"]])


def change(k, operation, name, *metrics):
    """What the answer says was, and what will be."""
    got = k.ask(operation, StreamName=name, ShardLevelMetrics=list(metrics))
    k.active(name)
    return plain(got["CurrentShardLevelMetrics"]), plain(got["DesiredShardLevelMetrics"])


@check("Enabling answers with the metrics before and after")
def enabled(k):
    name = k.stream()
    equal(change(k, ENABLE, name, "IncomingBytes"), ([], ["IncomingBytes"]))
    equal(change(k, ENABLE, name, "OutgoingBytes"),
          (["IncomingBytes"], ["IncomingBytes", "OutgoingBytes"]))


@check("The stream describes the metrics that are enabled")
def described(k):
    name = k.stream()
    change(k, ENABLE, name, "IncomingBytes", "OutgoingRecords")
    equal(of_stream(k, name), ["IncomingBytes", "OutgoingRecords"])


@check("ALL enables every metric")
def all_metrics(k):
    name = k.stream()
    equal(change(k, ENABLE, name, "ALL"), ([], METRICS))
    equal(of_stream(k, name), METRICS)


@check("Disabling answers with the metrics before and after")
def disabled(k):
    name = k.stream()
    change(k, ENABLE, name, "IncomingBytes", "OutgoingBytes")
    equal(change(k, DISABLE, name, "IncomingBytes"),
          (["IncomingBytes", "OutgoingBytes"], ["OutgoingBytes"]))


@check("ALL disables every metric")
def none_left(k):
    name = k.stream()
    change(k, ENABLE, name, "IncomingBytes", "OutgoingBytes")
    change(k, DISABLE, name, "ALL")
    equal(of_stream(k, name), [])


@check("One metric disabled of all leaves the six others")
def six_left(k):
    name = k.stream()
    change(k, ENABLE, name, "ALL")
    change(k, DISABLE, name, "IncomingBytes")
    equal(of_stream(k, name), METRICS[1:])


@check("The answer names the stream and its ARN")
def names(k):
    name = k.stream()
    arn = k.arn(name)
    got = k.ask(ENABLE, StreamARN=arn, ShardLevelMetrics=["IncomingBytes"])
    equal((got["StreamName"], got.get("StreamARN")), (name, arn))
