//! Real worker processes, killed, frozen and replaced: the short set of the failover drills.
//!
//! `kcl drill all` is the whole set; docs/drills.md has its numbers.

mod doors;
mod example;
mod foreign;
mod orphans;
mod short;
mod slow_table;

use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

/// One drill at a time: a second one beside it would spoil its times.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn kcl() -> Command {
    Command::new(env!("CARGO_BIN_EXE_kcl"))
}

/// Plays a drill; its report.
fn play(words: &[&str]) -> Value {
    // 3: everything is well, but the machine was too busy for any of the times to count.
    play_to(words, &[0, 3])
}

/// Plays a drill that ends in one of these exit codes; its report.
fn play_to(words: &[&str], codes: &[i32]) -> Value {
    play_and_show(words, codes).0
}

/// Plays a drill that ends in one of these exit codes; its report, and what the terminal shows.
fn play_and_show(words: &[&str], codes: &[i32]) -> (Value, String) {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let (json, plot) = (folder.path().join("report.json"), folder.path().join("report.svg"));
    let output = kcl()
        .arg("drill")
        .args(words)
        .arg("--json")
        .arg(&json)
        .arg("--plot")
        .arg(&plot)
        // The log of a drill that found something stays.
        .env("TMPDIR", folder.path())
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    println!("{shown}");
    let code = output.status.code();
    if !code.is_some_and(|code| codes.contains(&code)) {
        let kept = folder.keep();
        panic!("{code:?}, logs are in {}: {}", kept.display(), said(&output));
    }
    assert!(std::fs::read_to_string(&plot).unwrap().starts_with("<svg"));
    (serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap(), shown)
}

fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
