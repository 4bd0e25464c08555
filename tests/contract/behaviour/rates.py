"""Requests a second that an account may make: more are LimitExceededException."""

import time

from kit import LIMIT, check, equal, true


def passed(codes):
    equal({code for code in codes if code}, {LIMIT}, "refusals")


def rate(documented, operation, count, own_stream=None):
    """Sends so many at once; `own_stream` gives parameters that name a stream."""
    @check(documented, alone=True)
    def run(k):
        params = own_stream(k) if own_stream else {}
        time.sleep(1.2)
        passed(k.burst(operation, [params] * count))


def by_name(k):
    return {"StreamName": k.stream()}


def by_arn(k):
    return {"StreamARN": k.arn(k.stream())}


def consumer(k):
    return {"ConsumerARN": k.consumer(k.arn(k.stream()))}


rate("ListStreams has five requests a second", "ListStreams", 10)
rate("DescribeLimits has one request a second", "DescribeLimits", 4)
rate("DescribeAccountSettings has five requests a second", "DescribeAccountSettings", 10)
rate("DescribeStream has ten requests a second", "DescribeStream", 20, by_name)
rate("DescribeStreamSummary has 20 requests a second", "DescribeStreamSummary", 40, by_name)
rate("ListTagsForStream has five requests a second", "ListTagsForStream", 10, by_name)
rate("ListStreamConsumers has five requests a second of a stream", "ListStreamConsumers", 10,
     by_arn)
rate("DescribeStreamConsumer has 20 requests a second of a stream", "DescribeStreamConsumer", 40,
     consumer)
rate("AddTagsToStream has five requests a second", "AddTagsToStream", 10,
     lambda k: {**by_name(k), "Tags": {"a": "1"}})


@check("CreateStream has five requests a second, and five streams may be CREATING", alone=True)
def creating(k):
    time.sleep(1.2)
    passed(k.burst("CreateStream", [
        {"StreamName": k.name(), "ShardCount": 1} for _ in range(10)]))


@check("RegisterStreamConsumer has five requests a second, and five may be CREATING", alone=True)
def registering(k):
    arn = k.arn(k.stream())
    time.sleep(1.2)
    passed(k.burst("RegisterStreamConsumer", [
        {"StreamARN": arn, "ConsumerName": f"reader-{number}"} for number in range(10)]))


@check("After a second an operation is answered again", alone=True)
def answered_again(k):
    k.burst("DescribeStream", [by_name(k)] * 20)
    time.sleep(1.6)
    true("HasMoreStreams" in k.at_once("ListStreams"), "it has no streams")


@check("Requests within the rate are all answered", alone=True)
def within(k):
    params = by_name(k)
    time.sleep(1.2)
    equal(k.burst("DescribeStreamSummary", [params] * 15), [None] * 15)
