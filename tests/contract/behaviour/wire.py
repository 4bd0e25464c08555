"""Requests and answers of the type application/x-amz-json-1.1, and HTTP around them."""

import base64
import json
import time

from kit import BAD, FIRST, NOT_FOUND, check, equal, true

TYPE = "application/x-amz-json-1.1"
MALFORMED = "SerializationException"
ABSENT = {"StreamName": "behaviour-that-is-not-there"}


def call(k, operation, params, **more):
    status, headers, body = k.post(operation, json.dumps(params).encode(), **more)
    return status, headers, json.loads(body) if body else None


def error_type(body):
    return body["__type"].split("#")[-1]


def refused(k, operation, body, *types):
    status, _, came = k.post(operation, body)
    equal(status, 400, "status")
    found = error_type(json.loads(came))
    true(found in types, f"it is {found}, not {' or '.join(types)}")


@check("An answer has status 200 and the content type of its request")
def content_type(k):
    status, headers, _ = call(k, "ListShards", {"StreamName": k.stream()})
    equal((status, headers["Content-Type"]), (200, TYPE))


@check("An answer has the header x-amzn-RequestId")
def request_id(k):
    _, headers, _ = call(k, "ListShards", {"StreamName": k.stream()})
    true(headers["x-amzn-RequestId"], "it is not there")


@check("Each request has another x-amzn-RequestId")
def other_request_id(k):
    name = k.stream()
    ids = {call(k, "ListShards", {"StreamName": name})[1]["x-amzn-RequestId"] for _ in range(5)}
    equal(len(ids), 5)


@check("An answer has the header x-amz-id-2")
def second_id(k):
    _, headers, _ = call(k, "ListShards", {"StreamName": k.stream()})
    true(headers["x-amz-id-2"], "it is not there")


@check("An answer has the header Date")
def date(k):
    _, headers, _ = call(k, "ListShards", {"StreamName": k.stream()})
    true(headers["Date"], "it is not there")


@check("An error has x-amzn-RequestId and x-amz-id-2")
def ids_of_error(k):
    _, headers, _ = call(k, "ListShards", ABSENT)
    true(headers["x-amzn-RequestId"] and headers["x-amz-id-2"], "one is not there")


@check("An operation without output answers with an empty body")
def empty_body(k):
    status, headers, body = call(k, "AddTagsToStream", {"StreamName": k.stream(),
                                                        "Tags": {"a": "1"}})
    equal((status, body, headers["Content-Length"]), (200, None, "0"))


@check("An error is status 400 with __type and message")
def error(k):
    status, _, body = call(k, "ListShards", ABSENT)
    equal((status, error_type(body)), (400, NOT_FOUND))
    true(body.get("message"), "there is no message")


@check("An error in JSON has the content type of its request")
def error_content_type(k):
    _, headers, _ = call(k, "ListShards", ABSENT)
    equal(headers["Content-Type"], TYPE)


@check("The message of ResourceNotFoundException names the stream")
def message(k):
    _, _, body = call(k, "ListShards", ABSENT)
    true(ABSENT["StreamName"] in body["message"], f"it is {body['message']!r}")


@check("ValidationException or InvalidArgumentException have status 400")
def bad_status(k):
    status, _, body = call(k, "ListShards", {})
    true(status == 400 and error_type(body) in BAD, f"it is {status} {body}")


