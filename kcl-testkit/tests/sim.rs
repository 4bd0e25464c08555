//! The program `sim`, as a user runs it.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::{Value, json};

fn sim(arguments: &[&str]) -> Output {
    let small = ["--workers", "2", "--shards", "2", "--minutes", "1"];
    let small: &[_] = if arguments.contains(&"--replay") { &[] } else { &small };
    Command::new(env!("CARGO_BIN_EXE_sim")).args(arguments).args(small).output().unwrap()
}

fn file(name: &str) -> PathBuf {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_file(&file);
    file
}

fn read(file: &PathBuf) -> Value {
    serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

/// What a report has.
const KEYS: [&str; 9] = [
    "seeds",
    "simulated_hours",
    "faults_by_kind",
    "crashes",
    "reshards",
    "records",
    "violations",
    "wall_s",
    "trace_hash",
];

#[test]
fn a_run_goes_on_from_its_state_and_comes_to_the_same() {
    let (state, whole, resumed) = (file("state.json"), file("whole.json"), file("resumed.json"));
    let [state_text, whole_text, resumed_text] =
        [&state, &whole, &resumed].map(|file| file.to_str().unwrap());
    assert!(sim(&["--seeds", "3", "--json", whole_text]).status.success());
    assert!(sim(&["--seeds", "1", "--state", state_text]).status.success());
    assert_eq!(read(&state)["done"]["seeds"], 1);
    let args = ["--seeds", "3", "--state", state_text, "--json", resumed_text];
    assert!(sim(&args).status.success());
    let (mut whole, mut resumed) = (read(&whole), read(&resumed));
    let keys: BTreeSet<_> = whole.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, BTreeSet::from(KEYS));
    assert_eq!(whole["seeds"], 3);
    // A minute of faults, and as long to heal as ever.
    assert_eq!(whole["simulated_hours"].as_f64(), Some(3.0 * 210.0 / 3600.0));
    let faults = whole["faults_by_kind"].as_object().unwrap();
    assert!(!faults.is_empty());
    for (key, kind) in [("crashes", "Crash"), ("reshards", "Reshard")] {
        let struck = faults.get(kind).cloned().unwrap_or(json!(0));
        assert_eq!(whole[key], struck, "{key}");
    }
    assert_eq!(whole["records"], 3 * 2 * 5 * 180);
    assert_eq!(whole["violations"], json!([]));
    let hash = whole["trace_hash"].as_str().unwrap();
    assert!(hash.len() == 16 && u64::from_str_radix(hash, 16).is_ok(), "{hash}");
    for report in [&mut whole, &mut resumed] {
        assert!(report["wall_s"].take().as_f64().is_some());
    }
    assert_eq!(whole, resumed);
}

#[test]
fn a_state_of_another_fleet_and_a_torn_one_are_refused_by_name() {
    let state = file("foreign.json");
    let text = state.to_str().unwrap();
    assert!(sim(&["--seeds", "1", "--state", text]).status.success());
    for (arguments, why) in [
        (vec!["--seeds", "1", "--seed", "9", "--state", text], "is of other seeds"),
        (vec!["--seeds", "1", "--state", text], "is not JSON"),
    ] {
        let output = sim(&arguments);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(why) && error.contains("foreign.json"), "{error}");
        fs::write(&state, "{ \"campaign\": ").unwrap();
    }
}

/// What two builds found would be one report.
#[test]
fn a_state_of_a_build_that_simulates_otherwise_is_refused() {
    let state = file("other-build.json");
    let arguments = ["--seeds", "1", "--state", state.to_str().unwrap()];
    assert!(sim(&arguments).status.success());
    let mut kept = read(&state);
    kept["campaign"]["build"] = json!("0");
    fs::write(&state, kept.to_string()).unwrap();
    let output = sim(&arguments);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("a build that simulates otherwise"), "{error}");
}

#[test]
fn a_run_is_told_again_from_its_file() {
    let run = file("run.json");
    let text = run.to_str().unwrap();
    let mut options = json!({
        "seed": 3, "workers": 2, "shards": 2, "rate": 5, "faults_s": 20, "healing_s": 60,
        "without": [1, 2],
    });
    fs::write(&run, options.to_string()).unwrap();
    let output = sim(&["--replay", text]);
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    for line in ["shardId-000000000001 is made", ": registered", "holds shardId-", "** "] {
        assert!(told.contains(line), "{line} is missing in {told}");
    }
    for (workers, why) in [
        (Value::Null, "`workers` is missing, or no number"),
        (Value::from(0), "`workers` is 0, and must be 1 to 200"),
    ] {
        options["workers"] = workers;
        fs::write(&run, options.to_string()).unwrap();
        let output = sim(&["--replay", text]);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains("run.json") && error.contains(why), "{error}");
    }
}

#[test]
fn arguments_out_of_bounds_are_refused() {
    for arguments in [["--seed", "18446744073709551615"], ["--jobs", "0"], ["--seeds", "-1"]] {
        assert_eq!(sim(&arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn a_campaign_with_a_failing_seed_exits_with_1_and_names_it_in_the_report() {
    let (state, report) = (file("failed.json"), file("failed-report.json"));
    let [state_text, report_text] = [&state, &report].map(|file| file.to_str().unwrap());
    let args = ["--seeds", "1", "--state", state_text, "--json", report_text];
    assert_eq!(sim(&args).status.code(), Some(0));
    // As if the seed had failed in the sitting before.
    let mut kept = read(&state);
    kept["done"]["failed"] = json!([{ "seed": 0, "violations": ["P1 broken at 3s: lost"] }]);
    fs::write(&state, kept.to_string()).unwrap();
    let output = sim(&args);
    let told = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("seed 0 failed, and does not now"), "{told}");
    assert_eq!(read(&report)["violations"], json!(["seed 0: P1 broken at 3s: lost"]));
    let mut kept = read(&state);
    kept["done"]["failed"] = json!([]);
    kept["done"]["not_reproducible"] = json!([0]);
    fs::write(&state, kept.to_string()).unwrap();
    assert_eq!(sim(&args).status.code(), Some(1));
    assert_eq!(read(&report)["violations"], json!(["seed 0: two different histories"]));
}

#[test]
fn a_failing_run_told_again_exits_with_1_and_names_what_it_breaks() {
    let run = file("failing.json");
    let code = |seed: u64| {
        let options = json!({
            "seed": seed, "workers": 2, "shards": 2, "rate": 0, "faults_s": 60, "healing_s": 1,
            "without": [],
        });
        fs::write(&run, options.to_string()).unwrap();
        let output = sim(&["--replay", run.to_str().unwrap()]);
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    // A second is not enough to heal in, in most seeds.
    let (_, told) = (0..20).map(code).find(|(code, _)| *code == Some(1)).unwrap();
    assert!(told.contains("P6 broken at "), "{told}");
}
