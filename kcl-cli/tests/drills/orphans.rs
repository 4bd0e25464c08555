//! However a drill ends, nothing that it started is left.

use std::process::{Child, Stdio};
use std::time::Duration;

use crate::{alone, kcl};

/// Everything that a drill starts inherits its environment.
const MARK: &str = "KCL_DRILL_TEST_MARK";

/// Processes that carry the mark, by what they run.
fn marked(mark: &str) -> Vec<String> {
    let wanted = format!("{MARK}={mark}");
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap() {
        let path = entry.unwrap().path();
        // Gone meanwhile, or not a process.
        let Ok(environment) = std::fs::read(path.join("environ")) else { continue };
        if environment.split(|byte| *byte == 0).any(|pair| pair == wanted.as_bytes()) {
            let command = std::fs::read(path.join("cmdline")).unwrap_or_default();
            found.push(String::from_utf8_lossy(&command).replace('\0', " "));
        }
    }
    found
}

fn workers(mark: &str) -> usize {
    marked(mark).iter().filter(|command| command.contains("drill-worker")).count()
}

fn tables(mark: &str) -> usize {
    marked(mark).iter().filter(|command| command.contains("local.main.ServerRunner")).count()
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..1200 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("a minute passed without: {what}");
}

/// With a DynamoDB Local of its own, so that its end is seen too.
fn begin(mark: &str) -> Child {
    kcl()
        .args(["drill", "kill", "--rounds", "100"])
        .env(MARK, mark)
        .env_remove("DDB_LOCAL_ENDPOINT")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn signal(child: &Child, name: &str) {
    let process = child.id().to_string();
    let sent = std::process::Command::new("kill").args(["-s", name, &process]).status();
    assert!(sent.unwrap().success());
}

fn nothing_is_left_after(name: &str, code: Option<i32>) {
    let _alone = alone();
    let mark = uuid::Uuid::new_v4().to_string();
    let mut child = begin(&mark);
    until("three workers", || workers(&mark) >= 3);
    assert!(tables(&mark) > 0, "{:?}", marked(&mark));
    signal(&child, name);
    let status = child.wait().unwrap();
    assert_eq!(status.code(), code);
    until("everything has ended", || marked(&mark).is_empty());
}

#[test]
fn nothing_is_left_after_ctrl_c() {
    nothing_is_left_after("INT", Some(130));
}

#[test]
fn nothing_is_left_after_sigkill_of_the_drill() {
    nothing_is_left_after("KILL", None);
}
