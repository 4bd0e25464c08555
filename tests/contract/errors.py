"""Errors, both ways: each that the endpoint's code can send is in the service model or a documented common
one, and each that the model declares of an operation is provoked here or in the contract test, or listed
below with the reason why not. Needs an endpoint with the service's limits on which changes take a while.

usage: errors.py URL PRODUCED.json SOURCE.rs...
"""

import json
import re
import sys
import time

from contract import COMMON, World, load
from shapes import Model
from wire import Wire

# Errors of a declared name that nothing provokes, by name: everywhere.
NEVER = {
    "AccessDeniedException": "needs --auth: tests/kinesis/keys.rs",
    "InternalFailureException": "a disk has to fail or a stream be full: kcl-endpoint/src/state/keep.rs, "
                                "kcl-stream-disk/tests, kcl-endpoint/tests/service/puts.rs",
    "ExpiredIteratorException": "five minutes have to pass: kcl-endpoint/tests/service/reading.rs",
    "ExpiredNextTokenException": "five minutes have to pass: kcl-endpoint/tests/service/shards.rs",
    "KMSAccessDeniedException": "no key is asked for: encryption is told, not done",
    "KMSDisabledException": "no key is asked for: encryption is told, not done",
    "KMSInvalidStateException": "no key is asked for: encryption is told, not done",
    "KMSNotFoundException": "no key is asked for: encryption is told, not done",
    "KMSOptInRequired": "no key is asked for: encryption is told, not done",
    "KMSThrottlingException": "no key is asked for: encryption is told, not done",
    "ThrottlingException": "of queues, which are out of scope",
}

NO_RATE = "the reference states no rate or quota of it"
ANY_STATE = "the reference names no state in which it is refused: it is answered in all of them"
NO_ARGUMENT = "every argument it takes is checked against the model: ValidationException"

# The same, of one operation.
NEVER_HERE = {
    **{(operation, "LimitExceededException"): NO_RATE for operation in (
        "DecreaseStreamRetentionPeriod", "DeleteResourcePolicy", "DisableEnhancedMonitoring",
        "EnableEnhancedMonitoring", "GetResourcePolicy", "IncreaseStreamRetentionPeriod",
        "ListTagsForResource", "PutResourcePolicy", "TagResource", "UntagResource",
        "UpdateMaxRecordSize", "UpdateStreamRecordDistributionStrategy")},
    **{(operation, "ResourceInUseException"): ANY_STATE for operation in (
        "AddTagsToStream", "DeleteResourcePolicy", "GetResourcePolicy", "ListShards",
        "ListStreamConsumers", "ListTagsForResource", "PutResourcePolicy", "RemoveTagsFromStream",
        "TagResource", "UntagResource")},
    **{(operation, "InvalidArgumentException"): NO_ARGUMENT for operation in (
        "DeleteResourcePolicy", "GetResourcePolicy", "ListTagsForResource", "UntagResource",
        "UpdateAccountSettings", "UpdateMaxRecordSize", "UpdateStreamMode")},
    ("GetRecords", "ResourceNotFoundException"):
        "the iterator's stream has to be deleted: kcl-endpoint/tests/service/reading.rs",
    ("PutRecords", "ProvisionedThroughputExceededException"):
        "told of each record: kcl-endpoint/tests/service/limits.rs",
    ("SubscribeToShard", "LimitExceededException"):
        "one call a second of a consumer and shard: after one that was answered the next is refused as "
        "ResourceInUseException for five; calls that were refused are not counted "
        "(kcl-endpoint/tests/service/subscriptions.rs)",
    ("ListShards", "LimitExceededException"):
        "1,000 calls a second: kcl-endpoint/tests/service/limits.rs",
    ("StartStreamEncryption", "LimitExceededException"):
        "25 in a day, each after the one before: kcl-endpoint/tests/service/settings.rs",
    ("StopStreamEncryption", "LimitExceededException"):
        "25 in a day, each after the one before: kcl-endpoint/tests/service/settings.rs",
    ("UpdateStreamMode", "LimitExceededException"):
        "two in a day, each after the one before: kcl-endpoint/tests/service/settings.rs",
}

findings = []


class Provoked:
    """What an endpoint answered, by operation."""

    def __init__(self, wire, model, produced):
        self.wire, self.model, self.produced = wire, model, produced

    def call(self, operation, request):
        answer = self.wire.call(operation, request)
        if answer.error is not None:
            self.produced.setdefault(operation, set()).add(answer.error)
            if answer.error not in self.model.errors(operation) | COMMON.keys():
                findings.append(f"{operation}: {answer.error} is not an error of it")
        return answer


def sent(sources):
    """Names of errors in the source of the endpoint and of its engine."""
    text = "".join(open(source, encoding="utf-8").read() for source in sources)
    return set(re.findall(r'"([A-Z]\w+(?:Exception|Unavailable))"', text))


