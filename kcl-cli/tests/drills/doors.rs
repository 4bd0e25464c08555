//! What a drill refuses, each in a line that says what to do.

use std::os::unix::fs::symlink;

use crate::{alone, kcl, said};

fn refused(words: &[&str]) -> String {
    let output = kcl().arg("drill").args(words).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{words:?}: {}", said(&output));
    said(&output)
}

#[test]
fn bad_input_is_refused_with_its_reason() {
    for (words, reason) in [
        (vec!["murder"], "possible values"),
        (vec!["kill", "--workers", "1"], "2..=32"),
        (vec!["kill", "--shards", "0"], "2..=256"),
        (vec!["kill", "--rounds", "0"], "1..=10000"),
        (vec!["kill", "--profile", "slow"], "possible values"),
        (vec!["kill", "--worker-cmd", ""], "name a program"),
        (vec!["kill", "--worker-cmd", "java 'x"], "not closed"),
        (vec!["kill", "--harm", "burn=5"], "KIND=PERCENT"),
        (vec!["kill", "--harm", "drop=101"], "0 to 100"),
        (vec!["kill", "--dynamodb", "https://dynamodb.us-east-1.amazonaws.com"], "only http://"),
        (vec!["kill", "--dynamodb", "localhost:8000"], "only http://"),
        (vec!["kill", "--json", "/nowhere/report.json"], "/nowhere/report.json"),
        (vec!["kill", "--plot", "/nowhere/report.svg"], "/nowhere/report.svg"),
        (vec!["table-restart", "--dynamodb", "http://127.0.0.1:1"], "leave --dynamodb out"),
        (vec!["kill-reaped", "--worker-cmd", "java"], "leave --worker-cmd out"),
        (vec!["kill", "--dynamodb", "http://127.0.0.1:1"], "no DynamoDB answers"),
    ] {
        let said = refused(&words);
        assert!(said.contains(reason), "{words:?}: {said}");
    }
}

#[test]
fn a_worker_that_cannot_run_is_named() {
    let _alone = alone();
    let said = refused(&["kill", "--worker-cmd", "no-such-program --now"]);
    assert!(said.contains("no-such-program") && said.contains("cannot be run"), "{said}");
    let said = refused(&["kill", "--worker-cmd", "false"]);
    assert!(said.contains("ended by itself"), "{said}");
}

#[test]
fn without_java_one_line_says_what_to_install() {
    let folder = tempfile::tempdir().unwrap();
    // All that the start script uses up to the question, but no Java and nothing to fetch it with.
    for program in ["bash", "dirname", "mkdir", "sed", "head", "id", "mktemp", "flock"] {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&path).map(|dir| dir.join(program)).find(|p| p.exists());
        if let Some(found) = found {
            symlink(found, folder.path().join(program)).unwrap();
        }
    }
    let output = kcl()
        .args(["drill", "kill"])
        .env("PATH", folder.path())
        .env_remove("DDB_LOCAL_ENDPOINT")
        .output()
        .unwrap();
    let said = said(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("missing: Java 17"), "{said}");
    assert!(said.lines().count() <= 2, "{said}");
}

#[test]
fn the_contract_is_told() {
    let output = kcl().args(["drill", "--contract"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for word in ["WORKER_ID", "KINESIS_ENDPOINT", "DYNAMODB_ENDPOINT", "shard_start", "SIGTERM"] {
        assert!(text.contains(word), "{word}: {text}");
    }
}
