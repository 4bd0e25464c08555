"""SubscribeToShard: its events, their frames, what ends them, and its refusals."""

import json
import time

from botocore.eventstream import EventStreamBuffer

from endpoint import Refused
from kit import (BAD, DRY_RUN, FIRST, IN_USE, MISSING_ARN, NOT_FOUND, SECOND, check, data, equal,
                 hash_range, refusals, true)
from subscription import END, Subscription

refuses = refusals(__name__)
THIRD = "shardId-000000000002"


def a_consumer(k):
    return k.consumer(k.arn(k.stream()))


def wanted(**changed):
    given = {"ConsumerARN": a_consumer, "ShardId": FIRST, "StartingPosition": {"Type": "LATEST"},
             **changed}
    return {name: value for name, value in given.items() if value is not None}


refuses("SubscribeToShard of no consumer is ResourceNotFoundException", "SubscribeToShard",
        NOT_FOUND, **wanted(ConsumerARN=MISSING_ARN + "/consumer/absent:1459799926"))
refuses("SubscribeToShard to no shard is ResourceNotFoundException", "SubscribeToShard",
        NOT_FOUND, **wanted(ShardId="shardId-000000000009"))
refuses("SubscribeToShard requires ConsumerARN", "SubscribeToShard",
        *BAD, **wanted(ConsumerARN=None))
refuses("SubscribeToShard requires ShardId", "SubscribeToShard", *BAD, **wanted(ShardId=None))
refuses("SubscribeToShard requires StartingPosition", "SubscribeToShard",
        *BAD, **wanted(StartingPosition=None))
refuses("A StartingPosition requires its Type", "SubscribeToShard",
        *BAD, **wanted(StartingPosition={"SequenceNumber": "1"}))
refuses("The Type of a StartingPosition is one of five", "SubscribeToShard",
        *BAD, **wanted(StartingPosition={"Type": "FROM_HERE"}))
refuses("AT_SEQUENCE_NUMBER needs SequenceNumber", "SubscribeToShard",
        *BAD, **wanted(StartingPosition={"Type": "AT_SEQUENCE_NUMBER"}))
refuses("AT_TIMESTAMP needs Timestamp", "SubscribeToShard",
        *BAD, **wanted(StartingPosition={"Type": "AT_TIMESTAMP"}))


def frames(k, consumer, count):
    """The first frames of a subscription, as they are on the wire; and the answer's headers."""
    connection = k.server.connect()
    body = json.dumps(wanted(ConsumerARN=consumer, StartingPosition={"Type": "TRIM_HORIZON"}))
    connection.request("POST", "/", body, k.headers("SubscribeToShard", body))
    answer = connection.getresponse()
    buffer, found = EventStreamBuffer(), []
    while len(found) < count:
        buffer.add_data(answer.read1(65536))
        found += list(buffer)
    connection.close()
    k.came = repr([(frame.headers, frame.payload) for frame in found])[:300]
    return answer, found


@check("The answer is an event stream: application/vnd.amazon.eventstream")
def content_type(k):
    answer, _ = frames(k, a_consumer(k), 1)
    equal((answer.status, answer.headers["Content-Type"]),
          (200, "application/vnd.amazon.eventstream"))


@check("The first frame is the event initial-response")
def initial_response(k):
    _, found = frames(k, a_consumer(k), 1)
    equal((found[0].headers.get(":message-type"), found[0].headers.get(":event-type")),
          ("event", "initial-response"))


@check("Events have the type SubscribeToShardEvent and say what their content is")
def event_frame(k):
    name = k.stream()
    consumer = k.consumer(k.arn(name))
    k.put(name, b"text")
    _, found = frames(k, consumer, 2)
    headers = found[1].headers
    equal((headers.get(":message-type"), headers.get(":event-type")),
          ("event", "SubscribeToShardEvent"))
    true("json" in headers.get(":content-type", ""), "the content type is not JSON")
    true("Records" in json.loads(found[1].payload), "there are no Records")


@check("An event comes while there are no records, within a few seconds")
def idle(k):
    event = Subscription(k, a_consumer(k)).next(8)
    equal((event["Records"], event["MillisBehindLatest"]), ([], 0))


@check("Every event has a ContinuationSequenceNumber while the shard is open")
def continuation(k):
    name = k.stream()
    subscription = Subscription(k, k.consumer(k.arn(name)))
    k.put(name)
    for _ in range(2):
        number = subscription.next(8).get("ContinuationSequenceNumber") or ""
        true(number.isdigit(), f"it is {number!r}")


