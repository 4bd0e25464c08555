//! The worker of the examples, as its users would build it.

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::{kcl, play};

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

/// A process, and the lines that it writes; it ends with this.
struct Started(Child, BufReader<std::process::ChildStdout>);

impl Started {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self(child, lines)
    }
    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.1.read_line(&mut line).unwrap() > 0, "it has ended");
        line
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_worker_of_the_examples_tells_when_it_is_ready_until_when_it_may_process_and_hears_hints() {
    let mut served = Started::start(kcl().args(["serve", "--port", "0", "--streams", "s:1"]));
    let url = served.line().trim().strip_prefix("listening on ").unwrap().to_owned();
    let put = kcl().args(["stream", "put", "s", "7", "--endpoint-url", &url]).output().unwrap();
    assert!(put.status.success(), "{}", String::from_utf8_lossy(&put.stderr));
    // Free just now, and nobody else takes one by its number.
    let hints = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = Command::new(kinesis_worker());
    command.args(["--stream", "s", "--application", "a", "--leases", "memory"]);
    command.args(["--kinesis", &url, "--hints", &hints.to_string()]);
    let mut worker = Started::start(&mut command);
    let mut said = |event: &str| {
        let line: Value = serde_json::from_str(&worker.line()).unwrap();
        assert_eq!(line["event"], event, "{line:#}");
        line
    };
    said("ready");
    TcpStream::connect(hints).unwrap();
    said("shard_start");
    let records = said("records");
    let time = |key: &str| records[key].as_f64().unwrap();
    assert_eq!(records["ids"], json!(["7"]));
    assert!(time("started") <= time("ts") && time("started") < time("valid_until"), "{records:#}");
    // Of a lease of three seconds.
    assert!(time("valid_until") - time("started") <= 3.0, "{records:#}");
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
    let hinted = format!("{polling} --hints 127.0.0.1:0");
    let stops = play(&["stop", "--rounds", "2", "--worker-cmd", &hinted]);
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
