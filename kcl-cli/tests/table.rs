//! `kcl table` on DynamoDB Local: `scripts/dynamodb-local exec -- cargo test -p kcl-cli`.

use std::collections::HashMap;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Config as ClientConfig, Credentials, Region};
use aws_sdk_dynamodb::types::AttributeValue;
use kcl_core::protocol::{Fence, Row, RowKey, TableRow};
use kcl_core::{
    Config, Handle, LeaseTable, RecordBatch, Scan, Scheduler, SystemClock, WorkerError, closure,
};
use kcl_lease_dynamo::{DynamoLeaseTable, TableOptions};
use kcl_stream_local::{Engine, Stream, StreamOptions};
use kcl_testkit::dynamodb_local::ENDPOINT_VARIABLE;
use serde_json::Value;
use tokio::task::JoinHandle;

/// DynamoDB Local; without one the tests say so and pass, except in CI.
fn endpoint() -> Option<String> {
    let named = std::env::var(ENDPOINT_VARIABLE).ok().filter(|named| !named.is_empty());
    if named.is_none() {
        let why = "run with scripts/dynamodb-local exec -- cargo test -p kcl-cli";
        assert!(std::env::var_os("CI").is_none(), "{why}");
        eprintln!("skipped: {why}");
    }
    named
}

/// An application with tables of its own.
struct App {
    endpoint: String,
    name: String,
    client: Client,
    table: DynamoLeaseTable,
    stream: Stream,
}

