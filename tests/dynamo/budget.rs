//! What workers ask of the table, counted on the wire, against the protocol's budget; and how long
//! a start takes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kcl_core::{Clock, Config, Handle, RecordBatch, Scheduler, SystemClock, WorkerError, closure};
use kcl_lease_dynamo::{DynamoLeaseTable, RequestCounts, TableOptions};
use kcl_stream_local::{Engine, Stream, StreamOptions};
use tokio::task::JoinHandle;

use crate::counting::{Seen, counting_proxy};
use crate::local::{client_of, endpoint, unique};

fn writes(seen: &BTreeMap<String, u64>) -> u64 {
    let writes = ["PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems"];
    writes.iter().filter_map(|operation| seen.get(*operation)).sum()
}

/// Workers of one application, each with a table value and a heartbeat client of its own, as in
/// processes of their own.
struct Fleet {
    endpoint: String,
    name: String,
    stream: Stream,
    duration: Duration,
    tables: Vec<DynamoLeaseTable>,
}

type Worker = (Handle, JoinHandle<Result<(), WorkerError>>);

impl Fleet {
    fn new(endpoint: String, shards: u32, duration: Duration) -> Self {
        let engine = Engine::new(Arc::new(SystemClock));
        let stream = engine.create_stream("orders", shards, StreamOptions::unlimited()).unwrap();
        Self { endpoint, name: unique("budget"), stream, duration, tables: Vec::new() }
    }

    fn start(&mut self) -> Worker {
        let table = DynamoLeaseTable::builder(client_of(&self.endpoint), &self.name)
            .create_if_missing(TableOptions::default())
            .build();
        let beats = table.for_liveness(&client_of(&self.endpoint), self.duration / 3);
        self.tables.extend([table.clone(), beats.clone()]);
        let nothing = closure::batches(|_: &RecordBatch| Ok(()));
        let config = Config::new(&self.name).lease_duration(self.duration);
        let source = Arc::new(self.stream.source());
        let worker = Scheduler::new(config, Arc::new(table), source, nothing).unwrap();
        let worker = worker.liveness_table(Arc::new(beats));
        (worker.handle(), tokio::spawn(async move { worker.run().await.map(drop) }))
    }

    fn counted(&self) -> RequestCounts {
        let mut all = RequestCounts::default();
        for table in &self.tables {
            let one = table.requests();
            all.reads += one.reads;
            all.scan_pages += one.scan_pages;
            all.puts += one.puts;
            all.updates += one.updates;
            all.deletes += one.deletes;
            all.transactions += one.transactions;
            all.control += one.control;
        }
        all
    }
}

fn held(worker: &Worker) -> usize {
    worker.0.status().shards.len()
}

async fn until(holds: impl Fn() -> bool, what: &str) {
    for _ in 0..12_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("a minute passed without: {what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_fleet_of_200_leases_and_4_workers_writes_at_most_5_times_a_second() {
    const WORKERS: u64 = 4;
    const INTERVALS: u32 = 15;
    let Some(upstream) = endpoint() else { return };
    let seen = Seen::default();
    let proxy = counting_proxy(&upstream, Arc::clone(&seen)).await;
    let duration = Duration::from_secs(3);
    let mut fleet = Fleet::new(proxy, 200, duration);
    let workers: Vec<Worker> = (0..WORKERS).map(|_| fleet.start()).collect();
    until(|| workers.iter().all(|worker| held(worker) == 50), "50 shards each").await;
    // The end of what the moves brought with them.
    tokio::time::sleep(duration).await;
    let (before, counted) = (seen.lock().unwrap().clone(), fleet.counted());
    let heartbeat = duration / 3;
    tokio::time::sleep(heartbeat * INTERVALS).await;
    let (after, now) = (seen.lock().unwrap().clone(), fleet.counted());
    let of =
        |seen: &BTreeMap<String, u64>, operation: &str| seen.get(operation).copied().unwrap_or(0);
    let grown = |operation: &str| of(&after, operation) - of(&before, operation);
    // The budget: each worker writes its heartbeat and scans the worker rows once an interval;
    // nothing grows with the leases. A round a minute adds one write, and reads of its winner.
    let beats = WORKERS * u64::from(INTERVALS + 1);
    let written = writes(&after) - writes(&before);
    assert!(written <= beats + 1, "{written} writes, {beats} heartbeats: {before:?} {after:?}");
    let per_second = written as f64 / (heartbeat * INTERVALS).as_secs_f64();
    println!("idle: {per_second:.2} writes/s, {} scans, {} reads", grown("Scan"), grown("GetItem"));
    assert!(per_second <= 5.0, "{per_second} writes a second");
    assert!(grown("Scan") <= beats + 2 * WORKERS, "{before:?} {after:?}");
    assert!(grown("GetItem") <= 2 * WORKERS, "{before:?} {after:?}");
    // What the tables count is what was on the wire, but for requests on their way just then:
    // nothing below them repeats requests.
    let (sent, arrived) = (now.total() - counted.total(), after.values().sum::<u64>());
    let arrived = arrived - before.values().sum::<u64>();
    assert!(sent.abs_diff(arrived) <= 2 * WORKERS, "{sent} sent, {arrived} arrived");
    for (handle, running) in workers {
        handle.shutdown().await;
        running.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_starts_on_a_new_table_soon_holds_all_64_shards() {
    let Some(endpoint) = endpoint() else { return };
    let mut fleet = Fleet::new(endpoint, 64, Duration::from_millis(1500));
    let started = SystemClock.monotonic();
    let worker = fleet.start();
    until(|| held(&worker) == 64, "all 64 shards").await;
    let took = SystemClock.monotonic().since(started);
    println!("start on a new table to 64 shards held: {took:?}, {:?}", fleet.counted());
    // Under 3 s on a machine of its own; tests share theirs.
    assert!(took < Duration::from_secs(10), "{took:?}");
    worker.0.shutdown().await;
    worker.1.await.unwrap().unwrap();
}
