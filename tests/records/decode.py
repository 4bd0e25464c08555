"""Takes aggregates from standard input apart with aws-kinesis-agg from PyPI, and compares."""

import base64
import json
import sys

from aws_kinesis_agg.deaggregator import deaggregate_records

cases = 0
for line in sys.stdin:
    case = json.loads(line)
    record = {
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "sequenceNumber": "1",
            "approximateArrivalTimestamp": 0,
            "partitionKey": "outer",
            "data": case["aggregate"],
        }
    }
    found = [found["kinesis"] for found in deaggregate_records([record])]
    assert all(each.get("aggregated") for each in found), "it was not taken for an aggregate"
    got = [
        {"key": each["partitionKey"], "hash_key": each["explicitHashKey"], "data": each["data"].decode()}
        for each in found
    ]
    assert got == case["inside"], f"case {cases} comes apart differently"
    cases += 1
assert cases == 4, cases
print(f"{cases} aggregates come apart the same in aws-kinesis-agg")
