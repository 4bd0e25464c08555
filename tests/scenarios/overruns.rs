//! A processor declared as blocking cannot be cut: it may run past its worker's validity, and that
//! is told. Until it has returned, its process delivers that shard to no other. Real threads, real
//! clock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use kcl_core::protocol::Fence;
use kcl_core::{
    Checkpointer, Clock, Config, EventKind, Handle, LeaseTable, ProcessorError, ProcessorFactory,
    ProcessorKind, RecordBatch, RecordProcessor, Scheduler, ShardStart, SystemClock, async_trait,
    reaped,
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
    let given = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&given);
    let factory = move |_: &ShardStart| Blocks { first, given: Arc::clone(&counted) };
    (start_with(name, table, stream, recorder, factory), given)
}

fn start_with(
    name: &str,
    table: impl LeaseTable,
    stream: &Stream,
    recorder: &Recorder,
    factory: impl ProcessorFactory,
) -> Handle {
    let config = Config::new("app")
        .worker_name(name)
        .lease_duration(Duration::from_millis(300))
        .processor_kind(ProcessorKind::Blocking)
        .blocking_grace(Duration::from_millis(100))
        .observer(Arc::new(recorder.clone()));
    let source = Arc::new(stream.source());
    let scheduler = Scheduler::new(config, Arc::new(table), source, factory).unwrap();
    let handle = scheduler.handle();
    tokio::spawn(scheduler.run());
    handle
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
    let cable = Cable::new(&table, &recorder);
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Began(Fence),
    Returned(Fence),
}

/// Blocks its thread until it is let go, and tells when each call begins and returns.
#[derive(Clone, Default)]
struct Held {
    calls: Arc<Mutex<Vec<Call>>>,
    let_go: Arc<(Mutex<bool>, Condvar)>,
}

impl Held {
    fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }
    fn let_go(&self) {
        *self.let_go.0.lock().unwrap() = true;
        self.let_go.1.notify_all();
    }
}

#[async_trait]
impl RecordProcessor for Held {
    async fn process_records(
        &mut self,
        _: &RecordBatch,
        checkpointer: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        let fence = checkpointer.fence();
        self.calls.lock().unwrap().push(Call::Began(fence));
        let (is_let_go, told) = &*self.let_go;
        let held = is_let_go.lock().unwrap();
        // A test that fails must not leave its thread behind for ever.
        let longest = Duration::from_secs(60);
        drop(told.wait_timeout_while(held, longest, |is_let_go| !*is_let_go).unwrap());
        self.calls.lock().unwrap().push(Call::Returned(fence));
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p3_a_process_delivers_a_shard_it_has_again_only_once_its_former_call_returned() {
    let engine = Engine::new(Arc::new(SystemClock));
    let stream = engine.create_stream("s", 1, StreamOptions::unlimited()).unwrap();
    let recorder = Recorder::new(Arc::new(SystemClock));
    let (table, held) = (MemoryLeaseTable::new(), Held::default());
    let made = held.clone();
    let factory = move |_: &ShardStart| made.clone();
    let worker = start_with("again", table.clone(), &stream, &recorder, factory);
    until("the shard is held", || worker.status().shards.len() == 1).await;
    let (first, fence) = (worker.status().worker, worker.status().shards[0].fence);
    stream.put(NewRecord::new("k", "data")).unwrap();
    until("the call runs", || held.calls() == [Call::Began(fence)]).await;
    // It loses the shard and, registered anew, takes it itself.
    assert_eq!(reaped(&table, "again").await, Ok(1));
    let again = || {
        let history = recorder.history();
        history.iter().find_map(|entry| match &entry.what {
            What::Event(event) => match event.kind {
                EventKind::LeaseHeld { fence: later, .. } if later > fence => {
                    Some((Some(event.worker.clone()), later))
                }
                _ => None,
            },
            _ => None,
        })
    };
    until("the shard is held again", || again().is_some()).await;
    let (second, later) = again().unwrap();
    assert!(second != first && second == worker.status().worker, "under another id");
    SystemClock.sleep(Duration::from_millis(900)).await;
    assert_eq!(held.calls(), [Call::Began(fence)], "three lease durations later");
    held.let_go();
    until("the second call returned", || held.calls().len() == 4).await;
    let calls =
        [Call::Began(fence), Call::Returned(fence), Call::Began(later), Call::Returned(later)];
    assert_eq!(held.calls(), calls);
    worker.shutdown().await;
}
