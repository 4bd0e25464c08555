//! Memory while a processor does not come back, with far more records waiting than may be read
//! ahead. It fails if that is not bounded by the budget.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use kcl_core::{
    Checkpointer, Clock, Config, ProcessorError, RecordBatch, RecordProcessor, Scheduler,
    SystemClock, async_trait,
};
use kcl_lease_local::MemoryLeaseTable;

use crate::{Result, Way, serve};

/// So many records of so many bytes: of large ones 400 MB, and of small ones 150 MB, which take
/// more memory beside their data.
pub const FILLS: [(usize, usize); 2] = [(100_000, 4_000), (1_500_000, 100)];
/// What all shards together may have read (MiB).
const BUDGET: usize = 32;
/// On top of it (MiB): an event or answer of each of four shards, three times while it is decoded,
/// the window of the connection, and what the allocator keeps.
const MARGIN: usize = 24;
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

/// What a worker in a process of its own is asked for, whose memory nothing else has used before.
pub const WORKER: &str = "stuck-worker";

/// The budget and the most that memory grew by (MiB).
///
/// # Errors
/// It grew by more than the budget and [`MARGIN`].
pub async fn measure(way: Way, (records, bytes): (usize, usize)) -> Result<(usize, f64)> {
    let served = serve::start("stuck", 4, true)?;
    serve::fill(&served.url, "stuck", records, bytes).await?;
    let mut worker = Command::new(std::env::current_exe()?);
    let told = worker.args([WORKER, way.name(), &served.url]).output()?;
    let told = String::from_utf8(told.stdout)?;
    let most: f64 = told.trim().parse().map_err(|_| format!("the worker said {told:?}"))?;
    if most > (BUDGET + MARGIN) as f64 {
        let why = format!(
            "memory grew by {most:.0} MiB with a budget of {BUDGET} MiB, records of {bytes} bytes, \
             {way:?}"
        );
        return Err(why.into());
    }
    Ok((BUDGET, most))
}

/// The most that the memory of this process grew by (MiB).
pub async fn worker(way: Way, url: &str) -> Result<f64> {
    let source = Arc::new(way.unlimited_source(url, "stuck"));
    let table = Arc::new(MemoryLeaseTable::new());
    let config = Config::new("stuck").read_budget(1_000_000, BUDGET << 20);
    let before = resident()?;
    let scheduler = Scheduler::new(config, table, source, |_: &_| Stuck)?;
    let running = tokio::spawn(scheduler.run());
    let mut most: f64 = 0.0;
    let until = SystemClock.monotonic() + LOOK_FOR;
    while SystemClock.monotonic() < until {
        SystemClock.sleep(Duration::from_millis(50)).await;
        most = most.max(resident()? - before);
    }
    // The processor does not return, so the worker is not asked to leave.
    running.abort();
    Ok(most)
}

/// Memory of this process (MiB).
fn resident() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: f64 = line.and_then(|line| line.split_whitespace().next()).unwrap_or("0").parse()?;
    Ok(kib / 1024.0)
}
