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

from wire import Time, Wire

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

findings = []
probes = 0
# Errors that came, by operation.
produced = {}


def find(operation, encoding, what):
    findings.append(f"{operation} ({encoding}): {what}")


def load():
    folder = importlib.resources.files("botocore") / "data/kinesis/2013-12-02"
    return json.loads(gzip.decompress((folder / "service-2.json.gz").read_bytes()))


def scope(page):
    """The operations that the page says are done, and those it says are out of scope."""
    text = open(page, encoding="utf-8").read()
    rows = [line for line in text.splitlines() if line.startswith("| ") and "---" not in line]
    names = lambda text: set(re.findall(r"\b[A-Z][a-z]+(?:[A-Z][A-Za-z]*)+\b", text))
    out = text.split("**Out of scope**")[1].split("\n\n")[0]
    return names("\n".join(rows)), names(out) - {"UnknownOperationException"}


class Model:
    def __init__(self, raw):
        self.shapes = raw["shapes"]
        self.operations = raw["operations"]

    def shape(self, name):
        return self.shapes[name]

    def input(self, operation):
        return self.shapes[self.operations[operation]["input"]["shape"]]

    def errors(self, operation):
        return {error["shape"] for error in self.operations[operation].get("errors", [])}


def camel(name):
    return name[0].lower() + name[1:]


# Texts that match each pattern of the model, where "a" does not.
def sample(model, name):
    shape = model.shape(name)
    known = {
        "StreamARN": "arn:aws:kinesis:us-east-1:000000000000:stream/sample",
        "ConsumerARN": "arn:aws:kinesis:us-east-1:000000000000:stream/sample/consumer/c:1",
        "ResourceARN": "arn:aws:kinesis:us-east-1:000000000000:stream/sample",
        "StreamId": "a1" * 10 + "-abc",
        "HashKey": "1",
        "SequenceNumber": "1",
    }
    if name in known:
        return known[name]
    kind = shape["type"]
    if kind == "string":
        return shape["enum"][0] if "enum" in shape else "a" * max(1, shape.get("min", 1))
    if kind in ("integer", "long"):
        return max(1, shape.get("min", 1))
    if kind == "boolean":
        return False
    if kind == "timestamp":
        return Time(1_600_000_000)
    if kind == "blob":
        return b"x"
    if kind == "list":
        return [sample(model, shape["member"]["shape"])] * max(1, shape.get("min", 1))
    if kind == "map":
        return {sample(model, shape["key"]["shape"]): sample(model, shape["value"]["shape"])}
    return {member: sample(model, shape["members"][member]["shape"])
            for member in shape.get("required", [])}


def broken(model, name):
    """Values of this shape that the model does not allow, each with what is wrong."""
    shape = model.shape(name)
    kind, least, most = shape["type"], shape.get("min"), shape.get("max")
    good = sample(model, name)
    if kind == "string":
        if least:
            yield "", "too short"
        if most is not None:
            yield "a" * (most + 1), "too long"
        if "pattern" in shape:
            yield "a b!", "another pattern"
            if name in ("StreamARN", "ConsumerARN", "ResourceARN"):
                yield "x" + good, "not the whole pattern"
            if name in ("HashKey", "SequenceNumber"):
                yield "01", "a leading zero"
                yield "1" * 130, "too many digits"
        if "enum" in shape:
            yield "NO_SUCH_VALUE", "not of the enum"
    elif kind in ("integer", "long"):
        if least is not None:
            yield least - 1, "too low"
        if most is not None:
            yield most + 1, "too high"
    elif kind == "blob" and most is not None:
        yield b"x" * (most + 1), "too large"
    elif kind == "list":
        of = shape["member"]["shape"]
        if least:
            yield [], "too few"
        if most is not None:
            yield [sample(model, of)] * (most + 1), "too many"
        for value, what in broken(model, of):
            yield [value], f"an item {what}"
    elif kind == "map":
        key, of = shape["key"]["shape"], shape["value"]["shape"]
        if least:
            yield {}, "too few"
        if most is not None:
            yield {f"k{n}": sample(model, of) for n in range(most + 1)}, "too many"
        for value, what in broken(model, key):
            yield {value: sample(model, of)}, f"a key {what}"
        for value, what in broken(model, of):
            yield {"k": value}, f"a value {what}"
    elif kind == "structure":
        for member in shape.get("required", []):
            yield {k: v for k, v in good.items() if k != member}, f"no {member}"
        for member, ref in shape["members"].items():
            for value, what in broken(model, ref["shape"]):
                yield {**good, member: value}, f"{member} {what}"


def mistyped(model, name):
    kind = model.shape(name)["type"]
    return {"string": 5, "integer": "x", "long": "x", "boolean": "x", "timestamp": "x",
            "blob": 5, "list": {"a": 1}, "map": ["a"], "structure": "x"}[kind]


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
        answer = call({**right, name: mistyped(model, ref["shape"])})
        if answer.error != "SerializationException":
            find(operation, encoding, f"{name} of another type: {answer.status} {answer.error}")
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
    # Members that are not needed are known all the same.
    for name, ref in members.items():
        if name not in right:
            answer = call({**World(wire).right(operation), name: sample(model, ref["shape"])})
            if answer.error == "SerializationException":
                find(operation, encoding, f"{name} is not understood: {answer.message}")


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
        for operation in sorted(known):
            if operation in done:
                walk(model, operation, wire)
                garbage(operation, wire)
            elif wire.call(operation, {}).error != "UnknownOperationException":
                find(operation, encoding, "listed as out of scope, and answered otherwise")
    with open(path, "w", encoding="utf-8") as file:
        json.dump({operation: sorted(names) for operation, names in produced.items()}, file)
    for finding in findings:
        print(finding)
    print(f"{len(done & known)} operations done, {len(out & known)} out of scope, {probes} requests, "
          f"{len(findings)} findings")
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
