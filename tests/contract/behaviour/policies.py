"""PutResourcePolicy, GetResourcePolicy, DeleteResourcePolicy."""

import json

from endpoint import Refused
from kit import BAD, MISSING_ARN, NOT_FOUND, an_arn, check, equal, refusals, true

refuses = refusals(__name__)


def policy(arn, action="kinesis:DescribeStreamSummary"):
    return json.dumps({"Version": "2012-10-17", "Statement": [{
        "Sid": "one", "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:root"},
        "Action": [action], "Resource": arn}]})


refuses("PutResourcePolicy of no stream is ResourceNotFoundException", "PutResourcePolicy",
        NOT_FOUND, ResourceARN=MISSING_ARN, Policy=policy(MISSING_ARN))
refuses("GetResourcePolicy of no stream is ResourceNotFoundException", "GetResourcePolicy",
        NOT_FOUND, ResourceARN=MISSING_ARN)
refuses("DeleteResourcePolicy of no stream is ResourceNotFoundException", "DeleteResourcePolicy",
        NOT_FOUND, ResourceARN=MISSING_ARN)
refuses("PutResourcePolicy requires Policy", "PutResourcePolicy", *BAD, ResourceARN=an_arn)
refuses("PutResourcePolicy requires ResourceARN", "PutResourcePolicy", *BAD, Policy=policy("*"))
refuses("A policy is a JSON string",
        "PutResourcePolicy", *BAD, ResourceARN=an_arn, Policy="not a policy")
refuses("The ResourceARN of a policy has the form of one", "GetResourcePolicy", *BAD,
        ResourceARN="a-stream")


def kept(k, arn):
    return json.loads(k.ask("GetResourcePolicy", ResourceARN=arn)["Policy"])


def put(k, arn, text):
    equal(k.ask("PutResourcePolicy", ResourceARN=arn, Policy=text), {})


@check("GetResourcePolicy returns the policy that was put")
def returned(k):
    arn = an_arn(k)
    put(k, arn, policy(arn))
    equal(kept(k, arn), json.loads(policy(arn)))


@check("A policy that is put takes the place of the one before")
def replaced(k):
    arn = an_arn(k)
    put(k, arn, policy(arn))
    put(k, arn, policy(arn, "kinesis:PutRecord"))
    equal(kept(k, arn), json.loads(policy(arn, "kinesis:PutRecord")))


@check("A policy is attached to a consumer")
def of_consumer(k):
    arn = k.consumer(an_arn(k))
    put(k, arn, policy(arn, "kinesis:SubscribeToShard"))
    equal(kept(k, arn), json.loads(policy(arn, "kinesis:SubscribeToShard")))


@check("After DeleteResourcePolicy there is no policy")
def deleted(k):
    arn = an_arn(k)
    put(k, arn, policy(arn))
    equal(k.ask("DeleteResourcePolicy", ResourceARN=arn), {})
    try:
        found = k.ask("GetResourcePolicy", ResourceARN=arn).get("Policy")
    except Refused as refusal:
        equal(refusal.code, NOT_FOUND)
        return
    true(not found or "Statement" not in found, f"it is still {found!r}")
