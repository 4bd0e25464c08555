//! Memory while a processor does not come back, with far more records waiting than may be read
//! ahead.

use std::sync::Arc;
use std::time::Duration;

use kcl_core::{
    Checkpointer, Clock, Config, ConsumerConfig, ProcessorError, RecordBatch, RecordProcessor,
    Scheduler, SystemClock, async_trait,
};
use kcl_lease_local::MemoryLeaseTable;

use crate::{Result, Way, serve};

/// 400 MB in all.
const RECORDS: usize = 100_000;
const BYTES: usize = 4_000;
/// Longer than anything takes that still grows: a subscription is given up after ten seconds.
const LOOK_FOR: Duration = Duration::from_secs(30);

struct Stuck;

#[async_trait]
impl RecordProcessor for Stuck {
    async fn process_records(
        &mut self,
        _: &RecordBatch,
        _: &Checkpointer,
    ) -> std::result::Result<(), ProcessorError> {
        std::future::pending().await
    }
}

/// What may be read ahead of four shards and the most that memory grew by (MiB).
pub async fn measure(way: Way) -> Result<(f64, f64)> {
    let served = serve::start("stuck", 4, true)?;
    serve::fill(&served.url, "stuck", RECORDS, BYTES).await?;
    let source = Arc::new(way.unlimited_source(&served.url, "stuck"));
    let table = Arc::new(MemoryLeaseTable::new());
    let budget = 4 * ConsumerConfig::default().prefetch_bytes;
    let before = resident()?;
    let scheduler = Scheduler::new(Config::new("stuck"), table, source, |_: &_| Stuck)?;
    let handle = scheduler.handle();
    let running = tokio::spawn(scheduler.run());
    let mut most: f64 = 0.0;
    let until = SystemClock.monotonic() + LOOK_FOR;
    while SystemClock.monotonic() < until {
        SystemClock.sleep(Duration::from_millis(50)).await;
        most = most.max(resident()? - before);
    }
    // The processor does not return, so the worker is not asked to leave.
    running.abort();
    drop(handle);
    Ok((budget as f64 / f64::from(1 << 20), most))
}

/// Memory of this process (MiB).
fn resident() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: f64 = line.and_then(|line| line.split_whitespace().next()).unwrap_or("0").parse()?;
    Ok(kib / 1024.0)
}
