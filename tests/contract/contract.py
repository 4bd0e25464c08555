"""Holds an endpoint against the service model inside botocore: operations, members, what is required,
bounds, patterns, errors, and the shape of every answer. Each probe is one raw request, in JSON and in CBOR.

Writes the errors that came, for errors.py.

usage: contract.py URL docs/endpoint.md PRODUCED.json
"""

import gzip
import importlib.resources
import itertools
import json
import random
import re
import sys

from shapes import Model, broken, edges, mistyped, sample
from wire import Wire

# What any operation may answer besides the errors that the model names, with where that is written:
# the common errors of the API reference, and those of the JSON protocol and of signatures that every
# official client knows.
COMMON = {
    "AccessDeniedException": "Kinesis API reference, common errors",
    "IncompleteSignatureException": "Kinesis API reference, common errors",
    "InternalFailureException": "Kinesis API reference, common errors",
    "InvalidSignatureException": "IAM user guide, troubleshooting of signatures",
    "MissingAuthenticationTokenException": "Kinesis API reference, common errors",
    "RequestEntityTooLargeException": "AWS JSON 1.1: HTTP status 413",
    "RequestTimeoutException": "botocore data/_retry.json, HTTP status 408",
    "SerializationException": "AWS JSON 1.1",
    "ServiceUnavailable": "Kinesis API reference, common errors",
    "UnknownOperationException": "AWS JSON 1.1",
    "UnrecognizedClientException": "Kinesis API reference, common errors",
    "ValidationException": "Kinesis API reference, common errors",
}

# What is not a ValidationException, by operation, member and fault, as the API reference has it: "If you
# specify a value that is greater than 10,000, GetRecords throws InvalidArgumentException."
OTHER_REFUSALS = {("GetRecords", "Limit", "too high"): "InvalidArgumentException"}

# Requests that the model allows and something else does not, by operation, member and bound, with what
# that is.
STILL_REFUSED = {
    ("CreateStream", "WarmThroughputMiBps", "as any"): "for a stream in ON_DEMAND mode alone",
    ("CreateStream", "WarmThroughputMiBps", "at 0"): "for a stream in ON_DEMAND mode alone",
}

# Members of answers that no answer here has, by structure, with why. SubscribeToShard's events are read
# by kcl-endpoint/tests/service/subscriptions.rs, in both encodings.
UNANSWERED = {
    ("MinimumThroughputBillingCommitmentOutput", "EndedAt"):
        "a day has to pass: kcl-endpoint/tests/service/settings.rs",
    ("PutRecordsResultEntry", "ErrorCode"): "no rate holds here: kcl-endpoint/tests/service/limits.rs",
    ("PutRecordsResultEntry", "ErrorMessage"): "no rate holds here: kcl-endpoint/tests/service/limits.rs",
}

findings = []
probes = 0
# Errors that came, by operation.
produced = {}
# Members of answers that came, each with its structure.
answered = set()


def find(operation, encoding, what):
    findings.append(f"{operation} ({encoding}): {what}")


def load():
    folder = importlib.resources.files("botocore") / "data/kinesis/2013-12-02"
    return json.loads(gzip.decompress((folder / "service-2.json.gz").read_bytes()))


def scope(page):
    """The operations that the page says are done, and those it says are out of scope."""
    text = open(page, encoding="utf-8").read()
    done, rest = text.split("**Done**")[1].split("**Out of scope**")
    rows = [line for line in done.splitlines() if line.startswith("| ")]
    names = lambda text: set(re.findall(r"\b[A-Z][a-z]+(?:[A-Z][A-Za-z]*)+\b", text))
    out = rest.split("\n\n")[0]
    return names("\n".join(rows)), names(out) - {"UnknownOperationException"}


def camel(name):
    return name[0].lower() + name[1:]


