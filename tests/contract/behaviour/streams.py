"""CreateStream, DescribeStream, DescribeStreamSummary, DeleteStream."""

import re
import time

from kit import (BAD, FIRST, IN_USE, LIMIT, MISSING_ARN, NOT_FOUND, a_stream, check, equal, ids,
                 refusals, true)

refuses = refusals(__name__)


@check("CreateStream returns at once and sets the status to CREATING", alone=True)
def creating(k):
    name = k.name()
    equal(k.at_once("CreateStream", StreamName=name, ShardCount=1), {})
    equal(k.status(name), "CREATING")


@check("After the stream is created its status is ACTIVE")
def active(k):
    equal(k.summary(k.stream())["StreamStatus"], "ACTIVE")


@check("A stream name may have 128 characters")
def long_name(k):
    name = k.name().ljust(128, "x")
    equal(k.summary(k.stream(name=name))["StreamName"], name)


@check("A stream name may have letters, digits, underscores, dots and hyphens")
def odd_name(k):
    name = k.name() + "_A.b-9"
    equal(k.summary(k.stream(name=name))["StreamName"], name)


refuses("A stream name of more than 128 characters is refused",
        "CreateStream", *BAD, StreamName="n" * 129, ShardCount=1)
refuses("An empty stream name is refused", "CreateStream", *BAD, StreamName="", ShardCount=1)
refuses("Other characters in a stream name are refused",
        "CreateStream", *BAD, StreamName="not/a name", ShardCount=1)
refuses("CreateStream requires StreamName", "CreateStream", *BAD, ShardCount=1)
refuses("ShardCount is at least 1",
        "CreateStream", *BAD, StreamName=lambda k: k.name(), ShardCount=0)
refuses("A negative ShardCount is refused",
        "CreateStream", *BAD, StreamName=lambda k: k.name(), ShardCount=-1)
refuses("For provisioned mode the number of shards must be specified",
        "CreateStream", *BAD, StreamName=lambda k: k.name(),
        StreamModeDetails={"StreamMode": "PROVISIONED"})
refuses("StreamMode is PROVISIONED or ON_DEMAND",
        "CreateStream", *BAD, StreamName=lambda k: k.name(), ShardCount=1,
        StreamModeDetails={"StreamMode": "SOMETIMES"})
refuses("A name that a stream has is ResourceInUseException",
        "CreateStream", IN_USE, StreamName=a_stream, ShardCount=1)
refuses("DescribeStream of no stream is ResourceNotFoundException",
        "DescribeStream", NOT_FOUND, StreamName="behaviour-that-is-not-there")
refuses("DescribeStreamSummary of no stream is ResourceNotFoundException",
        "DescribeStreamSummary", NOT_FOUND, StreamName="behaviour-that-is-not-there")
refuses("DescribeStreamSummary of the ARN of no stream is ResourceNotFoundException",
        "DescribeStreamSummary", NOT_FOUND, StreamARN=MISSING_ARN)
refuses("DescribeStreamSummary must have StreamName or StreamARN", "DescribeStreamSummary", *BAD)
refuses("DescribeStream must have StreamName or StreamARN", "DescribeStream", *BAD)
refuses("A StreamARN has the form of one",
        "DescribeStreamSummary", *BAD, StreamARN="arn:aws:s3:::a-bucket")
refuses("The Limit of DescribeStream is at least 1",
        "DescribeStream", *BAD, StreamName=a_stream, Limit=0)
refuses("The Limit of DescribeStream is at most 10,000",
        "DescribeStream", *BAD, StreamName=a_stream, Limit=10001)
refuses("DeleteStream of no stream is ResourceNotFoundException",
        "DeleteStream", NOT_FOUND, StreamName="behaviour-that-is-not-there")
refuses("DeleteStream must have StreamName or StreamARN", "DeleteStream", *BAD)


@check("More shards than the account may have are LimitExceededException", alone=True)
def too_many_shards(k):
    limits = k.ask("DescribeLimits")
    more = limits["ShardLimit"] - limits["OpenShardCount"] + 1
    k.refused("CreateStream", LIMIT, StreamName=k.name(), ShardCount=more)


@check("The ARN names partition, service, region, account of 12 digits and stream")
def arn(k):
    name = k.stream()
    form = rf"arn:aws[a-z-]*:kinesis:[a-z0-9-]+:\d{{12}}:stream/{re.escape(name)}"
    true(re.fullmatch(form, k.arn(name)), "the ARN has another form")


@check("DescribeStreamSummary takes StreamARN")
def summary_by_arn(k):
    name = k.stream()
    got = k.ask("DescribeStreamSummary", StreamARN=k.arn(name))["StreamDescriptionSummary"]
    equal(got["StreamName"], name)


