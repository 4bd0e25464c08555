"""SubscribeToShard: where it starts, and where it goes on."""

import time

from kit import FIRST, SECOND, check, data, equal, true
from subscription import Subscription


def three(k):
    """A stream of 0, 1 and 2 with a consumer: its name, the consumer, the sequence numbers."""
    name = k.stream()
    consumer = k.consumer(k.arn(name))
    return name, consumer, [
        k.put(name, str(number).encode())["SequenceNumber"] for number in range(3)]


def comes(subscription, text):
    found = data(subscription.records(len(text)))
    equal(b"".join(found + data(subscription.more())), text)


@check("TRIM_HORIZON streams from the oldest record")
def trim_horizon(k):
    _, consumer, _ = three(k)
    comes(Subscription(k, consumer), b"012")


@check("LATEST streams just what is put later")
def latest(k):
    name, consumer, _ = three(k)
    subscription = Subscription(k, consumer, "LATEST")
    time.sleep(0.5)
    k.put(name, b"n")
    comes(subscription, b"n")


@check("AT_SEQUENCE_NUMBER streams from the record of that number")
def at_number(k):
    _, consumer, numbers = three(k)
    comes(Subscription(k, consumer, "AT_SEQUENCE_NUMBER", SequenceNumber=numbers[1]), b"12")


@check("AFTER_SEQUENCE_NUMBER streams right after the record of that number")
def after_number(k):
    _, consumer, numbers = three(k)
    comes(Subscription(k, consumer, "AFTER_SEQUENCE_NUMBER", SequenceNumber=numbers[1]), b"2")


@check("AT_TIMESTAMP streams from the next record when none has this exact time")
def at_time(k):
    name = k.stream()
    consumer = k.consumer(k.arn(name))
    between = k.put_around(name, b"0", b"1")
    comes(Subscription(k, consumer, "AT_TIMESTAMP", Timestamp=between), b"1")


@check("AT_TIMESTAMP older than the trim horizon streams from the oldest record")
def at_old_time(k):
    _, consumer, _ = three(k)
    comes(Subscription(k, consumer, "AT_TIMESTAMP", Timestamp=1459799926.48), b"012")


@check("After AT_SEQUENCE_NUMBER the subscription goes on with new records")
def goes_on(k):
    name, consumer, numbers = three(k)
    subscription = Subscription(k, consumer, "AT_SEQUENCE_NUMBER", SequenceNumber=numbers[2])
    equal(data(subscription.records(1)), [b"2"])
    k.put(name, b"3")
    comes(subscription, b"3")


def resumed(k, kind):
    name, consumer, _ = three(k)
    subscription, found, event = Subscription(k, consumer), 0, None
    while found < 3:
        event = subscription.next()
        found += len(event["Records"])
    k.put(name, b"3")
    time.sleep(5.5)
    return Subscription(k, consumer, kind, SequenceNumber=event["ContinuationSequenceNumber"])


@check("ContinuationSequenceNumber with AFTER_SEQUENCE_NUMBER goes on after what was received")
def resume_after(k):
    comes(resumed(k, "AFTER_SEQUENCE_NUMBER"), b"3")


@check("ContinuationSequenceNumber with AT_SEQUENCE_NUMBER loses nothing")
def resume_at(k):
    found = b"".join(data(resumed(k, "AT_SEQUENCE_NUMBER").records(1)))
    true(found in (b"3", b"2", b"23"), f"{found!r} comes after 2 was received")


@check("ContinuationSequenceNumber captures progress even when no data is written")
def empty_progress(k):
    name = k.stream()
    consumer = k.consumer(k.arn(name))
    number = Subscription(k, consumer).next()["ContinuationSequenceNumber"]
    true(number.isdigit(), "it is no number")
    k.put(name, b"0")
    time.sleep(5.5)
    comes(Subscription(k, consumer, "AFTER_SEQUENCE_NUMBER", SequenceNumber=number), b"0")


@check("A subscription streams its own shard alone")
def own_shard(k):
    name = k.stream(2)
    consumer = k.consumer(k.arn(name))
    k.put(name, b"l", ExplicitHashKey="0")
    k.put(name, b"h", ExplicitHashKey=str(2 ** 127))
    comes(Subscription(k, consumer, shard=SECOND), b"h")


@check("A consumer may subscribe to several shards at once")
def several_shards(k):
    name = k.stream(2)
    consumer = k.consumer(k.arn(name))
    both = [Subscription(k, consumer, shard=shard) for shard in (FIRST, SECOND)]
    k.put(name, b"l", ExplicitHashKey="0")
    k.put(name, b"h", ExplicitHashKey=str(2 ** 127))
    equal([data(one.records(1)) for one in both], [[b"l"], [b"h"]])


@check("Several consumers of a shard each receive all its records")
def several_consumers(k):
    name = k.stream()
    arn = k.arn(name)
    both = [Subscription(k, k.consumer(arn, reader)) for reader in ("a", "b")]
    k.put(name, b"x")
    equal([data(one.records(1)) for one in both], [[b"x"], [b"x"]])