@check("An unknown operation is UnknownOperationException")
def unknown_operation(k):
    status, _, body = call(k, "ListWaterfalls", {})
    equal((status // 100, error_type(body)), (4, "UnknownOperationException"))


@check("A request without X-Amz-Target is refused")
def no_target(k):
    equal(k.post(None, b"{}")[0] // 100, 4)


@check("The target of another service is refused")
def other_service(k):
    status, _, _ = k.post(None, b"{}", headers={"X-Amz-Target": "DynamoDB_20120810.ListTables"})
    equal(status // 100, 4)


@check("An unknown content type is refused")
def unknown_type(k):
    equal(k.post("ListStreams", b"{}", content_type="text/html")[0] // 100, 4)


@check("A request of another method than POST is refused")
def other_method(k):
    equal(k.post("ListShards", b"", method="GET")[0] // 100, 4)


@check("A request that is not signed is refused")
def unsigned(k):
    status, _, _ = call(k, "ListShards", {"StreamName": k.stream()}, signed=False)
    equal(status // 100, 4)


@check("A body that is not JSON is SerializationException")
def malformed(k):
    refused(k, "ListShards", b'{"StreamName": ', MALFORMED)


@check("A body that is no object is SerializationException")
def no_object(k):
    refused(k, "ListShards", b'["StreamName"]', MALFORMED)


@check("A number where a string belongs is SerializationException")
def number_for_string(k):
    refused(k, "ListShards", b'{"StreamName": 7}', MALFORMED)


@check("A string where a number belongs is SerializationException")
def string_for_number(k):
    refused(k, "ListShards", b'{"StreamName": "a", "MaxResults": "many"}', MALFORMED)


@check("A string where a list belongs is SerializationException")
def string_for_list(k):
    refused(k, "PutRecords", b'{"StreamName": "a", "Records": "many"}', MALFORMED)


@check("Data that is not base64 is refused")
def not_base64(k):
    body = json.dumps({"StreamName": k.stream(), "Data": "%%%", "PartitionKey": "k"}).encode()
    refused(k, "PutRecord", body, MALFORMED, *BAD)


@check("Members that the operation does not know are ignored")
def unknown_members(k):
    status, _, _ = call(k, "ListShards", {"StreamName": k.stream(), "Colour": "blue"})
    equal(status, 200)


@check("A member that is null is as one that is not there")
def null_member(k):
    status, _, _ = call(k, "ListShards", {"StreamName": k.stream(), "MaxResults": None})
    equal(status, 200)


def put_and_get(k, text):
    name = k.stream()
    encoded = base64.b64encode(text).decode()
    call(k, "PutRecord", {"StreamName": name, "Data": encoded, "PartitionKey": "k"})
    return call(k, "GetRecords", {"ShardIterator": k.iterator(name)})[2]["Records"][0]


@check("Data is base64 in JSON")
def base64_data(k):
    equal(put_and_get(k, bytes(range(256)))["Data"], base64.b64encode(bytes(range(256))).decode())


@check("A time in JSON is a number of seconds")
def seconds(k):
    arrived = put_and_get(k, b"x")["ApproximateArrivalTimestamp"]
    true(isinstance(arrived, (int, float)) and abs(arrived - time.time()) < 60,
         f"{arrived!r} are not seconds of now")


@check("A time in a request may have a fraction or none")
def times_sent(k):
    name = k.stream()
    for timestamp in (1459799926, 1459799926.48):
        status, _, body = call(k, "GetShardIterator", {
            "StreamName": name, "ShardId": FIRST, "ShardIteratorType": "AT_TIMESTAMP",
            "Timestamp": timestamp})
        equal(status, 200, f"{timestamp} with {body}")


@check("A member that is not there is left out of the answer, not null")
def left_out(k):
    _, _, body = call(k, "ListShards", {"StreamName": k.stream()})
    shard = body["Shards"][0]
    true("ParentShardId" not in shard or shard["ParentShardId"], "ParentShardId is null")


@check("Several requests are answered over one connection")
def keep_alive(k):
    name, connection = k.stream(), k.server.connect()
    connection.connect()
    socket = connection.sock
    for _ in range(3):
        equal(call(k, "ListShards", {"StreamName": name}, connection=connection)[0], 200)
        true(connection.sock is socket, "the connection was closed")


@check("A connection goes on after an error")
def keep_alive_after_error(k):
    name, connection = k.stream(), k.server.connect()
    connection.connect()
    socket = connection.sock
    equal(call(k, "ListShards", ABSENT, connection=connection)[0], 400)
    equal(call(k, "ListShards", {"StreamName": name}, connection=connection)[0], 200)
    true(connection.sock is socket, "the connection was closed")


@check("A request is answered for a host name with the account's id, as SDKs make it")
def host(k):
    status, _, _ = call(k, "ListShards", {"StreamName": k.stream()}, headers={
        "Host": "000000000000.control-kinesis.us-east-1.amazonaws.com"})
    equal(status, 200)


@check("A body in chunks is taken, as HTTP/1.1 has it")
def chunked(k):
    name = k.stream()
    body = json.dumps({"StreamName": name}).encode()
    connection = k.server.connect()
    connection.request("POST", "/", iter([body[:9], body[9:]]), k.headers("ListShards", body),
                       encode_chunked=True)
    equal(connection.getresponse().status, 200)
