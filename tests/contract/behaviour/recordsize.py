"""UpdateMaxRecordSize and records above 1 MiB."""

from kit import BAD, MIB, MISSING_ARN, NOT_FOUND, VALIDATION, an_arn, check, data, equal, refusals

refuses = refusals(__name__)
SIZE = "UpdateMaxRecordSize"

refuses("UpdateMaxRecordSize of no stream is ResourceNotFoundException",
        SIZE, NOT_FOUND, StreamARN=MISSING_ARN, MaxRecordSizeInKiB=2048)
refuses("Less than 1,024 KiB is ValidationException",
        SIZE, VALIDATION, StreamARN=an_arn, MaxRecordSizeInKiB=1023)
refuses("More than 10,240 KiB is ValidationException",
        SIZE, VALIDATION, StreamARN=an_arn, MaxRecordSizeInKiB=10241)
refuses("UpdateMaxRecordSize requires MaxRecordSizeInKiB", SIZE, *BAD, StreamARN=an_arn)
refuses("CreateStream refuses more than 10,240 KiB", "CreateStream", *BAD,
        StreamName=lambda k: k.name(), ShardCount=1, MaxRecordSizeInKiB=10241)


def sized(k, kib):
    name = k.stream()
    equal(k.ask(SIZE, StreamARN=k.arn(name), MaxRecordSizeInKiB=kib), {})
    return k.active(name)


@check("The most of a new stream is 1,024 KiB")
def default(k):
    equal(k.summary(k.stream()).get("MaxRecordSizeInKiB"), 1024)


@check("UpdateMaxRecordSize is what the stream says afterwards")
def updated(k):
    equal(k.summary(sized(k, 5000)).get("MaxRecordSizeInKiB"), 5000)


@check("CreateStream takes MaxRecordSizeInKiB")
def created(k):
    equal(k.summary(k.stream(MaxRecordSizeInKiB=2048)).get("MaxRecordSizeInKiB"), 2048)


@check("A record of 1.5 MiB is written and read after the update")
def larger(k):
    name = sized(k, 2048)
    k.put(name, b"x" * (MIB * 3 // 2))
    equal(list(map(len, data(k.read(k.iterator(name), 1)[0]))), [MIB * 3 // 2])


@check("A record may have 10 MiB with its key")
def largest(k):
    name = sized(k, 10240)
    k.put(name, b"x" * (10 * MIB - 1))
    equal(list(map(len, data(k.read(k.iterator(name), 1)[0]))), [10 * MIB - 1])


@check("PutRecords takes a record of more than 1 MiB after the update")
def in_a_request(k):
    got = k.ask("PutRecords", StreamName=sized(k, 4096), Records=[
        {"Data": b"x" * 2 * MIB, "PartitionKey": "k"}])
    equal(got["FailedRecordCount"], 0)


@check("A record above the size of the stream is refused")
def above(k):
    k.refused("PutRecord", *BAD, StreamName=sized(k, 2048), Data=b"x" * 2 * MIB, PartitionKey="k")
