//! `kcl stream` as a person types it, on an endpoint.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Output, Stdio};

struct Server {
    process: Child,
    url: String,
}

impl Server {
    fn start() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kcl"));
        command.args(["serve", "--port", "0", "--unlimited", "--transition-ms", "0"]);
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("listening on ").unwrap().to_owned();
        Self { process, url }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kcl"));
        command.arg("stream").args(arguments).args(["--endpoint-url", &self.url]);
        for name in ["AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_REGION", "AWS_ENDPOINT_URL"] {
            command.env_remove(name);
        }
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What it prints when all is well.
    fn prints(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_stream_is_made_listed_shown_and_deleted() {
    let server = Server::start();
    assert_eq!(server.prints(&["create", "orders", "--shards", "2"]), "orders: created\n");
    server.prints(&["create", "clicks"]);
    assert_eq!(server.prints(&["list"]), "clicks\norders\n");
    assert_eq!(server.prints(&["list", "--json"]).lines().next(), Some(r#"{"stream":"clicks"}"#));
    let described = server.prints(&["describe", "orders"]);
    assert!(described.starts_with("orders  ACTIVE  2 open of 2 shards"), "{described}");
    let described: serde_json::Value =
        serde_json::from_str(&server.prints(&["describe", "orders", "--json"])).unwrap();
    assert_eq!(described["shards"].as_array().unwrap().len(), 2);
    let kept = server.run(&["delete", "orders"]);
    assert!(!kept.status.success());
    assert!(String::from_utf8_lossy(&kept.stderr).contains("--yes"));
    server.prints(&["delete", "orders", "--yes"]);
    assert_eq!(server.prints(&["list"]), "clicks\n");
    let missing = server.run(&["describe", "orders"]);
    assert!(!missing.status.success());
    let says = String::from_utf8_lossy(&missing.stderr);
    assert!(says.contains("ResourceNotFoundException"), "{says}");
}

#[test]
fn tail_follows_a_stream_through_a_split_and_a_merge() {
    let server = Server::start();
    server.prints(&["create", "orders"]);
    let mut tail = server.command(&["tail", "orders", "--from", "trim-horizon", "--count", "9"]);
    let tail = tail.stdout(Stdio::piped()).spawn().unwrap();
    let put = |numbers: &[&str]| {
        let mut put = server.command(&["put", "orders", "--key", "k"]);
        let mut put = put.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let text = numbers.iter().map(|number| format!("{number}\n")).collect::<String>();
        put.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        assert!(put.wait().unwrap().success());
    };
    put(&["1", "2", "3"]);
    server.prints(&["split", "orders", "shardId-000000000000"]);
    put(&["4", "5", "6"]);
    server.prints(&["merge", "orders", "shardId-000000000001", "shardId-000000000002"]);
    put(&["7", "8"]);
    server.prints(&["put", "orders", "9", "--key", "k"]);
    let output = tail.wait_with_output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let data: Vec<_> = text.lines().map(|line| line.rsplit(' ').next().unwrap()).collect();
    assert_eq!(data, ["1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    let shards: std::collections::BTreeSet<_> =
        text.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(shards.len(), 3, "{shards:?}");
    let json =
        server.prints(&["tail", "orders", "--from", "trim-horizon", "--count", "1", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["data"], &json["partition_key"]), (&"1".into(), &"k".into()));
}

#[test]
fn lines_of_a_mebibyte_are_put_in_calls_that_the_service_takes() {
    let server = Server::start();
    server.prints(&["create", "orders"]);
    let put =
        server.command(&["put", "orders"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut put = put.unwrap();
    // Twelve of the largest, and after them more small ones than one call takes.
    let line = "x".repeat((1 << 20) - 10);
    let mut input = put.stdin.take().unwrap();
    let writer = std::thread::spawn(move || {
        for _ in 0..12 {
            writeln!(input, "{line}").unwrap();
        }
        for number in 0..1001 {
            writeln!(input, "{number}").unwrap();
        }
    });
    let output = put.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 1013);
}

#[test]
fn shells_get_their_completions() {
    for shell in ["bash", "zsh", "fish"] {
        let output = Command::new(env!("CARGO_BIN_EXE_kcl")).args(["completions", shell]).output();
        let output = output.unwrap();
        assert!(output.status.success());
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(
            script.contains("tail") && script.contains("trim-horizon") | script.contains("from")
        );
    }
}

#[test]
fn a_service_that_is_not_there_is_told_in_one_line() {
    for (url, why) in [("http://127.0.0.1:1", "refused"), ("nonsense", "scheme")] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kcl"));
        command.args(["stream", "list", "--endpoint-url", url]).stdin(Stdio::null());
        for name in ["AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_REGION"] {
            command.env_remove(name);
        }
        let output = command.output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && told.lines().count() == 1, "{told}");
        assert!(told.contains(why) && told.contains("--endpoint-url"), "{told}");
    }
}
