//! Liveness has a client, a pool and a timeout of its own: what chokes the others' requests does
//! not cost a heartbeat.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use kcl_core::{
    Config, ConsumerConfig, Handle, LeaseTable, RecordBatch, Scan, Scheduler, StreamSource,
    SystemClock, closure,
};
use kcl_lease_dynamo::DynamoLeaseTable;
use kcl_protocol::{Row, WorkerState};
use kcl_stream_local::{Engine, NewRecord, Stream, StreamOptions};

use crate::canned::{answer, error};
use crate::local::{client_of, endpoint, table};
use crate::proxy::{forward, proxy};

const LEASE_DURATION: Duration = Duration::from_secs(3);

/// A way to the table that can be stopped up: requests are taken in, and nobody answers; or made
/// narrow: nine in ten are throttled.
#[derive(Clone, Default)]
struct Throat {
    is_choked: Arc<AtomicBool>,
    is_narrow: Arc<AtomicBool>,
    /// Requests that came while it was either.
    came: Arc<AtomicU64>,
}

impl Throat {
    async fn open(&self, upstream: &str) -> String {
        let throat = self.clone();
        proxy(upstream, move |upstream, request| throat.clone().pass(upstream, request)).await
    }

    async fn pass(self, upstream: String, request: Vec<u8>) -> Option<Vec<u8>> {
        if self.is_choked.load(Ordering::SeqCst) {
            self.came.fetch_add(1, Ordering::SeqCst);
            // The connection stays taken: the pool behind it fills up with such ones.
            std::future::pending::<()>().await;
        }
        if self.is_narrow.load(Ordering::SeqCst) {
            let number = self.came.fetch_add(1, Ordering::SeqCst) + 1;
            if !number.is_multiple_of(10) {
                return Some(answer(400, &error("ProvisionedThroughputExceededException")));
            }
        }
        Some(forward(&upstream, &request).await)
    }
}

fn start(
    name: &str,
    data: &DynamoLeaseTable,
    liveness: DynamoLeaseTable,
    stream: &Stream,
    seen: &Arc<AtomicU64>,
) -> (Handle, tokio::task::JoinHandle<()>) {
    let consumer =
        ConsumerConfig { checkpoint_interval: LEASE_DURATION / 3, ..ConsumerConfig::default() };
    let config = Config::new("app")
        .worker_name(name)
        .consumer(consumer)
        .lease_duration(LEASE_DURATION)
        .blocking_grace(Duration::ZERO);
    let seen = Arc::clone(seen);
    let count = closure::batches(move |batch: &RecordBatch| {
        seen.fetch_add(batch.records.len() as u64, Ordering::SeqCst);
        Ok(())
    });
    let source: Arc<dyn StreamSource> = Arc::new(stream.source());
    let scheduler = Scheduler::new(config, Arc::new(data.clone()), source, count).unwrap();
    let scheduler = scheduler.liveness_table(Arc::new(liveness));
    let handle = scheduler.handle();
    (handle, tokio::spawn(async move { scheduler.run().await.unwrap() }))
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("a minute passed without: {what}");
}

/// Heartbeats and state of every worker that ever was, by name.
async fn workers(table: &DynamoLeaseTable) -> Vec<(String, WorkerState, u64)> {
    let rows = table.scan(Scan::Coordination).await.unwrap();
    let rows = rows.into_iter().filter_map(|row| match row {
        Row::Worker(row) => Some((row.id.to_string(), row.state, row.heartbeat)),
        _ => None,
    });
    rows.collect()
}

/// Two workers, of which the first has its data through a throat; what becomes of them while it is
/// not open, for so many lease durations. The requests that came to it meanwhile.
async fn nothing_moves(name: &str, durations: u32, shut: impl Fn(&Throat, bool)) -> Option<u64> {
    let (_, direct) = table(name).await?;
    let throat = Throat::default();
    let url = throat.open(&endpoint().unwrap()).await;
    let heartbeat = LEASE_DURATION / 3;
    // Far above a lease duration: hung requests stay in the pool.
    let choked = direct.for_liveness(&client_of(&url), LEASE_DURATION * 3);
    let beats = || direct.for_liveness(&client_of(&endpoint().unwrap()), heartbeat);
    let engine = Engine::new(Arc::new(SystemClock));
    let stream = engine.create_stream("orders", 4, StreamOptions::unlimited()).unwrap();
    let seen = Arc::new(AtomicU64::new(0));
    let (first, first_ran) = start("first", &choked, beats(), &stream, &seen);
    let (second, second_ran) = start("second", &direct, beats(), &stream, &seen);
    let held = |handle: &Handle| handle.status().shards.len();
    until("two shards each", || held(&first) == 2 && held(&second) == 2).await;
    let before = workers(&direct).await;
    shut(&throat, true);
    // Checkpoints become due, and fail; and so does whatever else the first one asks.
    for round in 0..durations * 2 {
        for key in 0..20 {
            stream.put(NewRecord::new(format!("key-{round}-{key}"), vec![0; 8])).unwrap();
        }
        tokio::time::sleep(LEASE_DURATION / 2).await;
    }
    let (came, put) = (throat.came.load(Ordering::SeqCst), u64::from(durations) * 40);
    assert!(came > 0, "nothing was choked");
    until("all records are processed", || seen.load(Ordering::SeqCst) >= put).await;
    assert_eq!(seen.load(Ordering::SeqCst), put, "each at the worker that has its shard");
    assert_eq!((held(&first), held(&second)), (2, 2), "nothing moves");
    for (id, state, heartbeat) in workers(&direct).await {
        let former = before.iter().find(|(other, ..)| *other == id).map(|(_, _, count)| *count);
        let beats = former.map(|former| heartbeat - former);
        assert_eq!(state, WorkerState::Live, "{id}");
        // Three are due in a lease duration.
        assert!(beats >= Some(u64::from(durations) * 3 / 2), "{id}: {beats:?} heartbeats");
    }
    shut(&throat, false);
    for (handle, ran) in [(first, first_ran), (second, second_ran)] {
        handle.shutdown().await;
        ran.await.unwrap();
    }
    Some(came)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heartbeats_go_on_and_nothing_moves_while_every_other_request_hangs() {
    let choke = |throat: &Throat, shut| throat.is_choked.store(shut, Ordering::SeqCst);
    nothing_moves("choked", 3, choke).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_throttled_table_is_asked_less_and_nothing_moves() {
    let narrow = |throat: &Throat, shut| throat.is_narrow.store(shut, Ordering::SeqCst);
    let Some(came) = nothing_moves("throttled", 5, narrow).await else { return };
    // Two checkpoints, each tried again after 50 ms, 100 ms and so on, up to 2 s: about 20 times in
    // these 15 s. Without growing pauses it would be more than 300 times.
    assert!((10..=100).contains(&came), "{came} requests in five lease durations");
}
