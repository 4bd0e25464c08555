//! The programs of the examples for the service, run as their users run them.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use kcl_core::{ReadFrom, ReadOutcome, StreamSource};
use kcl_endpoint::{Endpoint, EndpointConfig};
use kcl_records::UnpackedSource;
use kcl_stream_kinesis::KinesisSource;
use kcl_stream_local::Throughput;
use serde_json::Value;

use crate::harness::put;
use crate::kcl_built::built;
use crate::local;
use crate::pushed::LIMIT;

fn program(name: &str) -> PathBuf {
    built(&["-p", "examples", "--features", "aws", "--bin", name], name)
}

/// Runs a program to its end while the endpoint of this test serves it.
async fn output(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn producer(url: &str, words: &[&str]) -> Command {
    let mut command = Command::new(program("producer"));
    command.args(words).args(["--endpoint-url", url, "--patience", "2", "--json"]);
    command
}

const ROWS: u32 = 500;

/// A file of comma-separated values with a line of names, its keys in the second column.
fn rows() -> (tempfile::NamedTempFile, Vec<String>) {
    let lines: Vec<_> = (0..ROWS).map(|row| format!("{row},\"key, {}\",x", row % 7)).collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("row,key,data\n{}\n", lines.join("\n"))).unwrap();
    (file, lines)
}

#[tokio::test]
async fn the_producer_puts_the_lines_of_a_file_in_aggregates_by_the_key_of_a_column() {
    let endpoint = local::endpoint(2).await;
    let (file, lines) = rows();
    let path = file.path().to_str().unwrap();
    let words = ["s", path, "--header", "--key-column", "2", "--aggregate"];
    let put = output(producer(&endpoint.url(), &words)).await;
    assert!(put.status.success(), "{}", String::from_utf8_lossy(&put.stderr));
    let told: Value = serde_json::from_slice(&put.stdout).unwrap();
    assert_eq!((&told["put"], &told["failed"]), (&ROWS.into(), &0.into()), "{told:#}");
    assert!(told["stream_records"].as_u64() < Some(20), "{told:#}");
    let source = KinesisSource::builder(local::client(&endpoint), "s").build();
    let source = UnpackedSource::new(source);
    let mut read: Vec<(String, String)> = Vec::new();
    for shard in source.list_shards().await.unwrap() {
        let mut reader = source.open(&shard.id, ReadFrom::TrimHorizon).await.unwrap();
        while let ReadOutcome::Records { records, .. } = reader.next(LIMIT).await.unwrap() {
            read.extend(records.iter().map(|record| {
                let line = String::from_utf8_lossy(&record.data).into_owned();
                (record.partition_key.as_str().to_owned(), line)
            }));
        }
    }
    for key in 0..7 {
        let name = format!("key, {key}");
        let of_key = read.iter().filter(|(found, _)| *found == name).map(|(_, line)| line);
        let expected = lines.iter().skip(key).step_by(7);
        assert_eq!(of_key.collect::<Vec<_>>(), expected.collect::<Vec<_>>(), "{name}");
    }
    assert_eq!(read.len(), lines.len());
}

#[tokio::test]
async fn the_producer_ends_with_1_where_lines_were_not_put_or_have_no_key() {
    let endpoint = local::endpoint(1).await;
    let (file, _) = rows();
    let path = file.path().to_str().unwrap();
    let nowhere = output(producer(&endpoint.url(), &["nowhere", path, "--header"])).await;
    let said = String::from_utf8_lossy(&nowhere.stderr);
    assert_eq!(nowhere.status.code(), Some(1), "{said}");
    assert!(said.contains("the stream does not exist"), "{said}");
    let told: Value = serde_json::from_slice(&nowhere.stdout).unwrap();
    assert_eq!((&told["put"], &told["failed"]), (&0.into(), &ROWS.into()), "{told:#}");
    let keyless = output(producer(&endpoint.url(), &["s", path, "--key-column", "9"])).await;
    let said = String::from_utf8_lossy(&keyless.stderr);
    assert_eq!(keyless.status.code(), Some(1), "{said}");
    assert!(said.contains("line 1 has no column 9 with a key"), "{said}");
    let wrong = output(producer(&endpoint.url(), &["s", path, "--key-column", "0"])).await;
    assert_eq!(wrong.status.code(), Some(2));
}