def fits(model, name, value, at):
    """What of an answer is not as the model has it."""
    shape = model.shape(name)
    kind = shape["type"]
    types = {"string": str, "integer": int, "long": int, "boolean": bool,
             "timestamp": (float, int), "blob": (bytes, str), "list": list, "map": dict,
             "structure": dict}[kind]
    if not isinstance(value, types):
        yield f"{at} is {value!r}, no {kind}"
    elif kind == "string":
        if "enum" in shape and value not in shape["enum"]:
            yield f"{at} is {value!r}, not of the enum"
        if "pattern" in shape and not re.fullmatch(shape["pattern"], value):
            yield f"{at} is {value!r}, which does not match {shape['pattern']}"
    elif kind == "list":
        for index, each in enumerate(value):
            yield from fits(model, shape["member"]["shape"], each, f"{at}[{index}]")
    elif kind == "structure":
        for member in shape.get("required", []):
            if member not in value:
                yield f"{at}.{member} is missing"
        for member, each in value.items():
            if member not in shape["members"]:
                yield f"{at}.{member} is not of the model"
            else:
                answered.add((name, member))
                yield from fits(model, shape["members"][member]["shape"], each, f"{at}.{member}")


class World:
    """A fresh stream with a consumer and a record, so that a right request succeeds."""

    numbers = itertools.count()

    def __init__(self, wire):
        self.wire = wire
        self.name = f"contract-{next(self.numbers)}"
        self.arn = f"arn:aws:kinesis:us-east-1:000000000000:stream/{self.name}"
        self.ok("CreateStream", StreamName=self.name, ShardCount=2)

    def ok(self, operation, **request):
        answer = self.wire.call(operation, request)
        if answer.status != 200:
            raise SystemExit(f"{operation} {request}: {answer.error} {answer.message}")
        return answer.body

    def consumer(self):
        registered = self.ok("RegisterStreamConsumer", StreamARN=self.arn, ConsumerName="c")
        return registered["Consumer"]["ConsumerARN"]

    def right(self, operation):
        """A request that succeeds."""
        shard = "shardId-000000000000"
        if operation == "CreateStream":
            return {"StreamName": self.name + "-new", "ShardCount": 1}
        if operation in ("ListStreams", "DescribeLimits", "DescribeAccountSettings"):
            return {}
        if operation == "UpdateAccountSettings":
            return {"MinimumThroughputBillingCommitment": {"Status": "ENABLED"}}
        if operation in ("DeregisterStreamConsumer", "DescribeStreamConsumer"):
            return {"ConsumerARN": self.consumer()}
        if operation == "SubscribeToShard":
            return {"ConsumerARN": self.consumer(), "ShardId": shard,
                    "StartingPosition": {"Type": "TRIM_HORIZON"}}
        if operation == "GetRecords":
            self.ok("PutRecord", StreamName=self.name, PartitionKey="k", Data=b"x",
                    ExplicitHashKey="0")
            iterator = self.ok("GetShardIterator", StreamName=self.name, ShardId=shard,
                               ShardIteratorType="TRIM_HORIZON")
            return iterator
        if "ResourceARN" in self.model.input(operation)["members"]:
            request = {"ResourceARN": self.arn, "Policy": "{}", "Tags": {"k": "v"}, "TagKeys": ["k"]}
            if operation in ("GetResourcePolicy", "DeleteResourcePolicy"):
                self.ok("PutResourcePolicy", ResourceARN=self.arn, Policy="{}")
            members = self.model.input(operation)["members"]
            return {name: value for name, value in request.items() if name in members}
        special = {
            "AddTagsToStream": {"Tags": {"k": "v"}},
            "DecreaseStreamRetentionPeriod": {"RetentionPeriodHours": 24},
            "DisableEnhancedMonitoring": {"ShardLevelMetrics": ["ALL"]},
            "EnableEnhancedMonitoring": {"ShardLevelMetrics": ["IncomingBytes"]},
            "GetShardIterator": {"ShardId": shard, "ShardIteratorType": "LATEST"},
            "IncreaseStreamRetentionPeriod": {"RetentionPeriodHours": 48},
            "MergeShards": {"ShardToMerge": shard, "AdjacentShardToMerge": "shardId-000000000001"},
            "PutRecord": {"Data": b"x", "PartitionKey": "k"},
            "PutRecords": {"Records": [{"Data": b"x", "PartitionKey": "k"}]},
            "RegisterStreamConsumer": {"ConsumerName": "c"},
            "RemoveTagsFromStream": {"TagKeys": ["k"]},
            "SplitShard": {"ShardToSplit": shard, "NewStartingHashKey": "5"},
            "StartStreamEncryption": {"EncryptionType": "KMS", "KeyId": "k"},
            "StopStreamEncryption": {"EncryptionType": "KMS", "KeyId": "k"},
            "UpdateMaxRecordSize": {"MaxRecordSizeInKiB": 2048},
            "UpdateShardCount": {"TargetShardCount": 3, "ScalingType": "UNIFORM_SCALING"},
            "UpdateStreamMode": {"StreamModeDetails": {"StreamMode": "ON_DEMAND"}},
            "UpdateStreamRecordDistributionStrategy": {
                "RecordDistributionStrategy": "USER_PARTITION_KEY"},
            "UpdateStreamWarmThroughput": {"WarmThroughputMiBps": 10},
        }
        if operation == "UpdateStreamWarmThroughput":
            self.ok("UpdateAccountSettings", MinimumThroughputBillingCommitment={"Status": "ENABLED"})
            self.ok("UpdateStreamMode", StreamARN=self.arn,
                    StreamModeDetails={"StreamMode": "ON_DEMAND"})
        return {"StreamARN": self.arn, **special.get(operation, {})}