@check("A record has its data, key, sequence number and time of arrival")
def fields(k):
    name = k.stream()
    subscription = Subscription(k, k.consumer(k.arn(name)))
    number = k.put(name, b"text", "key")["SequenceNumber"]
    record = subscription.records(1)[0]
    equal((record["Data"], record["PartitionKey"], record["SequenceNumber"]),
          (b"text", "key", number))
    true(abs(record["ApproximateArrivalTimestamp"].timestamp() - time.time()) < 20, "another time")


@check("Records are pushed: they come without another request")
def pushed(k):
    name = k.stream()
    subscription = Subscription(k, k.consumer(k.arn(name)), "LATEST")
    time.sleep(0.5)
    for number in range(4):
        k.put(name, str(number).encode())
        time.sleep(0.3)
    equal(data(subscription.records(4)), [b"0", b"1", b"2", b"3"])


@check("MillisBehindLatest is 0 when the records are read")
def at_tip(k):
    name = k.stream()
    k.put(name)
    subscription = Subscription(k, k.consumer(k.arn(name)))
    while not subscription.next()["Records"]:
        pass
    equal(subscription.next(8)["MillisBehindLatest"], 0)


@check("A second call within 5 seconds of a successful one is ResourceInUseException")
def second_call(k):
    consumer = a_consumer(k)
    Subscription(k, consumer)
    time.sleep(1.5)
    k.refused("SubscribeToShard", IN_USE, **wanted(ConsumerARN=consumer))


@check("A call 5 seconds after a successful one succeeds")
def later_call(k):
    name = k.stream()
    consumer = k.consumer(k.arn(name))
    Subscription(k, consumer)
    time.sleep(5.8)
    k.put(name, b"x")
    equal(data(Subscription(k, consumer).records(1)), [b"x"])


@check("The call that takes over ends the earlier subscription, or it fails with ResourceInUse")
def taken_over(k):
    consumer = a_consumer(k)
    first = Subscription(k, consumer)
    time.sleep(5.8)
    Subscription(k, consumer)
    first.rest()
    true(first.failure in (None, IN_USE), f"it fails with {first.failure}")


@check("A refused second call leaves the subscription as it is")
def first_stays(k):
    name = k.stream()
    consumer = k.consumer(k.arn(name))
    first = Subscription(k, consumer)
    time.sleep(1.2)
    try:
        k.ask("SubscribeToShard", **wanted(ConsumerARN=consumer))
    except Refused:
        k.put(name, b"x")
        equal(data(first.records(1)), [b"x"])
        return
    true(False, "the second call was not refused")


def at_end(k):
    """All events of a shard that was split."""
    name = k.stream()
    consumer = k.consumer(k.arn(name))
    k.put(name, b"x")
    k.split(name)
    return name, Subscription(k, consumer).rest()


@check("At the end of the shard ChildShards has its children, with parent and hash keys")
def children(k):
    name, events = at_end(k)
    found = sorted(events[-1].get("ChildShards") or [], key=lambda child: child["ShardId"])
    equal([(child["ShardId"], child["ParentShards"]) for child in found],
          [(SECOND, [FIRST]), (THIRD, [FIRST])])
    equal([hash_range(child) for child in found], [hash_range(one) for one in k.shards(name)[1:]])


@check("At the end of the shard there is no ContinuationSequenceNumber")
def no_continuation(k):
    _, events = at_end(k)
    equal(events[-1].get("ContinuationSequenceNumber"), None)


@check("All records of a closed shard come before its end, and then the subscription ends")
def all_before_end(k):
    _, events = at_end(k)
    equal([record["Data"] for event in events for record in event["Records"]], [b"x"])


@check("A shard that is split while it is subscribed to comes to its end")
def split_meanwhile(k):
    name = k.stream()
    subscription = Subscription(k, k.consumer(k.arn(name)))
    k.split(name)
    equal(len(subscription.rest()[-1].get("ChildShards") or []), 2)


@check("A subscription to a shard that was merged ends with the one child of both")
def merge_meanwhile(k):
    name = k.stream(2)
    subscription = Subscription(k, k.consumer(k.arn(name)))
    k.merge(name)
    last = subscription.rest()[-1].get("ChildShards") or []
    equal([(child["ShardId"], sorted(child["ParentShards"])) for child in last],
          [(THIRD, [FIRST, SECOND])])


@check("Fan-out does not count for the five reads a second of GetRecords")
def own_throughput(k):
    name = k.stream()
    subscription = Subscription(k, k.consumer(k.arn(name)))
    iterator = k.iterator(name)
    for _ in range(5):
        k.at_once("GetRecords", ShardIterator=iterator)
    true(subscription.next() is not END, "the subscription has ended")


@check("DryRun of SubscribeToShard that would succeed is DryRunOperationException")
def dry_run(k):
    k.refused("SubscribeToShard", DRY_RUN, DryRun=True, **wanted(ConsumerARN=a_consumer(k)))
