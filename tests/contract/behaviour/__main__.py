"""Checks of documented behaviour of the Kinesis Data Streams API, against any endpoint.

usage: python tests/contract/behaviour URL [--json FILE] [--only AREA] [--list]

Each check is one statement of the documentation: the service model of botocore and AWS's API
reference and developer guide. Python needs boto3. The endpoint keeps the service's limits, has room
for about 1,000 shards, and is left with the streams of the run.

Not among them, as each would wait for five minutes: that shard iterators and pagination tokens
expire, and that a subscription ends. Nor what needs a day: that records pass their retention.
"""

import argparse
import importlib
import json
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from endpoint import Endpoint, Server
from kit import CHECKS

AREAS = ["streams", "listing", "shards", "puts", "batches", "iterators", "reading", "throughput",
         "resharding", "scaling", "consumers", "fanout", "positions", "retention", "encryption",
         "monitoring", "mode", "recordsize", "tags", "policies", "wire", "cbor", "rates",
         "account"]
AT_ONCE = 14


def outcome(server, check):
    """None if it is right, or else what came instead."""
    k = Endpoint(server)
    found = ["it took too long"]

    def run():
        try:
            check.run(k)
            found[0] = None
        except Exception as error:
            found[0] = f"{type(error).__name__}: {error}"

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(check.seconds)
    if found[0] is None:
        return None
    return f"sent: {k.sent} | came: {k.came} | {found[0]}".replace("\n", " ")


def run_all(server, checks):
    together = [check for check in checks if not check.alone]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = dict(zip(map(id, together),
                         pool.map(lambda check: outcome(server, check), together)))
    for check in checks:
        if check.alone:
            time.sleep(0.3)
            found[id(check)] = outcome(server, check)
    return [(check, found[id(check)]) for check in checks]


def report(results):
    for area in AREAS:
        own = [(check, wrong) for check, wrong in results if check.area == area]
        if own:
            right = sum(wrong is None for _, wrong in own)
            print(f"{area}: {right} of {len(own)}")
        for check, wrong in own:
            if wrong is not None:
                print(f"  WRONG documented: {check.documented} | {wrong}")
    print(f"all: {sum(wrong is None for _, wrong in results)} of {len(results)}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url", nargs="?", help="of the endpoint: http://127.0.0.1:4566")
    parser.add_argument("--json", help="a file for the results")
    parser.add_argument("--only", choices=AREAS, help="one area")
    parser.add_argument("--list", action="store_true", help="say what the checks are, and end")
    options = parser.parse_args()
    for area in AREAS:
        importlib.import_module(area)
    checks = [check for check in CHECKS if options.only in (None, check.area)]
    if options.list:
        for check in checks:
            print(f"{check.area}: {check.documented}")
        return 0
    if not options.url:
        parser.error("the URL of an endpoint is needed")
    results = run_all(Server(options.url), checks)
    report(results)
    if options.json:
        with open(options.json, "w") as file:
            json.dump([{"area": check.area, "documented": check.documented, "wrong": wrong}
                       for check, wrong in results], file, indent=1)
    return int(any(wrong is not None for _, wrong in results))


if __name__ == "__main__":
    sys.exit(main())
