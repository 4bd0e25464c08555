//! On real threads and a real clock: a processor that blocks its whole runtime.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kcl_core::{
    Checkpointer, Clock, Config, ProcessorError, RecordBatch, RecordProcessor, Scheduler,
    ShardStart, SystemClock, async_trait,
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
    let until = |what: &str, is_so: &dyn Fn() -> bool| {
        let started = SystemClock.monotonic();
        while !is_so() {
            let waited = SystemClock.monotonic().since(started);
            assert!(waited < Duration::from_secs(30), "waited in vain: {what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    };
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
