"""CBOR as the API speaks it: read whole, and written with maps of either length."""

import struct


class Tagged:
    def __init__(self, tag, value):
        self.tag, self.value = tag, value

    def __repr__(self):
        return f"{self.tag}({self.value!r})"


def milliseconds(time):
    return Tagged(1, int(time * 1000))


def head(kind, number):
    for size, mark, form in ((24, None, None), (2 ** 8, 24, ">B"), (2 ** 16, 25, ">H"),
                             (2 ** 32, 26, ">I"), (2 ** 64, 27, ">Q")):
        if number < size:
            return (bytes([kind << 5 | number]) if mark is None
                    else bytes([kind << 5 | mark]) + struct.pack(form, number))
    raise ValueError(number)


def write(value, endless=False):
    """`endless`: maps and lists of indefinite length, as the Java SDK writes them."""
    if value is None or isinstance(value, bool):
        return {None: b"\xf6", True: b"\xf5", False: b"\xf4"}[value]
    if isinstance(value, int):
        return head(0, value) if value >= 0 else head(1, -1 - value)
    if isinstance(value, bytes):
        return head(2, len(value)) + value
    if isinstance(value, str):
        return head(3, len(value.encode())) + value.encode()
    if isinstance(value, Tagged):
        return head(6, value.tag) + write(value.value, endless)
    kind, parts = (5, [part for pair in value.items() for part in pair]) \
        if isinstance(value, dict) else (4, value)
    inside = b"".join(write(part, endless) for part in parts)
    return bytes([kind << 5 | 31]) + inside + b"\xff" if endless else head(kind, len(value)) + inside


BREAK = object()


class Reader:
    def __init__(self, text):
        self.text, self.at = text, 0

    def take(self, count):
        self.at += count
        if self.at > len(self.text):
            raise ValueError("the CBOR ends too early")
        return self.text[self.at - count:self.at]

    def read(self):
        first = self.take(1)[0]
        kind, low = first >> 5, first & 31
        if kind == 7:
            return self.simple(low)
        size = {24: 1, 25: 2, 26: 4, 27: 8}.get(low)
        number = None if low == 31 else int.from_bytes(self.take(size), "big") if size else low
        return self.value(kind, number)

    def value(self, kind, number):
        if kind == 0:
            return number
        if kind == 1:
            return -1 - number
        if kind in (2, 3):
            found = b"".join(self.several(None)) if number is None else self.take(number)
            return found if kind == 2 else found if isinstance(found, str) else found.decode()
        if kind == 4:
            return list(self.several(number))
        if kind == 5:
            parts = list(self.several(number if number is None else 2 * number))
            return dict(zip(parts[::2], parts[1::2]))
        return Tagged(number, self.read())

    def several(self, count):
        while count is None or count > 0:
            value = self.read()
            if value is BREAK:
                return
            yield value
            count = count if count is None else count - 1

    def simple(self, low):
        if low in (25, 26, 27):
            form, size = {25: (">e", 2), 26: (">f", 4), 27: (">d", 8)}[low]
            return struct.unpack(form, self.take(size))[0]
        return {20: False, 21: True, 22: None, 23: None, 31: BREAK}[low]


def read(text):
    reader = Reader(text)
    value = reader.read()
    if reader.at != len(text):
        raise ValueError("there is more after the CBOR")
    return value