def walk(model, operation, wire):
    global probes
    encoding = wire.encoding
    members = model.input(operation)["members"]
    required = model.input(operation).get("required", [])
    allowed = model.errors(operation) | COMMON.keys()

    def call(request):
        global probes
        probes += 1
        answer = wire.call(operation, request)
        if answer.error is not None:
            produced.setdefault(operation, set()).add(answer.error)
        if answer.error is not None and answer.error not in allowed:
            find(operation, encoding, f"{answer.error} ({answer.message[:200]}) is not an error of it")
        for header in ("x-amzn-requestid", "x-amz-id-2", "date"):
            if header not in answer.headers:
                find(operation, encoding, f"no {header}")
        return answer

    right = World(wire).right(operation)
    # Probed on a request that is right but for one value; none of these may change anything.
    for name in required:
        without = {k: v for k, v in right.items() if k != name}
        answer = call(without)
        if answer.error != "ValidationException" or camel(name) not in answer.message:
            find(operation, encoding, f"without {name}: {answer.error} {answer.message[:200]}")
    for name, ref in members.items():
        for value, what in broken(model, ref["shape"]):
            answer = call({**right, name: value})
            refusal = OTHER_REFUSALS.get((operation, name, what), "ValidationException")
            if answer.error != refusal or camel(name) not in answer.message:
                shown = repr(value)[:60]
                find(operation, encoding, f"{name} {what} ({shown}): {answer.status} {answer.error} "
                     f"{answer.message[:200]}")
        for value, where in mistyped(model, ref["shape"]):
            answer = call({**right, name: value})
            if answer.error != "SerializationException":
                find(operation, encoding,
                     f"{name}{where} of another type: {answer.status} {answer.error}")
    answer = call(right)
    output = model.operations[operation].get("output")
    if answer.status != 200:
        find(operation, encoding, f"{right} is refused: {answer.error} {answer.message}")
    elif isinstance(answer.body, bytes):
        if len(answer.body) != 12:
            find(operation, encoding, "no event came")
    elif output is None:
        if answer.body:
            find(operation, encoding, f"an answer without members has some: {answer.body}")
    else:
        for what in fits(model, output["shape"], answer.body, "the answer"):
            find(operation, encoding, what)
    # What is still allowed: it may not be there, or not fit the stream, but it is no wrong request. Each
    # on a stream of its own, since some of it is done.
    for name, ref in members.items():
        values = [(sample(model, ref["shape"]), "as any"), *edges(model, ref["shape"])]
        for value, what in values:
            answer = call({**World(wire).right(operation), name: value})
            if answer.error in ("ValidationException", "SerializationException"):
                if (operation, name, what) not in STILL_REFUSED:
                    find(operation, encoding, f"{name} {what} is allowed: {answer.error} "
                         f"{answer.message[:200]}")
            elif answer.status == 200 and output is not None and not isinstance(answer.body, bytes):
                for wrong in fits(model, output["shape"], answer.body, "the answer"):
                    find(operation, encoding, wrong)


