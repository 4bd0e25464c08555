//! The worker of the examples, as its users would build it.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::play;

/// Builds it beside the command, with the same settings.
fn kinesis_worker() -> PathBuf {
    let folder = Path::new(env!("CARGO_BIN_EXE_kcl")).parent().unwrap();
    let profile = match folder.file_name().unwrap().to_str() {
        Some("debug") => "dev",
        profile => profile.unwrap(),
    };
    let words = ["build", "--quiet", "--locked", "-p", "examples", "--features", "aws"];
    let built = Command::new(env!("CARGO"))
        .args(words)
        .args(["--bin", "kinesis_worker", "--profile", profile, "--target-dir"])
        .arg(folder.parent().unwrap())
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status();
    assert!(built.unwrap().success());
    folder.join("kinesis_worker")
}

fn assert_nothing_is_wrong(report: &Value) {
    assert_eq!(report["details"], json!([]), "{report:#}");
    for count in ["lost", "out_of_order", "overlaps"] {
        assert_eq!(report[count], 0, "{count}: {report:#}");
    }
    assert!(report["records"].as_u64() > Some(0), "{report:#}");
}

#[test]
fn the_worker_of_the_examples_loses_nothing_when_killed_and_repeats_nothing_when_stopped() {
    let program = kinesis_worker();
    let polling = format!("'{}' --lease-ms 1500", program.display());
    let kills = play(&["kill", "--rounds", "3", "--worker-cmd", &polling]);
    assert_nothing_is_wrong(&kills);
    assert_eq!(kills["rounds"], 3);
    let stops = play(&["stop", "--rounds", "2", "--worker-cmd", &polling]);
    assert_nothing_is_wrong(&stops);
    assert_eq!(stops["duplicates"], 0, "{stops:#}");
}

#[test]
fn the_worker_of_the_examples_loses_nothing_by_fan_out() {
    let program = kinesis_worker();
    let pushed = format!("'{}' --lease-ms 1500 --consumer drilled", program.display());
    let kills = play(&["kill", "--rounds", "3", "--worker-cmd", &pushed]);
    assert_nothing_is_wrong(&kills);
}
