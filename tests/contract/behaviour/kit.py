"""What a check is written with: its registration, its words for right and wrong, and shorthands."""

from dataclasses import dataclass
from typing import Callable

CHECKS = []

INVALID = "InvalidArgumentException"
VALIDATION = "ValidationException"
NOT_FOUND = "ResourceNotFoundException"
IN_USE = "ResourceInUseException"
LIMIT = "LimitExceededException"
THROUGHPUT = "ProvisionedThroughputExceededException"
DRY_RUN = "DryRunOperationException"

# The documentation gives both for a parameter outside of its bounds, and seldom says which.
BAD = (INVALID, VALIDATION)

MIB = 1024 * 1024
HASH_KEYS = 2 ** 128
FIRST = "shardId-000000000000"
SECOND = "shardId-000000000001"
MISSING_ARN = "arn:aws:kinesis:us-east-1:000000000000:stream/behaviour-that-is-not-there"


@dataclass
class Check:
    area: str
    documented: str
    run: Callable
    alone: bool
    seconds: float


class Wrong(Exception):
    """What came is not what is documented."""


def check(documented, alone=False, seconds=45):
    """Registers a function as the check of a documented statement.

    `alone`: it looks at the account, or at states that pass quickly, so nothing runs beside it.
    """
    def register(run):
        CHECKS.append(Check(run.__module__, documented, run, alone, seconds))
        return run
    return register


def refusals(area):
    """Registers checks of an area that one request is refused with one of these codes.

    A parameter that is a function is asked for its value first: `a_stream` makes a stream.
    """
    def refuses(documented, operation, *codes, **params):
        def run(k):
            k.refused(operation, *codes, **{
                name: value(k) if callable(value) else value for name, value in params.items()})
        CHECKS.append(Check(area, documented, run, False, 45))
    return refuses


def a_stream(k):
    return k.stream()


def an_arn(k):
    return k.arn(k.stream())


def an_on_demand_stream(k):
    return k.on_demand()


def an_iterator(k):
    return k.iterator(k.stream())


def equal(found, expected, what=""):
    if found != expected:
        raise Wrong(f"{what + ': ' if what else ''}{found!r} instead of {expected!r}")


def true(condition, what):
    if not condition:
        raise Wrong(what)


def data(records):
    return [record["Data"] for record in records]


def hash_range(shard):
    keys = shard["HashKeyRange"]
    return int(keys["StartingHashKey"]), int(keys["EndingHashKey"])


def ids(shards):
    return [shard["ShardId"] for shard in shards]