def history(model, wire):
    """Answers about a stream that was encrypted, tagged, split, merged and read to a shard's end, and an
    account that had a commitment: they have the members that those of a fresh one have not."""
    world = World(wire)
    named = {"StreamName": world.name}

    def ok(operation, **request):
        body = world.ok(operation, **request)
        shape = model.operations[operation]["output"]["shape"]
        for what in fits(model, shape, body, "the answer"):
            find(operation, wire.encoding, what)
        return body

    world.ok("StartStreamEncryption", **named, EncryptionType="KMS", KeyId="k")
    world.ok("AddTagsToStream", **named, Tags={"k": "v"})
    ok("PutRecord", **named, PartitionKey="k", Data=b"x", ExplicitHashKey="0")
    first, second = "shardId-000000000000", "shardId-000000000001"
    world.ok("SplitShard", **named, ShardToSplit=first, NewStartingHashKey="5")
    world.ok("MergeShards", **named, ShardToMerge="shardId-000000000003", AdjacentShardToMerge=second)
    iterator = ok("GetShardIterator", **named, ShardId=first, ShardIteratorType="TRIM_HORIZON")
    ok("GetRecords", **iterator)
    for operation in ("ListShards", "DescribeStream", "ListTagsForStream"):
        ok(operation, **named)
    ok("ListTagsForResource", ResourceARN=world.arn)
    for name in ("c", "d"):
        ok("RegisterStreamConsumer", StreamARN=world.arn, ConsumerName=name)
    ok("ListStreamConsumers", StreamARN=world.arn, MaxResults=1)
    for status in ("ENABLED", "DISABLED", "ENABLED"):
        ok("UpdateAccountSettings", MinimumThroughputBillingCommitment={"Status": status})
        ok("DescribeAccountSettings")
    world.ok("UpdateStreamMode", StreamARN=world.arn, StreamModeDetails={"StreamMode": "ON_DEMAND"})
    ok("UpdateStreamWarmThroughput", StreamARN=world.arn, WarmThroughputMiBps=10)
    ok("DescribeStreamSummary", **named)


def answers(model, name, found):
    """Every member of this shape and of those within, each with its structure."""
    shape = model.shape(name)
    for member, ref in shape.get("members", {}).items():
        if (name, member) not in found:
            found.add((name, member))
            answers(model, ref["shape"], found)
    for part in ("member", "key", "value"):
        if part in shape:
            answers(model, shape[part]["shape"], found)


def unanswered(model, done):
    """Members of answers that none had, and that are not listed with the reason."""
    declared = set()
    for operation in done:
        if operation != "SubscribeToShard" and "output" in model.operations[operation]:
            answers(model, model.operations[operation]["output"]["shape"], declared)
    for structure, member in sorted(declared - answered - UNANSWERED.keys()):
        find(structure, "answers", f"no answer had {member}")
    for structure, member in sorted(UNANSWERED.keys() & answered):
        find(structure, "answers", f"{member} is listed as never answered, and was")


def garbage(operation, wire):
    """Bodies cut, changed and nested beyond reason: refused or understood, never a failure."""
    global probes
    chance = random.Random(operation + wire.encoding)
    right = wire.encode(World(wire).right(operation))
    deep = b"\x81" if wire.encoding == "cbor" else b"["
    bodies = [deep * 100_000, b"\xff" * 64, right[:-1]]
    for _ in range(30):
        body = bytearray(right)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(body))
            body[at:at + chance.randint(0, 2)] = chance.randbytes(chance.randint(0, 3))
            body = body or bytearray(b"x")
        bodies.append(bytes(body))
    for body in bodies:
        probes += 1
        answer = wire.send(operation, body)
        if answer.status != 200 and (answer.status != 400 or not answer.error):
            find(operation, wire.encoding, f"{body[:80]!r}: {answer.status} {answer.body}")


def main():
    url, page, path = sys.argv[1:]
    model = Model(load())
    World.model = model
    done, out = scope(page)
    known = set(model.operations)
    for name in sorted((done | out) - known):
        find(name, "docs", "the model has no such operation")
    for name in sorted(known - done - out):
        find(name, "docs", "neither done nor listed as out of scope")
    for encoding in ("json", "cbor"):
        wire = Wire(url, encoding)
        history(model, wire)
        for operation in sorted(known):
            if operation in done:
                walk(model, operation, wire)
                garbage(operation, wire)
            elif wire.call(operation, {}).error != "UnknownOperationException":
                find(operation, encoding, "listed as out of scope, and answered otherwise")
    unanswered(model, done & known)
    with open(path, "w", encoding="utf-8") as file:
        json.dump({operation: sorted(names) for operation, names in produced.items()}, file)
    for finding in findings:
        print(finding)
    print(f"{len(done & known)} operations done, {len(out & known)} out of scope, {probes} requests, "
          f"{len(findings)} findings")
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