def elsewhere(request):
    """The request on a stream or consumer that is not there."""
    def other(value):
        if isinstance(value, str) and "stream/" in value:
            return re.sub(r"stream/[^/]+", "stream/nowhere", value)
        return value
    return {name: "nowhere" if name == "StreamName" else other(value) for name, value in request.items()}


def wrong(operation, request, world):
    """Requests that the operation refuses as wrong, or as beyond a limit."""
    members = world.model.input(operation)["members"]
    if "StreamName" in members and "StreamARN" in members:
        yield {**request, "StreamName": "another"}
        yield {name: value for name, value in request.items() if name not in ("StreamName", "StreamARN")}
    if "DryRun" in members:
        active(world)
        yield {**request, "DryRun": True}
    tags = {f"k{n}": "v" for n in range(51)}
    yield from {
        "AddTagsToStream": [{**request, "Tags": {"aws:x": "v"}}],
        "CreateStream": [{**request, "Tags": tags}, {**request, "StreamName": world.name},
                         {**request, "ShardCount": 30_000},
                         {**request, "RecordDistributionStrategy": "AUTO"}],
        "DeleteResourcePolicy": [{"ResourceARN": request.get("ResourceARN", "")}] * 2,
        "DescribeStreamConsumer": [{"ConsumerName": "c"}],
        "DeregisterStreamConsumer": [{"ConsumerName": "c"}],
        "GetRecords": [{"ShardIterator": "forged"}],
        "ListShards": [{"NextToken": "forged"}],
        "ListStreamConsumers": [{**request, "NextToken": "forged"}],
        "ListStreams": [{"NextToken": "forged"}],
        "PutResourcePolicy": [{**request, "Policy": "none"}],
        "RegisterStreamConsumer": [request, {**request, "ConsumerName": "d", "Tags": tags}],
        "SubscribeToShard": [{**request, "StartingPosition": {"Type": "AT_SEQUENCE_NUMBER"}}],
        "TagResource": [{**request, "Tags": {"aws:x": "v"}}],
        "UpdateStreamRecordDistributionStrategy": [{**request, "RecordDistributionStrategy": "AUTO"}],
    }.get(operation, [])


def active(world):
    for _ in range(200):
        summary = world.wire.call("DescribeStreamSummary", {"StreamName": world.name})
        if summary.status == 200 and summary.body["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE":
            return
        time.sleep(0.1)
    raise SystemExit(f"{world.name} does not become ACTIVE")


class Slow(World):
    """A world whose stream is waited for, on an endpoint with limits."""

    def ok(self, operation, **request):
        for _ in range(100):
            answer = self.wire.call(operation, request)
            if answer.status == 200:
                if operation != "GetShardIterator":
                    active(self)
                return answer.body
            time.sleep(0.1)
        raise SystemExit(f"{operation} {request}: {answer.error} {answer.message}")

    def consumer(self):
        arn = super().consumer()
        while self.wire.call("DescribeStreamConsumer", {"ConsumerARN": arn}).body.get(
                "ConsumerDescription", {}).get("ConsumerStatus") != "ACTIVE":
            time.sleep(0.1)
        return arn


def provoke(operation, provoked):
    world = Slow(provoked.wire)
    request = world.right(operation)
    if operation != "CreateStream":
        provoked.call(operation, elsewhere(request))
    for bad in wrong(operation, request, world):
        provoked.call(operation, bad)
    if "StreamARN" in world.model.input(operation)["members"]:
        active(world)
        kms = {"StreamName": world.name, "EncryptionType": "KMS", "KeyId": "k"}
        world.wire.call("StartStreamEncryption", kms)
        for _ in range(2):
            provoked.call(operation, request)
    time.sleep(1.1)
    if operation == "PutRecord":
        # More in 25 calls than a shard takes in a second.
        request = {**request, "Data": b"x" * 100_000}
    # Beyond every rate the service states, while the first of them may still be changing the stream.
    for _ in range(25):
        provoked.call(operation, request)


def main():
    url, path, *sources = sys.argv[1:]
    model = Model(load())
    World.model = model
    produced = {operation: set(names) for operation, names in json.load(open(path)).items()}
    declared_anywhere = set().union(*(model.errors(operation) for operation in model.operations))
    names = sent(sources)
    for name in sorted(names - declared_anywhere - COMMON.keys()):
        findings.append(f"{name}: sent, neither in the model nor a documented common error")
    provoked = Provoked(Wire(url, "json"), model, produced)
    for operation in sorted(produced):
        provoke(operation, provoked)
    pairs = 0
    for operation in sorted(produced):
        for error in sorted(model.errors(operation)):
            reason = NEVER.get(error) or NEVER_HERE.get((operation, error))
            if error in produced[operation]:
                pairs += 1
                if reason:
                    findings.append(f"{operation}: {error} is listed as never provoked, and was")
            elif not reason:
                findings.append(f"{operation}: {error} is declared, not provoked, and not listed")
    for finding in findings:
        print(finding)
    print(f"{len(names)} errors sent, {pairs} declared errors of {len(produced)} operations provoked, "
          f"{len(findings)} findings")
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
