"""Consumers with enhanced fan-out: RegisterStreamConsumer and its kin."""

import re
import time

from kit import (BAD, FIRST, IN_USE, LIMIT, MISSING_ARN, NOT_FOUND, an_arn, check, equal, refusals,
                 true)

refuses = refusals(__name__)
MISSING = MISSING_ARN + "/consumer/absent:1459799926"

refuses("RegisterStreamConsumer with no stream is ResourceNotFoundException",
        "RegisterStreamConsumer", NOT_FOUND, StreamARN=MISSING_ARN, ConsumerName="reader")
refuses("RegisterStreamConsumer requires StreamARN",
        "RegisterStreamConsumer", *BAD, ConsumerName="reader")
refuses("RegisterStreamConsumer requires ConsumerName",
        "RegisterStreamConsumer", *BAD, StreamARN=an_arn)
refuses("A consumer's name has at least one character",
        "RegisterStreamConsumer", *BAD, StreamARN=an_arn, ConsumerName="")
refuses("A consumer's name of more than 128 characters is refused",
        "RegisterStreamConsumer", *BAD, StreamARN=an_arn, ConsumerName="c" * 129)
refuses("Other characters in a consumer's name are refused",
        "RegisterStreamConsumer", *BAD, StreamARN=an_arn, ConsumerName="a reader")
refuses("DescribeStreamConsumer of no consumer is ResourceNotFoundException",
        "DescribeStreamConsumer", NOT_FOUND, StreamARN=an_arn, ConsumerName="absent")
refuses("DescribeStreamConsumer of the ARN of no consumer is ResourceNotFoundException",
        "DescribeStreamConsumer", NOT_FOUND, ConsumerARN=MISSING)
refuses("DescribeStreamConsumer needs the consumer's ARN, or its name and the stream's ARN",
        "DescribeStreamConsumer", *BAD, ConsumerName="reader")
refuses("A ConsumerARN has the form of one", "DescribeStreamConsumer", *BAD, ConsumerARN="reader")
refuses("DeregisterStreamConsumer of no consumer is ResourceNotFoundException",
        "DeregisterStreamConsumer", NOT_FOUND, StreamARN=an_arn, ConsumerName="absent")
refuses("DeregisterStreamConsumer needs a consumer", "DeregisterStreamConsumer", *BAD)
refuses("ListStreamConsumers of no stream is ResourceNotFoundException",
        "ListStreamConsumers", NOT_FOUND, StreamARN=MISSING_ARN)
refuses("ListStreamConsumers requires StreamARN", "ListStreamConsumers", *BAD)
refuses("MaxResults of ListStreamConsumers is at least 1",
        "ListStreamConsumers", *BAD, StreamARN=an_arn, MaxResults=0)
refuses("MaxResults of ListStreamConsumers is at most 10,000",
        "ListStreamConsumers", *BAD, StreamARN=an_arn, MaxResults=10001)
refuses("A NextToken that ListStreamConsumers did not give is refused",
        "ListStreamConsumers", *BAD, StreamARN=an_arn, NextToken="not-a-token")


def register(k, arn, name="reader"):
    return k.patiently("RegisterStreamConsumer", [LIMIT], StreamARN=arn,
                       ConsumerName=name)["Consumer"]


def described(k, **named):
    return k.ask("DescribeStreamConsumer", **named)["ConsumerDescription"]


@check("A consumer is CREATING when it is registered, and then ACTIVE")
def states(k):
    arn = an_arn(k)
    equal(register(k, arn)["ConsumerStatus"], "CREATING")
    equal(described(k, ConsumerARN=k.consumer(arn, "second"))["ConsumerStatus"], "ACTIVE")


@check("A consumer's ARN is its stream's, its name and the time it was made")
def form(k):
    arn = an_arn(k)
    true(re.fullmatch(rf"{re.escape(arn)}/consumer/reader:\d+", register(k, arn)["ConsumerARN"]),
         "it has another form")


@check("RegisterStreamConsumer answers with the name and about the time of now")
def answer(k):
    made = register(k, an_arn(k))
    equal(made["ConsumerName"], "reader")
    true(abs(made["ConsumerCreationTimestamp"].timestamp() - time.time()) < 20, "another time")


@check("DescribeStreamConsumer takes the consumer's ARN, and tells the stream's")
def by_arn(k):
    arn = an_arn(k)
    got = described(k, ConsumerARN=register(k, arn)["ConsumerARN"])
    equal((got["ConsumerName"], got["StreamARN"]), ("reader", arn))


@check("DescribeStreamConsumer takes the stream's ARN and the consumer's name")
def by_name(k):
    arn = an_arn(k)
    made = register(k, arn)
    equal(described(k, StreamARN=arn, ConsumerName="reader")["ConsumerARN"], made["ConsumerARN"])


@check("DescribeStreamConsumer takes all three when they do not conflict")
def by_all(k):
    arn = an_arn(k)
    made = register(k, arn)["ConsumerARN"]
    equal(described(k, StreamARN=arn, ConsumerName="reader", ConsumerARN=made)["ConsumerARN"],
          made)


