"""Requests to an endpoint without a client's own checks: JSON 1.1, and the CBOR dialect of AWS."""

import base64
import http.client
import json
import struct
from urllib.parse import urlparse


class Time(float):
    """A time in Unix seconds."""


def to_json(value):
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Time):
        return float(value)
    if isinstance(value, dict):
        return {name: to_json(each) for name, each in value.items()}
    if isinstance(value, list):
        return [to_json(each) for each in value]
    return value


def head(major, number):
    for limit, code, form in ((24, None, None), (1 << 8, 24, ">B"), (1 << 16, 25, ">H"),
                              (1 << 32, 26, ">I"), (1 << 64, 27, ">Q")):
        if number < limit:
            if code is None:
                return bytes([major << 5 | number])
            return bytes([major << 5 | code]) + struct.pack(form, number)
    raise ValueError(number)


def to_cbor(value):
    if value is None:
        return b"\xf6"
    if isinstance(value, bool):
        return b"\xf5" if value else b"\xf4"
    if isinstance(value, Time):
        return b"\xc1" + head(0, round(value * 1000))
    if isinstance(value, int):
        return head(0, value) if value >= 0 else head(1, -1 - value)
    if isinstance(value, float):
        return b"\xfb" + struct.pack(">d", value)
    if isinstance(value, bytes):
        return head(2, len(value)) + value
    if isinstance(value, str):
        text = value.encode()
        return head(3, len(text)) + text
    if isinstance(value, list):
        return head(4, len(value)) + b"".join(map(to_cbor, value))
    members = (to_cbor(name) + to_cbor(each) for name, each in value.items())
    return head(5, len(value)) + b"".join(members)


def from_cbor(data):
    value, at = item(data, 0)
    if at != len(data):
        raise ValueError(f"{len(data) - at} bytes after the end")
    return value


BREAK = object()


def item(data, at):
    major, info = data[at] >> 5, data[at] & 31
    at += 1
    if major == 7:
        if info == 27:
            return struct.unpack_from(">d", data, at)[0], at + 8
        if info == 26:
            return struct.unpack_from(">f", data, at)[0], at + 4
        if info == 25:
            return struct.unpack_from(">e", data, at)[0], at + 2
        return {20: False, 21: True, 22: None, 23: None, 31: BREAK}[info], at
    number = info
    if 24 <= info <= 27:
        size = 1 << (info - 24)
        number = int.from_bytes(data[at:at + size], "big")
        at += size
    elif info == 31:
        number = None
    if major == 0:
        return number, at
    if major == 1:
        return -1 - number, at
    if major == 6:
        value, at = item(data, at)
        return (Time(value / 1000) if number == 1 else value), at
    if major in (2, 3) and number is not None:
        raw = data[at:at + number]
        return (bytes(raw) if major == 2 else raw.decode()), at + number
    values = []
    while number is None or len(values) < number * (2 if major == 5 else 1):
        value, at = item(data, at)
        if value is BREAK:
            break
        values.append(value)
    if major in (2, 3):
        return (b"" if major == 2 else "").join(values), at
    return (dict(zip(values[::2], values[1::2])) if major == 5 else values), at


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def error(self):
        return None if self.status == 200 else self.body.get("__type")

    @property
    def message(self):
        return self.body.get("message", "") if isinstance(self.body, dict) else ""


class Wire:
    """One connection to an endpoint, in one encoding."""

    def __init__(self, url, encoding):
        where = urlparse(url)
        self.encoding = encoding
        self.connection = http.client.HTTPConnection(where.hostname, where.port, timeout=20)

    def encode(self, request):
        if self.encoding == "cbor":
            return to_cbor(request)
        return json.dumps(to_json(request)).encode()

    def call(self, operation, request):
        return self.send(operation, self.encode(request))

    def send(self, operation, body):
        is_cbor = self.encoding == "cbor"
        content_type = f"application/x-amz-{self.encoding}-1.1"
        target = f"Kinesis_20131202.{operation}"
        self.connection.request("POST", "/", body, {
            "Content-Type": content_type, "X-Amz-Target": target, "Host": "kinesis.example"})
        response = self.connection.getresponse()
        headers = {name.lower(): value for name, value in response.getheaders()}
        if headers.get("content-type") == "application/vnd.amazon.eventstream":
            # It goes on for minutes: enough to know that it has begun.
            first = response.read(12)
            self.connection.close()
            return Answer(response.status, headers, first)
        body = response.read()
        if body:
            body = from_cbor(body) if is_cbor else json.loads(body)
        return Answer(response.status, headers, body or {})
