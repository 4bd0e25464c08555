//! A processor declared as blocking cannot be cut: it may run past its worker's validity, and that
//! is told. Real threads, real clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kcl_core::{
    Checkpointer, Clock, Config, EventKind, Handle, LeaseTable, ProcessorError, ProcessorKind,
    RecordBatch, RecordProcessor, Scheduler, ShardStart, SystemClock, async_trait,
};
use kcl_lease_local::MemoryLeaseTable;
use kcl_stream_local::{Engine, NewRecord, Stream, StreamOptions};
use kcl_testkit::history::{Recorder, What};

use crate::fleet::Cable;

/// Blocks its thread for as long as it was made to, once.
struct Blocks {
    first: Duration,
    given: Arc<AtomicU64>,
}

#[async_trait]
impl RecordProcessor for Blocks {
    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        _: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        self.given.fetch_add(batch.records.len() as u64, Ordering::Relaxed);
        std::thread::sleep(std::mem::take(&mut self.first));
        Ok(())
    }
}

fn start(
    name: &str,
    table: impl LeaseTable,
    stream: &Stream,
    recorder: &Recorder,
    first: Duration,
) -> (Handle, Arc<AtomicU64>) {
    let config = Config::new("app")
        .worker_name(name)
        .lease_duration(Duration::from_millis(300))
        .processor_kind(ProcessorKind::Blocking)
        .blocking_grace(Duration::from_millis(100))
        .observer(Arc::new(recorder.clone()));
    let given = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&given);
    let factory = move |_: &ShardStart| Blocks { first, given: Arc::clone(&counted) };
    let source = Arc::new(stream.source());
    let scheduler = Scheduler::new(config, Arc::new(table), source, factory).unwrap();
    let handle = scheduler.handle();
    tokio::spawn(scheduler.run());
    (handle, given)
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let started = SystemClock.monotonic();
    while !is_so() {
        let waited = SystemClock.monotonic().since(started);
        assert!(waited < Duration::from_secs(30), "waited in vain: {what}");
        SystemClock.sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocking_call_that_outlives_validity_and_grace_is_told_as_an_overrun() {
    let engine = Engine::new(Arc::new(SystemClock));
    let stream = engine.create_stream("s", 1, StreamOptions::unlimited()).unwrap();
    let recorder = Recorder::new(Arc::new(SystemClock));
    let table = MemoryLeaseTable::new();
    let cable = Cable::new(&table);
    let long = Duration::from_millis(1_500);
    let (blocked, given) = start("blocked", cable.clone(), &stream, &recorder, long);
    until("the shard is held", || blocked.status().shards.len() == 1).await;
    stream.put(NewRecord::new("k", "data")).unwrap();
    until("the call runs", || given.load(Ordering::Relaxed) == 1).await;
    cable.pull();
    let (next, again) = start("next", table, &stream, &recorder, Duration::ZERO);
    until("the next owner has the record", || again.load(Ordering::Relaxed) == 1).await;
    let overruns = || {
        let history = recorder.history();
        let past = history.iter().filter_map(|entry| match &entry.what {
            What::Event(event) => match event.kind {
                EventKind::Overrun { past, .. } => Some(past),
                _ => None,
            },
            _ => None,
        });
        past.collect::<Vec<_>>()
    };
    until("the overrun is told", || !overruns().is_empty()).await;
    assert_eq!(overruns().len(), 1);
    assert!(overruns()[0] > Duration::from_millis(100), "past the grace: {:?}", overruns());
    next.shutdown().await;
}
