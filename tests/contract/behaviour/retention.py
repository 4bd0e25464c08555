"""IncreaseStreamRetentionPeriod and DecreaseStreamRetentionPeriod."""

from kit import BAD, INVALID, NOT_FOUND, a_stream, check, equal, refusals

refuses = refusals(__name__)
MORE = "IncreaseStreamRetentionPeriod"
LESS = "DecreaseStreamRetentionPeriod"
ABSENT = "behaviour-that-is-not-there"

refuses("IncreaseStreamRetentionPeriod of no stream is ResourceNotFoundException",
        MORE, NOT_FOUND, StreamName=ABSENT, RetentionPeriodHours=48)
refuses("DecreaseStreamRetentionPeriod of no stream is ResourceNotFoundException",
        LESS, NOT_FOUND, StreamName=ABSENT, RetentionPeriodHours=24)
refuses("IncreaseStreamRetentionPeriod requires RetentionPeriodHours",
        MORE, *BAD, StreamName=a_stream)
refuses("The most is 8,760 hours", MORE, *BAD, StreamName=a_stream, RetentionPeriodHours=8761)
refuses("An increase must be to more than the current period",
        MORE, *BAD, StreamName=a_stream, RetentionPeriodHours=23)
refuses("A decrease must be to less than the current period",
        LESS, *BAD, StreamName=a_stream, RetentionPeriodHours=48)
refuses("The least is 24 hours", LESS, *BAD, StreamName=a_stream, RetentionPeriodHours=23)
refuses("IncreaseStreamRetentionPeriod must have StreamName or StreamARN",
        MORE, *BAD, RetentionPeriodHours=48)


def after(k, *steps):
    name = k.stream()
    for operation, hours in steps:
        equal(k.ask(operation, StreamName=name, RetentionPeriodHours=hours), {})
        k.active(name)
    return name, k.summary(name)["RetentionPeriodHours"]


@check("An increase is what the stream says afterwards")
def increased(k):
    equal(after(k, (MORE, 48))[1], 48)


@check("A period of 8,760 hours is taken")
def longest(k):
    equal(after(k, (MORE, 8760))[1], 8760)


@check("A decrease is what the stream says afterwards")
def decreased(k):
    equal(after(k, (MORE, 100), (LESS, 50))[1], 50)


@check("A period can go back to 24 hours")
def back(k):
    equal(after(k, (MORE, 48), (LESS, 24))[1], 24)


@check("A decrease to more than the current period is InvalidArgumentException")
def wrong_way(k):
    name, _ = after(k, (MORE, 48))
    k.refused(LESS, INVALID, StreamName=name, RetentionPeriodHours=72)


@check("The retention period is changed by StreamARN")
def by_arn(k):
    name = k.stream()
    k.ask(MORE, StreamARN=k.arn(name), RetentionPeriodHours=48)
    equal(k.summary(k.active(name))["RetentionPeriodHours"], 48)
