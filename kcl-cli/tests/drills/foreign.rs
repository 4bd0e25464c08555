//! A worker of another make: it tells only what the contract asks for, and what runs is not the
//! process that was started but one below it.

use std::os::unix::fs::PermissionsExt;

use crate::play;

/// Leaves out whatever is optional. SIGTERM goes to the whole group; only the worker heeds it.
const SCRIPT: &str = r#"#!/bin/sh
trap '' TERM
unset DRILL_SINK
"$KCL" drill-worker | sed -u \
    -e 's/,"fence":[0-9]*//' -e 's/,"started":[0-9.e+]*//' -e 's/,"valid_until":[0-9.e+]*//' \
    -e 's/,"polled":[0-9.e+]*//'
"#;

#[test]
fn a_program_that_keeps_to_the_contract_can_be_drilled() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("a worker");
    let text = SCRIPT.replace("$KCL", env!("CARGO_BIN_EXE_kcl"));
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let command = format!("'{}'", script.display());
    let kills = play(&["kill", "--rounds", "2", "--worker-cmd", &command]);
    assert_eq!(kills["overlaps"], 0, "{kills:#}");
    assert_eq!(kills["lost"], 0, "{kills:#}");
    // It tells no fence, and writes to no sink: nothing is known.
    for key in ["stale_effects_accepted", "stale_effects_rejected", "shared_fences", "bad_rows"] {
        assert!(kills[key].is_null(), "{key}: {kills:#}");
    }
    assert!(kills["failover_ms"]["n"].as_u64() > Some(0) || kills["invalid_rounds"] == 2);
    let stops = play(&["stop", "--rounds", "1", "--worker-cmd", &command]);
    assert_eq!(stops["details"], serde_json::json!([]), "it hands over and exits with 0");
    assert_eq!(stops["duplicates"], 0, "{stops:#}");
}
