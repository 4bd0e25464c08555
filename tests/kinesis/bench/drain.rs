//! A backlog of a million records, read by one worker as fast as it can.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kcl_core::{Clock, Config, RecordBatch, Scheduler, SystemClock, closure};
use kcl_lease_local::MemoryLeaseTable;

use crate::{Result, Way, serve};

const RECORDS: usize = 1_000_000;
const BYTES: usize = 100;
/// Records a second.
pub const ASKED: f64 = 300_000.0;

/// Records a second, from the worker's start to its last record.
pub async fn measure(way: Way) -> Result<f64> {
    let served = serve::start("drain", 4, true)?;
    serve::fill(&served.url, "drain", RECORDS, BYTES).await?;
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let processor = closure::batches(move |batch: &RecordBatch| {
        counted.fetch_add(batch.records.len(), Ordering::Relaxed);
        Ok(())
    });
    let source = Arc::new(way.unlimited_source(&served.url, "drain"));
    let table = Arc::new(MemoryLeaseTable::new());
    let started = SystemClock.monotonic();
    let scheduler = Scheduler::new(Config::new("drain"), table, source, processor)?;
    let handle = scheduler.handle();
    let running = tokio::spawn(scheduler.run());
    let mut first = None;
    while count.load(Ordering::Relaxed) < RECORDS {
        SystemClock.sleep(Duration::from_millis(1)).await;
        if first.is_none() && count.load(Ordering::Relaxed) > 0 {
            first = Some(SystemClock.monotonic().since(started));
        }
    }
    let took = SystemClock.monotonic().since(started);
    println!("  first record after {first:?}, last after {took:?}");
    handle.shutdown().await;
    running.await??;
    Ok(RECORDS as f64 / took.as_secs_f64())
}
