"""PutRecords."""

from kit import (BAD, DRY_RUN, FIRST, HASH_KEYS, MIB, NOT_FOUND, SECOND, THROUGHPUT, a_stream,
                 check, data, equal, refusals, true)

refuses = refusals(__name__)


def entry(text=b"x", key="k", **more):
    return {"Data": text, "PartitionKey": key, **more}


def put(k, name, *entries):
    return k.ask("PutRecords", StreamName=name, Records=list(entries))


refuses("PutRecords to no stream is ResourceNotFoundException", "PutRecords", NOT_FOUND,
        StreamName="behaviour-that-is-not-there", Records=[entry()])
refuses("PutRecords must have StreamName or StreamARN", "PutRecords", *BAD, Records=[entry()])
refuses("PutRecords requires Records", "PutRecords", *BAD, StreamName=a_stream)
refuses("A request has at least one record", "PutRecords", *BAD, StreamName=a_stream, Records=[])
refuses("A request has at most 500 records",
        "PutRecords", *BAD, StreamName=a_stream, Records=[entry()] * 501)
refuses("A request of more than 10 MiB, keys included, is refused",
        "PutRecords", *BAD, StreamName=a_stream, Records=[entry(b"x" * (MIB - 1))] * 11)
refuses("A record of more than 1 MiB is refused by default",
        "PutRecords", *BAD, StreamName=a_stream, Records=[entry(b"x" * MIB)])
refuses("Each record requires Data",
        "PutRecords", *BAD, StreamName=a_stream, Records=[{"PartitionKey": "k"}])
refuses("Each record requires a partition key unless the strategy is AUTO",
        "PutRecords", *BAD, StreamName=a_stream, Records=[{"Data": b"x"}])
refuses("Each partition key has at most 256 characters",
        "PutRecords", *BAD, StreamName=a_stream, Records=[entry(), entry(key="k" * 257)])
refuses("Each ExplicitHashKey is below 2^128", "PutRecords", *BAD, StreamName=a_stream,
        Records=[entry(ExplicitHashKey=str(HASH_KEYS))])


@check("A malformed record fails the whole request: nothing of it is written")
def whole_request(k):
    name = k.stream()
    k.refused("PutRecords", *BAD, StreamName=name, Records=[entry(), entry(key="")])
    equal(k.read(k.iterator(name), 1)[0], [])


@check("The response has one record for each of the request, in its order")
def natural_order(k):
    got = put(k, k.stream(2), entry(ExplicitHashKey="0"), entry(ExplicitHashKey=str(2 ** 127)),
              entry(ExplicitHashKey="1"))
    equal([one["ShardId"] for one in got["Records"]], [FIRST, SECOND, FIRST])


@check("FailedRecordCount is 0 when all records are written")
def none_failed(k):
    equal(put(k, k.stream(), entry(), entry())["FailedRecordCount"], 0)


@check("A record that is written has no ErrorCode and no ErrorMessage")
def no_error(k):
    one = put(k, k.stream(), entry())["Records"][0]
    equal((one.get("ErrorCode"), one.get("ErrorMessage")), (None, None))


@check("Each sequence number is unique to the stream")
def unique(k):
    got = put(k, k.stream(2), *[entry(key=str(number)) for number in range(100)])
    equal(len({one["SequenceNumber"] for one in got["Records"]}), 100)


@check("A request may have 500 records")
def five_hundred(k):
    name = k.stream()
    got = put(k, name, *[entry(str(number).encode()) for number in range(500)])
    equal((len(got["Records"]), got["FailedRecordCount"]), (500, 0))
    equal(len(k.read(k.iterator(name), 500)[0]), 500)


@check("PutRecords takes StreamARN")
def by_arn(k):
    got = k.ask("PutRecords", StreamARN=k.arn(k.stream()), Records=[entry()])
    equal(got["Records"][0]["ShardId"], FIRST)


@check("The same partition key goes to the same shard by PutRecord and by PutRecords")
def same_shard(k):
    name = k.stream(4)
    equal(put(k, name, entry(key="same"))["Records"][0]["ShardId"],
          k.put(name, key="same")["ShardId"])


@check("The sequence number of the response is that of the record when it is read")
def same_number(k):
    name = k.stream()
    number = put(k, name, entry())["Records"][0]["SequenceNumber"]
    equal(k.read(k.iterator(name), 1)[0][0]["SequenceNumber"], number)


def overfull(k, name):
    """Requests to the first shard until it is over its throughput; the answer of that one."""
    for _ in range(6):
        got = put(k, name, *[entry(b"x" * 300_000, ExplicitHashKey="0") for _ in range(5)],
                  entry(b"other shard", ExplicitHashKey=str(HASH_KEYS - 1)))
        if got["FailedRecordCount"]:
            return got
    raise AssertionError("9 MB at once to a shard of 1 MiB/s are all taken")


@check("A record over the shard's throughput has that ErrorCode, and the request succeeds")
def partial(k):
    got = overfull(k, k.stream(2))
    equal({one.get("ErrorCode") for one in got["Records"]} - {None}, {THROUGHPUT})


@check("FailedRecordCount is the number of records with an ErrorCode")
def counted(k):
    got = overfull(k, k.stream(2))
    equal(sum("ErrorCode" in one for one in got["Records"]), got["FailedRecordCount"])


@check("ErrorMessage names the account, the stream and the shard that is throttled")
def message(k):
    name = k.stream(2)
    account = k.arn(name).split(":")[4]
    failed = [one for one in overfull(k, name)["Records"] if "ErrorCode" in one][0]
    for part in (account, name, FIRST):
        true(part in failed["ErrorMessage"], f"{part} is not in {failed['ErrorMessage']!r}")


@check("A failed record does not stop the records after it")
def goes_on(k):
    last = overfull(k, k.stream(2))["Records"][-1]
    equal((last.get("ShardId"), last.get("ErrorCode")), (SECOND, None))


@check("A failed record has no SequenceNumber and no ShardId")
def nothing_assigned(k):
    failed = [one for one in overfull(k, k.stream(2))["Records"] if "ErrorCode" in one][0]
    equal((failed.get("SequenceNumber"), failed.get("ShardId")), (None, None))


@check("A failed record is not in the stream")
def not_written(k):
    name = k.stream(2)
    last = overfull(k, name)["Records"]
    taken = [one["SequenceNumber"] for one in last if one.get("ShardId") == FIRST]
    records, answer = k.read(k.iterator(name), 100)
    equal(answer["MillisBehindLatest"], 0, "MillisBehindLatest at the end")
    here = [one["SequenceNumber"] for one in records]
    equal(here[len(here) - len(taken):], taken)
    equal(len(here) % 5, len(taken), "records of the last request")


@check("Each record's data is kept with its own partition key")
def own_keys(k):
    name = k.stream()
    put(k, name, entry(b"1", "one"), entry(b"2", "two"))
    records = k.read(k.iterator(name), 2)[0]
    equal(sorted(zip(data(records), [one["PartitionKey"] for one in records])),
          [(b"1", "one"), (b"2", "two")])


@check("DryRun of PutRecords that would succeed is DryRunOperationException, and writes nothing")
def dry_run(k):
    name = k.stream()
    k.refused("PutRecords", DRY_RUN, StreamName=name, Records=[entry()], DryRun=True)
    equal(k.read(k.iterator(name), 1)[0], [])
