"""Judges the reports of drills of the worker in worker.py: `check.py kill.json stop.json ...`."""

import json
import sys

# What its lines and the sink give evidence of; of its rows and requests the drill understands nothing.
NOTHING_OF = ["lost", "out_of_order", "overlaps", "stale_effects_accepted", "shared_fences",
              "passed_open_records"]

for path in sys.argv[1:]:
    with open(path) as file:
        report = json.load(file)
    wrong = {key: report[key] for key in NOTHING_OF if report[key] != 0}
    assert not wrong and report["details"] == [], f"{path}: {wrong} {report['details']}"
    assert report["records"] > 0 and report["effects_accepted"] > 0, report
    assert report["bad_checkpoints"] is None and report["bad_rows"] is None, report
    assert report["moves"] > 0, f"{path}: nothing moved, so nothing was tried"
    print(f"{path}: {report['records']} records, {report['moves']} moves, nothing wrong")