impl App {
    async fn new() -> Option<Self> {
        let endpoint = endpoint()?;
        let config = ClientConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("local", "local", None, None, "tests"))
            .endpoint_url(&endpoint)
            .build();
        let client = Client::from_conf(config);
        let name = format!("cli-{}", uuid::Uuid::new_v4().simple());
        let table = DynamoLeaseTable::builder(client.clone(), &name)
            .create_if_missing(TableOptions::default())
            .request_timeout(Duration::from_secs(30))
            .build();
        let engine = Engine::new(Arc::new(SystemClock));
        let stream = engine.create_stream("orders", 2, StreamOptions::unlimited()).unwrap();
        Some(Self { endpoint, name, client, table, stream })
    }

    fn worker(&self) -> (Handle, JoinHandle<Result<(), WorkerError>>) {
        let nothing = closure::batches(|_: &RecordBatch| Ok(()));
        let config = Config::new(&self.name).lease_duration(Duration::from_millis(1500));
        let source = Arc::new(self.stream.source());
        let worker = Scheduler::new(config, Arc::new(self.table.clone()), source, nothing);
        let worker = worker.unwrap();
        (worker.handle(), tokio::spawn(async move { worker.run().await.map(drop) }))
    }

    /// Runs one until it holds both shards; ends it as a crash would, or leaves it running.
    async fn run_worker(&self) -> (Handle, JoinHandle<Result<(), WorkerError>>) {
        let (handle, running) = self.worker();
        for _ in 0..1500 {
            if handle.status().shards.len() == 2 {
                return (handle, running);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the worker never held both shards");
    }

    /// The table of leases deleted, made again, and its rows put back: what a restore leaves.
    async fn restore(&self) {
        let name = self.table.lease_table_name();
        let scan = self.client.scan().table_name(name).consistent_read(true).send().await;
        let rows: Vec<HashMap<String, AttributeValue>> = scan.unwrap().items.unwrap();
        assert_eq!(rows.len(), 2);
        self.client.delete_table().table_name(name).send().await.unwrap();
        self.table.prepare().await.unwrap();
        for row in rows {
            let put = self.client.put_item().table_name(name).set_item(Some(row));
            put.send().await.unwrap();
        }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kcl"));
        command.args(["table", args[0], &self.name, "--endpoint-url", &self.endpoint]);
        command.args(&args[1..]).env_remove("AWS_PROFILE");
        command
    }

    fn kcl(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn kcl_json(&self, args: &[&str]) -> Value {
        let output = self.kcl(&[args, &["--json"]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    async fn table_row(&self) -> TableRow {
        match self.table.read(&RowKey::Table).await.unwrap() {
            Some(Row::Table(row)) => row,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_table_is_refused_until_it_was_accepted() {
    let Some(app) = App::new().await else { return };
    // A crash: its row reads live.
    app.run_worker().await.1.abort();
    let before = app.kcl_json(&["accept-restored", "--yes"]);
    assert_eq!(before["outcome"], "not_needed");
    app.restore().await;
    let (_, refused) = app.worker();
    let refused = refused.await.unwrap().unwrap_err().to_string();
    assert!(refused.contains("kcl table accept-restored"), "{refused}");
    // Without --yes nothing changes.
    let row = app.table_row().await;
    let dry = app.kcl_json(&["accept-restored"]);
    assert_eq!((&dry["outcome"], &dry["generation"]), (&"would_accept".into(), &0.into()));
    assert_eq!((&dry["leases"], dry["live_workers"].as_array().unwrap().len()), (&2.into(), 1));
    assert_ne!(dry["table_id"], dry["bound_to"]);
    assert_eq!(app.table_row().await, row);
    let shown = app.kcl(&["show"]);
    assert!(String::from_utf8(shown.stdout).unwrap().contains("see kcl table accept-restored"));

    let done = app.kcl_json(&["accept-restored", "--yes"]);
    assert_eq!((&done["outcome"], &done["generation"]), (&"accepted".into(), &1.into()));
    let row = app.table_row().await;
    assert_eq!((row.table_id, row.generation), (app.table.prepare().await.unwrap(), 1));
    let (handle, running) = app.run_worker().await;
    for lease in app.table.scan(Scan::Leases).await.unwrap() {
        let lease = lease.into_lease().unwrap();
        assert!(lease.fence >= Fence(1 << 40), "{lease:?}");
    }
    handle.shutdown().await;
    running.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_in_use_is_shown_and_not_accepted() {
    let Some(app) = App::new().await else { return };
    let (handle, running) = app.run_worker().await;
    let shown = app.kcl_json(&["show"]);
    let (workers, leases) = (&shown["workers"], &shown["leases"]);
    assert_eq!((&workers[0]["state"], workers.as_array().unwrap().len()), (&"live".into(), 1));
    assert_eq!(leases.as_array().unwrap().len(), 2);
    for lease in leases.as_array().unwrap() {
        assert_eq!(lease["owner"], workers[0]["worker"]);
        assert_eq!((&lease["fence"], &lease["checkpoint"]), (&1.into(), &"TRIM_HORIZON".into()));
    }
    let text = String::from_utf8(app.kcl(&["show"]).stdout).unwrap();
    for word in [workers[0]["worker"].as_str().unwrap(), "shardId-000000000001", "Live"] {
        assert!(text.contains(word), "{word} is not in\n{text}");
    }
    // It is bound to itself; but a generation above is asked for, which must not happen under a
    // running worker.
    let refused = app.kcl(&["accept-restored", "--yes", "--above", "3"]);
    assert!(!refused.status.success());
    let why = String::from_utf8(refused.stderr).unwrap();
    assert!(why.contains("still run: stop them first"), "{why}");
    assert!(why.contains(workers[0]["worker"].as_str().unwrap()), "{why}");
    assert_eq!(app.table_row().await.generation, 0);
    handle.shutdown().await;
    running.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_is_shown_and_accepted_also_if_nobody_reads_on() {
    let Some(app) = App::new().await else { return };
    app.run_worker().await.1.abort();
    app.restore().await;
    for args in [
        &["show"][..],
        &["show", "--json"],
        &["accept-restored"],
        &["accept-restored", "--yes"],
        &["accept-restored", "--yes", "--json"],
    ] {
        let mut command = app.command(args);
        let mut kcl = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(kcl.stdout.take());
        let output = kcl.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && errors.is_empty(), "{args:?}: {errors}");
    }
    assert_eq!(app.table_row().await.generation, 1);
}

#[tokio::test]
async fn a_missing_table_is_named_with_the_remedy() {
    let Some(app) = App::new().await else { return };
    for command in ["show", "accept-restored"] {
        let refused = app.kcl(&[command]);
        assert!(!refused.status.success());
        let why = String::from_utf8(refused.stderr).unwrap();
        assert!(why.contains(&app.name) && why.contains("set-up"), "{why}");
    }
}
