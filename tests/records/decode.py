"""Takes aggregates from standard input apart with aws-kinesis-agg from PyPI, and compares."""

import base64
import json
import sys

from aws_kinesis_agg.deaggregator import deaggregate_records

cases = 0
for line in sys.stdin:
    case = json.loads(line)
    records = [
        {
            "kinesis": {
                "kinesisSchemaVersion": "1.0",
                "sequenceNumber": "1",
                "approximateArrivalTimestamp": 0,
                "partitionKey": "outer",
                "data": aggregate,
            }
        }
        for aggregate in case["aggregates"]
    ]
    found = [found["kinesis"] for found in deaggregate_records(records)]
    assert all(each.get("aggregated") for each in found), "it was not taken for an aggregate"
    got = [
        {"key": each["partitionKey"], "hash_key": each["explicitHashKey"], "data": each["data"].decode()}
        for each in found
    ]
    inside = case["inside"]
    if len(records) > 1:
        # A producer keeps the order of each hash key, and no other.
        got, inside = (sorted(each, key=lambda of: of["hash_key"] or of["key"]) for each in (got, inside))
    assert got == inside, f"case {cases} comes apart differently"
    cases += 1
assert cases == 5, cases
print(f"{cases} cases of aggregates come apart the same in aws-kinesis-agg")
