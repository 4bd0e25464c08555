"""Tags by stream (AddTagsToStream and its kin) and by ARN (TagResource and its kin)."""

from kit import (BAD, LIMIT, MISSING_ARN, NOT_FOUND, a_stream, an_arn, check, equal, refusals)

refuses = refusals(__name__)
ABSENT = "behaviour-that-is-not-there"
FIFTY = {f"key-{number:02}": str(number) for number in range(50)}

refuses("AddTagsToStream of no stream is ResourceNotFoundException",
        "AddTagsToStream", NOT_FOUND, StreamName=ABSENT, Tags={"a": "1"})
refuses("RemoveTagsFromStream of no stream is ResourceNotFoundException",
        "RemoveTagsFromStream", NOT_FOUND, StreamName=ABSENT, TagKeys=["a"])
refuses("ListTagsForStream of no stream is ResourceNotFoundException",
        "ListTagsForStream", NOT_FOUND, StreamName=ABSENT)
refuses("AddTagsToStream requires Tags", "AddTagsToStream", *BAD, StreamName=a_stream)
refuses("Tags has at least one tag", "AddTagsToStream", *BAD, StreamName=a_stream, Tags={})
refuses("A tag's key has at least one character",
        "AddTagsToStream", *BAD, StreamName=a_stream, Tags={"": "1"})
refuses("A tag's key of more than 128 characters is refused",
        "AddTagsToStream", *BAD, StreamName=a_stream, Tags={"k" * 129: "1"})
refuses("A tag's value of more than 256 characters is refused",
        "AddTagsToStream", *BAD, StreamName=a_stream, Tags={"a": "v" * 257})
refuses("A tag may not have other characters than letters, digits, spaces and _.:/=+-@",
        "TagResource", *BAD, ResourceARN=an_arn, Tags={"wh?t": "1"})
refuses("A stream has at most 50 tags", "AddTagsToStream", *BAD, LIMIT,
        StreamName=a_stream, Tags={**FIFTY, "one-more": "1"})
refuses("RemoveTagsFromStream requires TagKeys", "RemoveTagsFromStream", *BAD, StreamName=a_stream)
refuses("TagKeys has at least one key",
        "RemoveTagsFromStream", *BAD, StreamName=a_stream, TagKeys=[])
refuses("TagKeys has at most 50 keys",
        "RemoveTagsFromStream", *BAD, StreamName=a_stream, TagKeys=[*FIFTY, "one-more"])
refuses("The Limit of ListTagsForStream is at least 1",
        "ListTagsForStream", *BAD, StreamName=a_stream, Limit=0)
refuses("The Limit of ListTagsForStream is at most 50",
        "ListTagsForStream", *BAD, StreamName=a_stream, Limit=51)
refuses("TagResource of no stream is ResourceNotFoundException",
        "TagResource", NOT_FOUND, ResourceARN=MISSING_ARN, Tags={"a": "1"})
refuses("ListTagsForResource of no stream is ResourceNotFoundException",
        "ListTagsForResource", NOT_FOUND, ResourceARN=MISSING_ARN)
refuses("UntagResource of no stream is ResourceNotFoundException",
        "UntagResource", NOT_FOUND, ResourceARN=MISSING_ARN, TagKeys=["a"])
refuses("TagResource requires ResourceARN", "TagResource", *BAD, Tags={"a": "1"})
refuses("A ResourceARN has the form of one", "ListTagsForResource", *BAD, ResourceARN="a-stream")


def tagged(k, **tags):
    name = k.stream()
    equal(k.ask("AddTagsToStream", StreamName=name, Tags=tags), {})
    return name


def of_stream(k, name):
    got = k.ask("ListTagsForStream", StreamName=name)
    return {tag["Key"]: tag.get("Value") for tag in got["Tags"]}


def of_resource(k, arn):
    got = k.ask("ListTagsForResource", ResourceARN=arn)
    return {tag["Key"]: tag.get("Value") for tag in got["Tags"]}


@check("A new stream has no tags")
def none(k):
    got = k.ask("ListTagsForStream", StreamName=k.stream())
    equal((got["Tags"], got["HasMoreTags"]), ([], False))


@check("AddTagsToStream adds tags to those there are")
def added(k):
    name = tagged(k, a="1")
    k.ask("AddTagsToStream", StreamName=name, Tags={"b": "2"})
    equal(of_stream(k, name), {"a": "1", "b": "2"})


@check("AddTagsToStream overwrites a tag of the same key")
def overwritten(k):
    name = tagged(k, a="1", b="2")
    k.ask("AddTagsToStream", StreamName=name, Tags={"a": "3"})
    equal(of_stream(k, name), {"a": "3", "b": "2"})


