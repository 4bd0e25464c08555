//! `kcl serve` with what it cannot use: it ends at once, and its one line names the thing and the
//! way out.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

fn serve(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kcl"));
    command.arg("serve").args(arguments).stdin(Stdio::null());
    command
}

/// What it says when it does not start.
fn refused(arguments: &[&str]) -> String {
    let output = serve(arguments).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "{arguments:?} started");
    assert!(output.stdout.is_empty(), "{arguments:?}");
    assert!(!told.contains("panicked") && told.lines().count() <= 6, "{arguments:?}: {told}");
    told
}

/// A server that runs until it is dropped, and its port.
struct Running(Child, String);

impl Running {
    fn start(arguments: &[&str]) -> Self {
        let mut process = serve(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().rsplit(':').next().unwrap().to_owned();
        Self(process, port)
    }
    fn stop(mut self) {
        let terminate = ["-TERM", &self.0.id().to_string()];
        Command::new("kill").args(terminate).status().unwrap();
        assert!(self.0.wait().unwrap().success(), "it ends well when told to");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn ports_and_addresses_that_cannot_be_had_are_named() {
    assert!(refused(&["--port", "99999"]).contains("99999"));
    let running = Running::start(&["--port", "0"]);
    let told = refused(&["--port", &running.1]);
    assert!(told.contains("cannot listen on 127.0.0.1") && told.contains("another port"), "{told}");
    running.stop();
    let told = refused(&["--port", "0", "--bind", "0.0.0.0"]);
    assert!(told.contains("--auth") && told.contains("--tls-cert"), "{told}");
    for memory in ["0", "16777217", "much"] {
        let told = refused(&["--port", "0", "--memory-mib", memory]);
        assert!(told.contains("--memory-mib") && told.contains(memory), "{told}");
    }
    assert!(refused(&["--bind", "nowhere"]).contains("nowhere"));
    assert!(refused(&["--streams", "orders:none"]).contains("NAME:SHARDS"));
    assert!(refused(&["--streams", "orders:0"]).contains("at least 1 shard"));
    assert!(refused(&["--port", "0", "--streams", "a b:1"]).contains("a b"));
}

/// What it says on the standard error until it is told to end.
fn says(arguments: &[&str]) -> String {
    let mut command = serve(arguments);
    command.env_remove("RUST_LOG").stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    Command::new("kill").args(["-TERM", &process.id().to_string()]).status().unwrap();
    let output = process.wait_with_output().unwrap();
    assert!(output.status.success() && line.starts_with("listening on "), "{line}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn an_open_endpoint_warns_that_it_is_and_one_with_keys_does_not() {
    let told = says(&["--port", "0"]);
    assert!(told.contains("WARN") && told.contains("nobody is asked for a key"), "{told}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.toml");
    std::fs::write(&file, "[[key]]\nid = \"A\"\nsecret = \"0123456789abcdef\"").unwrap();
    assert_eq!(says(&["--port", "0", "--auth", text(&file)]), "");
}

#[test]
fn where_it_listens_need_not_be_read() {
    let mut command = serve(&["--port", "0"]);
    command.env_remove("RUST_LOG").stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().unwrap();
    drop(process.stdout.take());
    // What it warns of comes first, and once it heeds signals.
    let mut told = String::new();
    let mut errors = BufReader::new(process.stderr.take().unwrap());
    errors.read_line(&mut told).unwrap();
    Command::new("kill").args(["-TERM", &process.id().to_string()]).status().unwrap();
    errors.read_to_string(&mut told).unwrap();
    assert!(process.wait().unwrap().success(), "{told}");
}

#[test]
fn files_of_keys_and_certificates_are_named_with_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    let missing = text(&missing);
    let told = refused(&["--port", "0", "--auth", missing]);
    assert!(told.contains(missing) && told.contains("No such file"), "{told}");
    let file = folder.path().join("keys.toml");
    for (content, named) in [
        ("[[key]", "keys.toml"),
        ("", "key"),
        ("[[key]]\nid = \"A\"\nsecret = \"short\"", "secret"),
        ("[[key]]\nid = \"A\"\nsecret = \"0123456789abcdef\"\nother = 1", "other"),
    ] {
        std::fs::write(&file, content).unwrap();
        let told = refused(&["--port", "0", "--auth", text(&file)]);
        assert!(told.contains(named) && told.contains("keys.toml"), "{content:?}: {told}");
        assert!(!told.contains("0123456789abcdef"), "a secret was shown: {told}");
    }
    let told = refused(&["--port", "0", "--tls-cert", missing]);
    assert!(told.contains("--tls-key"), "{told}");
    let told = refused(&["--port", "0", "--tls-cert", missing, "--tls-key", missing]);
    assert!(told.contains("TLS") && told.contains(missing), "{told}");
    std::fs::write(&file, "no certificate").unwrap();
    let told = refused(&["--port", "0", "--tls-cert", text(&file), "--tls-key", text(&file)]);
    assert!(told.contains("certificate"), "{told}");
}

#[test]
fn folders_that_cannot_be_used_are_named_with_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let told = refused(&["--port", "0", "--data", text(&file)]);
    assert!(told.contains(text(&file)) && told.contains("cannot make the folder"), "{told}");

    let data = folder.path().join("data");
    let running = Running::start(&["--port", "0", "--data", text(&data), "--streams", "s:1"]);
    let told = refused(&["--port", "0", "--data", text(&data)]);
    let id = running.0.id().to_string();
    assert!(told.contains("in use by process") && told.contains(&id), "{told}");
    running.stop();

    let stream = std::fs::read_dir(data.join("streams")).unwrap().next().unwrap().unwrap().path();
    let segment = std::fs::read_dir(&stream).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[10] ^= 1;
    std::fs::write(&segment, &bytes).unwrap();
    assert!(refused(&["--port", "0", "--data", text(&data)]).contains(text(&segment)));
    std::fs::write(data.join("meta.redb"), "no database").unwrap();
    assert!(refused(&["--port", "0", "--data", text(&data)]).contains("meta.redb"));
}
