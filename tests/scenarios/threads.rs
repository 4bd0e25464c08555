//! On real threads and a real clock: a processor that blocks its whole runtime, and an observer
//! that blocks its worker's control loop.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use kcl_core::{
    Checkpointer, Clock, Config, ConsumerState, Event, EventKind, ProcessorError, RecordBatch,
    RecordProcessor, Scheduler, ShardStart, StreamSource, SystemClock, async_trait, closure,
};
use kcl_lease_local::MemoryLeaseTable;
use kcl_stream_local::{Engine, NewRecord, StreamOptions};

/// Blocks its thread for three lease durations on every batch.
struct Blocks(Arc<AtomicU64>);

#[async_trait]
impl RecordProcessor for Blocks {
    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        _: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        std::thread::sleep(Duration::from_secs(1));
        self.0.fetch_add(batch.records.len() as u64, Ordering::Relaxed);
        Ok(())
    }
}

fn until(what: &str, is_so: &dyn Fn() -> bool) {
    let started = SystemClock.monotonic();
    while !is_so() {
        let waited = SystemClock.monotonic().since(started);
        assert!(waited < Duration::from_secs(30), "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_processor_that_blocks_every_thread_costs_no_lease() {
    let engine = Engine::new(Arc::new(SystemClock));
    let stream = engine.create_stream("s", 2, StreamOptions::unlimited()).unwrap();
    let table = MemoryLeaseTable::new();
    let done = Arc::new(AtomicU64::new(0));
    let start = |name: &str| {
        let done = Arc::clone(&done);
        let config =
            Config::new("app").worker_name(name).lease_duration(Duration::from_millis(300));
        let scheduler = Scheduler::new(
            config,
            Arc::new(table.clone()),
            Arc::new(stream.source()),
            move |_: &ShardStart| Blocks(Arc::clone(&done)),
        )
        .unwrap();
        let handle = scheduler.handle();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build();
        let runtime = runtime.unwrap();
        runtime.spawn(scheduler.run());
        (handle, runtime)
    };
    let (blocked, runtime) = start("blocked");
    until("the worker holds both shards", &|| blocked.status().shards.len() == 2);
    let before: Vec<_> = blocked.status().shards.iter().map(|shard| shard.fence).collect();
    for number in 0..20 {
        stream.put(NewRecord::new(format!("k{number}"), "data")).unwrap();
    }
    until("every record is processed", &|| done.load(Ordering::Relaxed) >= 20);
    let after: Vec<_> = blocked.status().shards.iter().map(|shard| shard.fence).collect();
    assert_eq!(after, before, "both shards were held all along");
    assert_eq!(done.load(Ordering::Relaxed), 20, "nothing came twice");
    runtime.block_on(blocked.shutdown());
}

#[test]
fn a_consumer_that_hears_nothing_for_a_while_still_stops() {
    let engine = Engine::new(Arc::new(SystemClock));
    let stream = engine.create_stream("s", 1, StreamOptions::unlimited()).unwrap();
    let done = Arc::new(AtomicU64::new(0));
    let (table, counted) = (MemoryLeaseTable::new(), Arc::clone(&done));
    let config = Config::new("app").lease_duration(Duration::from_millis(300));
    let blocks = move |_: &ShardStart| Blocks(Arc::clone(&counted));
    let scheduler =
        Scheduler::new(config, Arc::new(table), Arc::new(stream.source()), blocks).unwrap();
    let handle = scheduler.handle();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build();
    let runtime = runtime.unwrap();
    runtime.spawn(scheduler.run());
    until("the worker holds the shard", &|| handle.status().shards.len() == 1);
    let shard = handle.status().shards[0].shard.clone();
    stream.put(NewRecord::new("k", "data")).unwrap();
    let state = || handle.status().shards[0].consumer.state;
    until("the processor blocks", &|| state() == ConsumerState::Processing);
    runtime.block_on(async {
        for _ in 0..20 {
            handle.pause(&shard).await.unwrap();
            handle.resume(&shard).await.unwrap();
        }
        handle.drain(&shard).await.unwrap();
    });
    until("the shard is let go", &|| handle.status().shards.is_empty());
    assert_eq!(done.load(Ordering::Relaxed), 1, "its batch came to an end");
    runtime.block_on(handle.shutdown());
}

/// Holds whoever passes once it is shut, until it is opened.
#[derive(Default)]
struct Turnstile {
    is_shut: Mutex<bool>,
    opened: Condvar,
}

impl Turnstile {
    fn set_shut(&self, shut: bool) {
        *self.is_shut.lock().unwrap() = shut;
        self.opened.notify_all();
    }
    fn pass(&self) {
        let shut = self.is_shut.lock().unwrap();
        drop(self.opened.wait_while(shut, |shut| *shut).unwrap());
    }
}

#[test]
fn a_worker_whose_control_loop_hangs_is_fenced_and_its_shards_go_on_elsewhere() {
    let engine = Engine::new(Arc::new(SystemClock));
    let stream = engine.create_stream("s", 4, StreamOptions::unlimited()).unwrap();
    let table = MemoryLeaseTable::new();
    let events = Arc::new(Mutex::new(Vec::new()));
    let turnstile = Arc::new(Turnstile::default());
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build();
    let runtime = runtime.unwrap();
    let start = |name: &'static str| {
        let (events, turnstile) = (Arc::clone(&events), Arc::clone(&turnstile));
        let observer = move |event: &Event| {
            events.lock().unwrap().push((name, event.kind.clone()));
            if name == "wedged" && matches!(event.kind, EventKind::ShardEnded { .. }) {
                turnstile.pass();
            }
        };
        let config = Config::new("app")
            .worker_name(name)
            .lease_duration(Duration::from_millis(300))
            .max_control_stall(Duration::from_secs(1))
            .observer(Arc::new(observer));
        let takes = closure::batches(|_| Ok(()));
        let (table, source) = (Arc::new(table.clone()), Arc::new(stream.source()));
        let scheduler = Scheduler::new(config, table, source, takes).unwrap();
        let handle = scheduler.handle();
        runtime.spawn(scheduler.run());
        handle
    };
    let told = |name: &str, is_it: &dyn Fn(&EventKind) -> bool| {
        events.lock().unwrap().iter().filter(|(who, kind)| *who == name && is_it(kind)).count()
    };
    let (wedged, other) = (start("wedged"), start("other"));
    until("each holds two shards", &|| {
        [&wedged, &other].map(|worker| worker.status().shards.len()) == [2, 2]
    });
    let victim = wedged.status().worker.unwrap();
    let ends = wedged.status().shards[0].shard.clone();
    turnstile.set_shut(true);
    // The end of a shard is told on the control thread, whose observer does not come back.
    let shards = runtime.block_on(stream.source().list_shards()).unwrap();
    let range = shards.into_iter().find(|shard| shard.id == ends).unwrap().range;
    stream.split_shard(&ends, range.start + (range.end - range.start) / 2 + 1).unwrap();
    until("the other holds all five open shards", &|| other.status().shards.len() == 5);
    assert!(told("wedged", &|kind| *kind == EventKind::ControlStalled) > 0);
    let by_other = EventKind::FencedOther { worker: victim.clone() };
    assert_eq!(told("other", &|kind| *kind == by_other), 1);
    assert_eq!(told("wedged", &|kind| *kind == EventKind::Deregistered), 0);
    turnstile.set_shut(false);
    until("it is back under another id, with a share", &|| {
        let status = wedged.status();
        status.worker.is_some_and(|id| id != victim) && status.shards.len() >= 2
    });
    assert_eq!(told("wedged", &|kind| *kind == EventKind::Deregistered), 1);
    runtime.block_on(async { tokio::join!(wedged.shutdown(), other.shutdown()) });
}