@check("A stream may have 50 tags")
def fifty(k):
    equal(of_stream(k, tagged(k, **FIFTY)), FIFTY)


@check("Tags that would be more than 50 with those there are, are refused")
def one_more(k):
    k.refused("AddTagsToStream", *BAD, LIMIT, StreamName=tagged(k, **FIFTY), Tags={"more": "1"})


@check("A tag's key may have 128 characters and its value 256")
def longest(k):
    tags = {"k" * 128: "v" * 256}
    equal(of_stream(k, tagged(k, **tags)), tags)


@check("A tag's value may be empty")
def empty_value(k):
    equal(of_stream(k, tagged(k, a="")), {"a": ""})


@check("A tag may have Unicode letters, digits, white space and _.:/=+-@")
def characters(k):
    tags = {"Größe 1_.:/=+-@": "два 2_.:/=+-@"}
    equal(of_stream(k, tagged(k, **tags)), tags)


@check("RemoveTagsFromStream removes the tags of its keys")
def removed(k):
    name = tagged(k, a="1", b="2", c="3")
    equal(k.ask("RemoveTagsFromStream", StreamName=name, TagKeys=["a", "c"]), {})
    equal(of_stream(k, name), {"b": "2"})


@check("RemoveTagsFromStream ignores a tag that does not exist")
def removed_unknown(k):
    name = tagged(k, a="1")
    k.ask("RemoveTagsFromStream", StreamName=name, TagKeys=["unknown"])
    equal(of_stream(k, name), {"a": "1"})


@check("Limit below the number of tags gives so many, and HasMoreTags is true")
def limited(k):
    got = k.ask("ListTagsForStream", StreamName=tagged(k, a="1", b="2", c="3"), Limit=2)
    equal((len(got["Tags"]), got["HasMoreTags"]), (2, True))


@check("ExclusiveStartTagKey gives the tags after that key")
def next_tags(k):
    name = tagged(k, a="1", b="2", c="3")
    first = k.ask("ListTagsForStream", StreamName=name, Limit=2)["Tags"]
    rest = k.ask("ListTagsForStream", StreamName=name, ExclusiveStartTagKey=first[-1]["Key"])
    equal((sorted(tag["Key"] for tag in first + rest["Tags"]), rest["HasMoreTags"]),
          (["a", "b", "c"], False))


@check("CreateStream takes tags")
def created_with(k):
    equal(of_stream(k, k.stream(Tags={"team": "blue"})), {"team": "blue"})


@check("Tags of CreateStream are there from the CREATING status", alone=True)
def while_creating(k):
    name = k.name()
    k.at_once("CreateStream", StreamName=name, ShardCount=1, Tags={"team": "blue"})
    equal(of_stream(k, name), {"team": "blue"})


@check("Deleting a stream dissociates its tags")
def deleted(k):
    name = tagged(k, a="1")
    k.ask("DeleteStream", StreamName=name)
    k.gone(name)
    equal(of_stream(k, k.stream(name=name)), {})


@check("AddTagsToStream and ListTagsForStream take StreamARN")
def by_arn(k):
    arn = an_arn(k)
    k.ask("AddTagsToStream", StreamARN=arn, Tags={"a": "1"})
    equal(k.ask("ListTagsForStream", StreamARN=arn)["Tags"], [{"Key": "a", "Value": "1"}])


@check("TagResource adds and overwrites tags of a stream")
def resource(k):
    arn = an_arn(k)
    equal(k.ask("TagResource", ResourceARN=arn, Tags={"a": "1", "b": "2"}), {})
    k.ask("TagResource", ResourceARN=arn, Tags={"a": "3"})
    equal(of_resource(k, arn), {"a": "3", "b": "2"})


@check("UntagResource removes tags of a stream")
def untagged(k):
    arn = an_arn(k)
    k.ask("TagResource", ResourceARN=arn, Tags={"a": "1", "b": "2"})
    equal(k.ask("UntagResource", ResourceARN=arn, TagKeys=["a"]), {})
    equal(of_resource(k, arn), {"b": "2"})


@check("Tags of a stream are the same by its name and by its ARN")
def both_ways(k):
    name = tagged(k, a="1")
    arn = k.arn(name)
    k.ask("TagResource", ResourceARN=arn, Tags={"b": "2"})
    equal((of_stream(k, name), of_resource(k, arn)), ({"a": "1", "b": "2"},) * 2)


@check("A consumer has tags of its own")
def consumers(k):
    name = tagged(k, a="1")
    consumer = k.consumer(k.arn(name))
    k.ask("TagResource", ResourceARN=consumer, Tags={"b": "2"})
    equal((of_resource(k, consumer), of_stream(k, name)), ({"b": "2"}, {"a": "1"}))
