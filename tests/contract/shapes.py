"""The service model, and values made from it: right ones, those it does not allow, those of another type,
and those at its bounds."""

from wire import Time


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
    required = list(shape.get("required", []))
    if name == "PutRecordsRequestEntry":
        # Needed unless the stream distributes records by itself.
        required.append("PartitionKey")
    return {member: sample(model, shape["members"][member]["shape"]) for member in required}


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
    """Values of another type, here and within, each with where it is."""
    shape = model.shape(name)
    kind = shape["type"]
    yield {"string": 5, "integer": "x", "long": "x", "boolean": "x", "timestamp": "x",
           "blob": 5, "list": {"a": 1}, "map": ["a"], "structure": "x"}[kind], ""
    if kind == "list":
        for value, where in mistyped(model, shape["member"]["shape"]):
            yield [value], f"[]{where}"
    elif kind == "map":
        for value, where in mistyped(model, shape["value"]["shape"]):
            yield {"k": value}, f"[k]{where}"
    elif kind == "structure":
        good = sample(model, name)
        for member, ref in shape["members"].items():
            for value, where in mistyped(model, ref["shape"]):
                yield {**good, member: value}, f".{member}{where}"


def edges(model, name):
    """Values at the bounds, which the model still allows, each with which bound it is."""
    shape = model.shape(name)
    kind, least, most = shape["type"], shape.get("min"), shape.get("max")
    good = sample(model, name)
    if kind == "string":
        if name in ("HashKey", "SequenceNumber"):
            yield "0", "the lowest"
            yield "9" * (39 if name == "HashKey" else 129), "of the most digits"
        elif name.endswith("ARN"):
            # The longest that names a stream.
            yield good.replace("sample", "a" * 128), "of a name of 128"
        elif "enum" in shape:
            yield from ((value, value) for value in shape["enum"])
        elif name != "StreamId":
            yield from (("a" * length, f"of {length}") for length in (least, most) if length)
    elif kind in ("integer", "long"):
        yield from ((number, f"at {number}") for number in (least, most) if number is not None)
    elif kind == "blob" and most is not None:
        yield b"x" * most, f"of {most}"
    elif kind == "list":
        of = shape["member"]["shape"]
        counts = {count for count in (least, most) if count}
        yield from (([sample(model, of)] * count, f"{count} items") for count in sorted(counts))
        for value, what in edges(model, of):
            yield [value], f"an item {what}"
    elif kind == "map":
        key, of = shape["key"]["shape"], shape["value"]["shape"]
        for count in sorted({count for count in (least, most) if count}):
            yield {f"k{n}": sample(model, of) for n in range(count)}, f"{count} members"
        for value, what in edges(model, key):
            yield {value: sample(model, of)}, f"a key {what}"
        for value, what in edges(model, of):
            yield {"k": value}, f"a value {what}"
    elif kind == "structure":
        for member, ref in shape["members"].items():
            for value, what in edges(model, ref["shape"]):
                yield {**good, member: value}, f"{member} {what}"