@check("DescribeStreamConsumer refuses a name that conflicts with the ARN")
def conflict(k):
    arn = an_arn(k)
    made = register(k, arn)["ConsumerARN"]
    register(k, arn, "other")
    k.refused("DescribeStreamConsumer", *BAD, StreamARN=arn, ConsumerName="other", ConsumerARN=made)


@check("A name that a consumer of the stream has is ResourceInUseException")
def taken(k):
    arn = an_arn(k)
    register(k, arn)
    k.refused("RegisterStreamConsumer", IN_USE, StreamARN=arn, ConsumerName="reader")


@check("Consumers of different streams may have the same name")
def same_name(k):
    first, second = an_arn(k), an_arn(k)
    true(register(k, first)["ConsumerARN"] != register(k, second)["ConsumerARN"], "the same ARN")


@check("ListStreamConsumers has each consumer with name, ARN, status and creation")
def listed(k):
    arn = an_arn(k)
    made = k.consumer(arn)
    found = k.ask("ListStreamConsumers", StreamARN=arn)["Consumers"]
    equal([(one["ConsumerName"], one["ConsumerARN"], one["ConsumerStatus"]) for one in found],
          [("reader", made, "ACTIVE")])
    true(found[0]["ConsumerCreationTimestamp"], "there is no creation time")


@check("ListStreamConsumers of a stream without consumers is empty")
def none(k):
    got = k.ask("ListStreamConsumers", StreamARN=an_arn(k))
    equal((got["Consumers"], got.get("NextToken")), ([], None))


def page(k):
    arn = an_arn(k)
    for name in ("a", "b", "c"):
        register(k, arn, name)
    return arn, k.ask("ListStreamConsumers", StreamARN=arn, MaxResults=2)


@check("MaxResults below the number of consumers gives so many, and a NextToken")
def first_page(k):
    _, got = page(k)
    equal(len(got["Consumers"]), 2)
    true(got.get("NextToken"), "there is no NextToken")


@check("NextToken of ListStreamConsumers lists the next consumers")
def next_page(k):
    arn, got = page(k)
    rest = k.ask("ListStreamConsumers", StreamARN=arn, NextToken=got["NextToken"])
    names = sorted(one["ConsumerName"] for one in got["Consumers"] + rest["Consumers"])
    equal((names, rest.get("NextToken")), (["a", "b", "c"], None))


@check("StreamCreationTimestamp cannot be specified with NextToken of ListStreamConsumers")
def page_with_time(k):
    arn, got = page(k)
    k.refused("ListStreamConsumers", *BAD, StreamARN=arn, NextToken=got["NextToken"],
              StreamCreationTimestamp=1459799926.48)


@check("ConsumerCount of the stream counts its consumers")
def counted(k):
    name = k.stream()
    arn = k.arn(name)
    k.consumer(arn, "a")
    k.consumer(arn, "b")
    equal(k.summary(name).get("ConsumerCount"), 2)


def deregistered(k, arn, consumer):
    for _ in range(40):
        time.sleep(0.25)
        listed_now = k.ask("ListStreamConsumers", StreamARN=arn)["Consumers"]
        if consumer not in [one["ConsumerARN"] for one in listed_now]:
            return
    true(False, "the consumer does not go away")


@check("DeregisterStreamConsumer takes the consumer's ARN; then the consumer is not found")
def deregister(k):
    arn = an_arn(k)
    made = k.consumer(arn)
    equal(k.ask("DeregisterStreamConsumer", ConsumerARN=made), {})
    deregistered(k, arn, made)
    k.refused("DescribeStreamConsumer", NOT_FOUND, ConsumerARN=made)


@check("DeregisterStreamConsumer takes the stream's ARN and the consumer's name")
def deregister_by_name(k):
    arn = an_arn(k)
    made = k.consumer(arn)
    k.ask("DeregisterStreamConsumer", StreamARN=arn, ConsumerName="reader")
    deregistered(k, arn, made)


@check("A consumer registered again under its name has another ARN")
def another_arn(k):
    arn = an_arn(k)
    made = k.consumer(arn)
    k.ask("DeregisterStreamConsumer", ConsumerARN=made)
    deregistered(k, arn, made)
    time.sleep(1.1)
    true(register(k, arn)["ConsumerARN"] != made, "it is the same")


@check("RegisterStreamConsumer takes tags")
def tagged(k):
    made = k.consumer(an_arn(k), Tags={"team": "blue"})
    equal(k.ask("ListTagsForResource", ResourceARN=made)["Tags"],
          [{"Key": "team", "Value": "blue"}])


@check("A provisioned stream has at most 20 consumers")
def twenty_first(k):
    arn = an_arn(k)
    for number in range(20):
        k.consumer(arn, f"reader-{number}")
    k.refused("RegisterStreamConsumer", LIMIT, StreamARN=arn, ConsumerName="one-too-many")


@check("A consumer that is CREATING cannot read: SubscribeToShard is ResourceInUseException",
       alone=True)
def creating(k):
    arn = an_arn(k)
    made = k.at_once("RegisterStreamConsumer", StreamARN=arn, ConsumerName="reader")["Consumer"]
    k.refused("SubscribeToShard", IN_USE, ConsumerARN=made["ConsumerARN"], ShardId=FIRST,
              StartingPosition={"Type": "LATEST"})
