//! The program as a user runs it.

use std::path::PathBuf;
use std::process::{Command, Output};

const HEADER: &str = "carrier,tailnum,origin,dep_delay\n";

fn flights(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_flights")).args(arguments).output().unwrap()
}

fn file(name: &str, text: &str) -> String {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// What it says on its way out with an error.
fn refusal(arguments: &[&str]) -> String {
    let output = flights(arguments);
    assert!(!output.status.success(), "{arguments:?}");
    assert!(output.stdout.is_empty(), "{arguments:?}: refused before the run");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn what_cannot_be_run_is_refused_before_the_run() {
    let short = file("short.csv", &format!("{HEADER}UA,N1\n"));
    let late = file("late.csv", &format!("{HEADER}UA,N1,EWR,late\n"));
    let none = file("none.csv", HEADER);
    let report = format!("{}/no/such/report.json", env!("CARGO_TARGET_TMPDIR"));
    for (arguments, said) in [
        (["--workers", "1"], "expected 2 to 64 workers"),
        (["--shards", "0"], "expected 1 to 256 shards"),
        (["--rate", "0"], "expected 1 to 1000000 rows per second"),
        (["--partition-key", "tail"], "there is no column \"tail\"; its columns are year, month"),
        (["--input", "no-such-file.csv"], "no-such-file.csv: "),
        (["--input", env!("CARGO_TARGET_TMPDIR")], "directory"),
        (["--input", &short], "short.csv, line 2: 2 cells, but the header has 4"),
        (["--input", &late], "line 2, column \"dep_delay\": \"late\" is not a number"),
        (["--input", &none], "none.csv: there are no rows"),
        (["--json", &report], "report.json: "),
    ] {
        let refusal = refusal(&arguments);
        assert!(refusal.contains(said), "{arguments:?}: {refusal}");
        assert!(!refusal.contains("panicked"), "{refusal}");
    }
}

#[test]
fn a_small_file_with_odd_names_is_counted_through_the_whole_script() {
    let mut text = HEADER.to_owned();
    for number in 0..60 {
        text += &format!("\"U,A\",N{number},\"E\"\"WR\",2.5\nB6,,JFK,\n");
    }
    let (input, json) = (file("odd.csv", &text), file("odd.json", ""));
    let output = flights(&["--input", &input, "--json", &json, "--shards", "2", "--workers", "2"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(!stdout.contains('\x1b'), "nothing is drawn where there is no terminal");
    for event in ["joins", "is killed", "is shut down", "is split", "are merged"] {
        assert!(stdout.contains(event), "{event}: {stdout}");
    }
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    for (name, value) in [("put", 120), ("processed", 120), ("lost", 0), ("out_of_order", 0)] {
        assert_eq!(report[name], value, "{name}");
    }
    assert_eq!(
        (&report["matches_direct"], &report["script_settled"]),
        (&true.into(), &true.into())
    );
    let figures = &report["figures"];
    assert_eq!((&figures[0]["origin"], &figures[0]["carrier"]), (&"E\"WR".into(), &"U,A".into()));
    assert_eq!((&figures[0]["flights"], &figures[0]["mean_dep_delay"]), (&60.into(), &2.5.into()));
    assert_eq!((&figures[1]["flights"], &figures[1]["mean_dep_delay"]), (&60.into(), &().into()));
    let takeovers = report["takeovers"].as_array().unwrap();
    for of in ["shard", "from", "to", "reason", "ms"] {
        assert!(takeovers.iter().all(|takeover| !takeover[of].is_null()), "{of}: {takeovers:?}");
    }
    assert!(takeovers.iter().any(|takeover| takeover["reason"] == "its owner died"));
}

#[test]
fn a_partition_key_with_few_values_has_its_hot_shards_named_with_key_and_remedy() {
    // Six rows of ten are of one carrier; each row has a tail number of its own.
    let carriers = ["UA", "B6", "UA", "EV", "UA", "DL", "UA", "UA", "MQ", "UA"];
    let row = |number: usize| format!("{},N{number},EWR,1\n", carriers[number % carriers.len()]);
    let text: String = (0..1_200).map(row).collect();
    let input = file("hot.csv", &format!("{HEADER}{text}"));
    let run = |key: &str| {
        let output = flights(&["--input", &input, "--partition-key", key, "--rate", "1200"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let said = run("carrier");
    let named: Vec<&str> = said.lines().filter(|line| line.contains(" is hot: ")).collect();
    let blamed = |line: &&str| {
        line.starts_with("shardId-")
            && line.contains("; key \"UA\" is ")
            && line.ends_with("choose a key with more values")
    };
    assert!(named.iter().any(blamed), "{said}");
    let said = run("tailnum");
    assert!(!said.contains(" is hot"), "{said}");
}