@check("DescribeStream takes StreamName and StreamARN together")
def describe_by_both(k):
    name = k.stream()
    got = k.ask("DescribeStream", StreamName=name, StreamARN=k.arn(name))["StreamDescription"]
    equal(got["StreamName"], name)


@check("A stream is provisioned unless CreateStream says otherwise")
def provisioned(k):
    equal(k.summary(k.stream()).get("StreamModeDetails"), {"StreamMode": "PROVISIONED"})


@check("OpenShardCount is the number of open shards")
def open_shards(k):
    equal(k.summary(k.stream(3))["OpenShardCount"], 3)


@check("A new stream keeps records for 24 hours")
def retention(k):
    equal(k.summary(k.stream())["RetentionPeriodHours"], 24)


@check("A new stream has no shard-level metrics")
def no_metrics(k):
    found = k.summary(k.stream())["EnhancedMonitoring"]
    equal([metric for one in found for metric in one["ShardLevelMetrics"]], [])


@check("EncryptionType of a stream that is not encrypted is NONE")
def not_encrypted(k):
    equal(k.summary(k.stream()).get("EncryptionType"), "NONE")


@check("ConsumerCount of a stream without consumers is 0")
def no_consumers(k):
    equal(k.summary(k.stream()).get("ConsumerCount"), 0)


@check("StreamCreationTimestamp is about the time of CreateStream")
def created_now(k):
    before = time.time()
    created = k.summary(k.stream())["StreamCreationTimestamp"].timestamp()
    true(before - 5 <= created <= time.time() + 5, "it is another time")


@check("DescribeStream has the shards, name, status and retention of the stream")
def describe(k):
    name = k.stream(2)
    got = k.ask("DescribeStream", StreamName=name)["StreamDescription"]
    equal((got["StreamName"], got["StreamStatus"], got["RetentionPeriodHours"]),
          (name, "ACTIVE", 24))
    equal((len(got["Shards"]), got["HasMoreShards"]), (2, False))


@check("The Limit of DescribeStream cuts its shards, and HasMoreShards is true")
def describe_limit(k):
    got = k.ask("DescribeStream", StreamName=k.stream(3), Limit=2)["StreamDescription"]
    equal((len(got["Shards"]), got["HasMoreShards"]), (2, True))


@check("DescribeStream starts with the shard after ExclusiveStartShardId")
def describe_start(k):
    got = k.ask("DescribeStream", StreamName=k.stream(3), ExclusiveStartShardId=FIRST)
    equal(ids(got["StreamDescription"]["Shards"]),
          ["shardId-000000000001", "shardId-000000000002"])


@check("DescribeStream returns at most 100 shards, whatever Limit is above that")
def describe_most(k):
    name = k.stream(101)
    found = []
    for more in ({}, {"Limit": 1000}):
        got = k.ask("DescribeStream", StreamName=name, **more)["StreamDescription"]
        found.append((len(got["Shards"]), got["HasMoreShards"]))
    k.ask("DeleteStream", StreamName=name)
    equal(found, [(100, True), (100, True)])


@check("After DeleteStream the stream is DELETING until it is gone", alone=True)
def deleting(k):
    name = k.stream()
    equal(k.at_once("DeleteStream", StreamName=name), {})
    equal(k.status(name), "DELETING")


@check("A deleted stream is ResourceNotFoundException")
def deleted(k):
    name = k.stream()
    k.ask("DeleteStream", StreamName=name)
    k.gone(name)
    k.refused("PutRecord", NOT_FOUND, StreamName=name, Data=b"x", PartitionKey="k")


@check("DeleteStream takes StreamARN")
def delete_by_arn(k):
    name = k.stream()
    k.ask("DeleteStream", StreamARN=k.arn(name))
    k.gone(name)


@check("DeleteStream of a stream with consumers is ResourceInUseException")
def delete_with_consumers(k):
    name = k.stream()
    k.consumer(k.arn(name))
    k.refused("DeleteStream", IN_USE, StreamName=name)


@check("EnforceConsumerDeletion deletes the stream and every consumer")
def enforce(k):
    name = k.stream()
    consumer = k.consumer(k.arn(name))
    k.ask("DeleteStream", StreamName=name, EnforceConsumerDeletion=True)
    k.gone(name)
    k.refused("DescribeStreamConsumer", NOT_FOUND, ConsumerARN=consumer)


@check("Deleting a stream deletes its data: a new one of its name is empty")
def made_again(k):
    name = k.stream()
    k.put(name)
    k.ask("DeleteStream", StreamName=name)
    k.gone(name)
    equal(k.read(k.iterator(k.stream(name=name)), 1)[0], [])
