"""ListStreams."""

from kit import BAD, check, equal, refusals, true

refuses = refusals(__name__)

refuses("The Limit of ListStreams is at least 1", "ListStreams", *BAD, Limit=0)
refuses("The Limit of ListStreams is at most 10,000", "ListStreams", *BAD, Limit=10001)
refuses("A NextToken of ListStreams that it did not give is refused",
        "ListStreams", *BAD, NextToken="not-a-token")


def all_names(k, **more):
    names, start = [], {}
    for _ in range(200):
        got = k.patiently("ListStreams", ["LimitExceededException"], **start, **more)
        names += got["StreamNames"]
        if not got["HasMoreStreams"]:
            return names
        start = {"ExclusiveStartStreamName": names[-1]}
    return names


def pair(k):
    """Two streams that follow each other."""
    name = k.name()
    return k.stream(name=name + ".a"), k.stream(name=name + ".b")


@check("Every stream is listed")
def listed(k):
    name = k.stream()
    true(name in all_names(k), "a stream is missing")


@check("ExclusiveStartStreamName and HasMoreStreams lead through all streams, each once", alone=True)
def pages(k):
    pair(k)
    names = all_names(k, Limit=40)
    equal(len(names), len(set(names)), "names and different names")
    equal(set(names), set(all_names(k)))


@check("Limit is the most streams returned, and HasMoreStreams says that there are more")
def limited(k):
    pair(k)
    got = k.ask("ListStreams", Limit=1)
    equal((len(got["StreamNames"]), got["HasMoreStreams"]), (1, True))


@check("ListStreams starts after ExclusiveStartStreamName")
def start(k):
    first, second = pair(k)
    got = k.ask("ListStreams", ExclusiveStartStreamName=first, Limit=1)
    equal(got["StreamNames"], [second])


@check("HasMoreStreams is false when there are no more")
def no_more(k):
    got = k.ask("ListStreams", ExclusiveStartStreamName="zzzz")
    equal((got["StreamNames"], got["HasMoreStreams"]), ([], False))


@check("NextToken of ListStreams leads to the next streams")
def token(k):
    first, second = pair(k)
    before = first[:-1]
    got = k.ask("ListStreams", ExclusiveStartStreamName=before, Limit=1)
    equal(got["StreamNames"], [first])
    true(got.get("NextToken"), "there is no NextToken")
    equal(k.ask("ListStreams", NextToken=got["NextToken"], Limit=1)["StreamNames"], [second])


@check("StreamSummaries has the streams of StreamNames with ARN, status, mode and creation")
def summaries(k):
    first, _ = pair(k)
    got = k.ask("ListStreams", ExclusiveStartStreamName=first[:-1], Limit=1)
    found = got.get("StreamSummaries") or [{}]
    described = k.summary(first)
    wanted = ("StreamName", "StreamARN", "StreamStatus", "StreamModeDetails",
              "StreamCreationTimestamp")
    equal({key: found[0].get(key) for key in wanted}, {key: described[key] for key in wanted})


@check("ListStreams returns 100 streams unless Limit is less, and never more", alone=True)
def most(k):
    while len(all_names(k)) < 101:
        k.stream()
    found = [len(k.ask("ListStreams", **more)["StreamNames"]) for more in ({}, {"Limit": 1000})]
    equal(found, [100, 100])