/// A worker that runs; it ends with this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    /// Starts it; what it writes is told.
    fn start(url: &str, words: &[&str], tell: &mpsc::SyncSender<String>) -> Self {
        Self::start_in(url, &[], words, tell)
    }
    /// Starts it with these variables in its environment.
    fn start_in(
        url: &str,
        variables: &[(&str, &str)],
        words: &[&str],
        tell: &mpsc::SyncSender<String>,
    ) -> Self {
        let mut command = Command::new(program("kinesis_worker"));
        command.args(["--stream", "s", "--kinesis", url]).args(words);
        command.envs(variables.iter().copied());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let outputs: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for output in outputs {
            let tell = tell.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    let _ = tell.send(line);
                }
            });
        }
        Self(child)
    }
    /// Asks it to leave, and waits until it has.
    fn leave(mut self) {
        let id = self.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        for _ in 0..600 {
            if let Some(status) = self.0.try_wait().unwrap() {
                return assert!(status.success(), "{status}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        self.0.kill().unwrap();
        panic!("it did not leave within 30 s");
    }
}

/// The next line with these words.
fn said(lines: &mpsc::Receiver<String>, words: &str) -> String {
    loop {
        let line = lines.recv_timeout(Duration::from_secs(30)).expect(words);
        if line.contains(words) {
            return line;
        }
    }
}

#[tokio::test]
async fn the_worker_with_leases_in_a_file_goes_on_where_it_was_when_it_is_started_again() {
    let endpoint = local::endpoint(1).await;
    let (url, client) = (endpoint.url(), local::client(&endpoint));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("leases.redb").to_str().unwrap().to_owned();
    for text in ["one", "two"] {
        put(&client, 0, text.as_bytes()).await;
        let (url, file) = (url.clone(), file.clone());
        let played = tokio::task::spawn_blocking(move || {
            let (tell, lines) = mpsc::sync_channel(1_000);
            let words = ["--application", "a", "--leases", "file", "--lease-file", &file];
            let worker = Running::start(&url, &words, &tell);
            let records = said(&lines, "\"ids\"");
            assert!(records.contains(&format!("[\"{text}\"]")), "nothing twice: {records}");
            worker.leave();
        });
        played.await.unwrap();
    }
}

#[tokio::test]
async fn the_worker_that_starts_at_latest_by_word_or_variable_reads_only_what_comes_after() {
    let clock = local::Forward::default();
    let config = EndpointConfig {
        streams: vec![("s".to_owned(), 1)],
        throughput: Throughput::Unlimited,
        clock: Arc::new(clock.clone()),
        ..EndpointConfig::default()
    };
    let endpoint = Endpoint::start(config).await.unwrap();
    let (url, client) = (endpoint.url(), local::client(&endpoint));
    put(&client, 0, b"before").await;
    // The latest of Kinesis is what came in the five seconds before, so that nothing is missed.
    clock.by(Duration::from_secs(10));
    let started = tokio::task::spawn_blocking(move || {
        let memory = ["--leases", "memory", "--application"];
        let by_word = [&memory[..], &["a", "--start", "LATEST"]].concat();
        let by_variable = [&memory[..], &["b"]].concat();
        let ways = [(vec![], by_word), (vec![("START_POSITION", "LATEST")], by_variable)];
        ways.map(|(variables, words)| {
            let (tell, lines) = mpsc::sync_channel(1_000);
            let worker = Running::start_in(&url, &variables, &words, &tell);
            said(&lines, "\"shard_start\"");
            (worker, lines)
        })
    });
    let started = started.await.unwrap();
    put(&client, 0, b"after").await;
    let played = tokio::task::spawn_blocking(move || {
        for (worker, lines) in started {
            let records = said(&lines, "\"ids\"");
            assert!(records.contains("[\"after\"]"), "{records}");
            worker.leave();
        }
    });
    played.await.unwrap();
}

/// The aggregates' first bytes, and nothing that could follow them.
const BROKEN: &[u8] = b"\xF3\x89\x9A\xC2 broken";

#[tokio::test]
async fn the_worker_says_on_its_standard_error_why_a_shard_is_parked_and_what_was_read_in_the_end()
{
    let endpoint = local::endpoint(1).await;
    let (url, client) = (endpoint.url(), local::client(&endpoint));
    put(&client, 0, b"one").await;
    put(&client, 0, BROKEN).await;
    let played = tokio::task::spawn_blocking(move || {
        let (tell, lines) = mpsc::sync_channel(1_000);
        let worker = Running::start(&url, &["--application", "a", "--leases", "memory"], &tell);
        let parked = said(&lines, "kinesis_worker: parked ");
        assert!(parked.contains("shardId-000000000000"), "{parked}");
        assert!(parked.contains("aggregate"), "the reason: {parked}");
        worker.leave();
        let counted = said(&lines, "kinesis_worker: SourceCounters");
        assert!(!counted.contains("records: 0,"), "{counted}");
    });
    played.await.unwrap();
}

#[tokio::test]
async fn the_worker_says_on_its_standard_error_when_a_shard_is_in_trouble() {
    let endpoint = local::endpoint(1).await;
    let (url, client) = (endpoint.url(), local::client(&endpoint));
    put(&client, 0, b"one").await;
    let played = tokio::task::spawn_blocking(move || {
        let (tell, lines) = mpsc::sync_channel(1_000);
        let worker = |application: &str| {
            let words = ["--application", application, "--leases", "memory", "--consumer", "c"];
            Running::start(&url, &words, &tell)
        };
        // Whichever comes second is refused, or takes the shard from the other.
        let _both = [worker("a"), worker("b")];
        said(&lines, "the consumer has another subscription to the shard");
    });
    played.await.unwrap();
}
