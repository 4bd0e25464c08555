//! Workers of another make, as scripts around ours: what runs is not the process that was started
//! but one below it. SIGTERM goes to the whole group; only the worker heeds it.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::short::number;
use crate::{play, play_to};

/// Leaves out whatever is optional.
const TERSE: &str = r#"
unset DRILL_SINK
"$KCL" drill-worker | sed -u \
    -e 's/,"fence":[0-9]*//' -e 's/,"started":[0-9.e+]*//' -e 's/,"valid_until":[0-9.e+]*//' \
    -e 's/,"polled":[0-9.e+]*//'
"#;

/// Does not tell of every fifth batch, as if it had lost it.
const FORGETFUL: &str = r#"
told=0
"$KCL" drill-worker | while read -r line; do
    case $line in *'"event":"records"'*) told=$((told + 1)) ;; esac
    if [ "$told" = 5 ]; then told=0; else printf '%s\n' "$line"; fi
done
"#;

/// Hands over, but does not end as it should.
const ILL_MANNERED: &str = r#"
"$KCL" drill-worker
exit 7
"#;

/// Keeps what it tells, a file a worker.
const KEPT: &str = r#"
"$KCL" drill-worker | tee "$LINES/$WORKER_ID.lines"
"#;

/// Puts a script into a folder; the command that runs it.
fn command(folder: &Path, text: &str) -> String {
    let text = text.replace("$KCL", env!("CARGO_BIN_EXE_kcl"));
    let text = text.replace("$LINES", folder.to_str().unwrap());
    let script = folder.join("a worker");
    std::fs::write(&script, format!("#!/bin/sh\ntrap '' TERM{text}")).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    format!("'{}'", script.display())
}

#[test]
fn a_program_that_keeps_to_the_contract_can_be_drilled() {
    let folder = tempfile::tempdir().unwrap();
    let command = command(folder.path(), TERSE);
    let kills = play(&["kill", "--rounds", "2", "--worker-cmd", &command]);
    assert_eq!(kills["overlaps"], 0, "{kills:#}");
    assert_eq!(kills["lost"], 0, "{kills:#}");
    // It tells no fence, and writes to no sink: nothing is known.
    let of_effects = ["stale_effects_accepted", "stale_effects_rejected"];
    let of_fences = ["shared_fences", "passed_open_records"];
    for key in of_effects.into_iter().chain(of_fences).chain(["bad_rows"]) {
        assert!(kills[key].is_null(), "{key}: {kills:#}");
    }
    assert!(kills["failover_ms"]["n"].as_u64() > Some(0) || kills["invalid_rounds"] == 2);
    let stops = play(&["stop", "--rounds", "1", "--worker-cmd", &command]);
    assert_eq!(stops["details"], json!([]), "it hands over and exits with 0");
    assert_eq!(stops["duplicates"], 0, "{stops:#}");
}

#[test]
fn a_program_that_loses_records_is_found_out() {
    let folder = tempfile::tempdir().unwrap();
    let command = command(folder.path(), FORGETFUL);
    let report = play_to(&["stop", "--rounds", "1", "--worker-cmd", &command], &[1]);
    let (lost, records) = (number(&report, "lost"), number(&report, "records"));
    assert!(lost > 0.0 && lost < records / 2.0, "{report:#}");
    assert!(number(&report, "bad_checkpoints") > 0.0, "they cover what is lost: {report:#}");
    let passed = number(&report, "passed_open_records");
    assert!(passed > 0.0, "and the next owner goes on behind it: {report:#}");
}

#[test]
fn a_program_that_leaves_in_error_is_found_out() {
    let folder = tempfile::tempdir().unwrap();
    let command = command(folder.path(), ILL_MANNERED);
    let report = play_to(&["stop", "--rounds", "1", "--worker-cmd", &command], &[1]);
    let details = report["details"].as_array().unwrap();
    let left = |detail: &&Value| detail.as_str().unwrap().contains("left with exit status: 7");
    // One that is stopped in the round, and the three that are left at the end.
    assert_eq!((details.len(), details.iter().filter(left).count()), (4, 4), "{report:#}");
    assert_eq!(number(&report, "lost"), 0.0, "{report:#}");
}

#[test]
fn the_built_in_worker_tells_by_what_right_it_processed_each_batch() {
    let folder = tempfile::tempdir().unwrap();
    let command = command(folder.path(), KEPT);
    let report = play(&["stop", "--rounds", "1", "--worker-cmd", &command]);
    let mut batches = 0;
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "lines") {
            batches += batches_under_a_right(&std::fs::read_to_string(path).unwrap());
        }
    }
    assert!(batches > 100, "{batches} batches: {report:#}");
}

/// Checks what a worker told; how many batches that were.
fn batches_under_a_right(told: &str) -> usize {
    /// In the profile `fast` (seconds).
    const LEASE_DURATION: f64 = 1.5;
    /// For a process that stands still between two looks at its clocks (seconds).
    const STALL: f64 = 0.5;
    let (mut begun, mut batches) = (BTreeMap::new(), 0);
    for text in told.lines() {
        let line: Value = serde_json::from_str(text).unwrap();
        match line["event"].as_str().unwrap() {
            "shard_start" => drop(begun.insert(line["shard"].to_string(), line["fence"].clone())),
            "records" => {
                let [started, until, polled, ts] =
                    ["started", "valid_until", "polled", "ts"].map(|key| number(&line, key));
                assert!(line["fence"].is_u64(), "{text}");
                assert_eq!(begun.get(&line["shard"].to_string()), Some(&line["fence"]), "{text}");
                assert!(started <= polled && polled <= ts, "{text}");
                assert!(started < until && until <= started + LEASE_DURATION + STALL, "{text}");
                batches += 1;
            }
            _ => {}
        }
    }
    batches
}
