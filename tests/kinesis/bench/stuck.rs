//! Memory while a processor does not come back, with far more records waiting than may be read
//! ahead. It fails if that is not bounded by the budget.

use std::sync::Arc;
use std::time::Duration;

use kcl_core::{
    Checkpointer, Config, ProcessorError, RecordBatch, RecordProcessor, Scheduler, async_trait,
};
use kcl_lease_local::MemoryLeaseTable;
use kcl_records::UnpackedSource;

use crate::{Result, Way, memory, serve};

/// What waits in the stream.
#[derive(Clone, Copy)]
pub struct Fill {
    records: usize,
    bytes: usize,
    /// Many records in one of the stream.
    is_aggregated: bool,
}

/// Of large records 400 MB, and of small ones 150 MB, which take more memory beside their data.
pub const FILLS: [Fill; 3] = [
    Fill { records: 100_000, bytes: 4_000, is_aggregated: false },
    Fill { records: 1_500_000, bytes: 100, is_aggregated: false },
    Fill { records: 1_500_000, bytes: 100, is_aggregated: true },
];

impl std::fmt::Display for Fill {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let how = if self.is_aggregated { " in aggregates" } else { "" };
        write!(f, "records of {} bytes{how}", self.bytes)
    }
}

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
pub async fn measure(way: Way, fill: Fill) -> Result<(usize, f64)> {
    let served = serve::start("stuck", 4, true)?;
    match fill.is_aggregated {
        true => serve::fill_with_aggregates(&served.url, "stuck", fill.records, fill.bytes).await?,
        false => serve::fill(&served.url, "stuck", fill.records, fill.bytes).await?,
    }
    let most = memory::grown_by(&[WORKER, way.name(), &served.url])?;
    if most > (BUDGET + MARGIN) as f64 {
        let why =
            format!("memory grew by {most:.0} MiB with a budget of {BUDGET} MiB, {fill}, {way:?}");
        return Err(why.into());
    }
    Ok((BUDGET, most))
}

/// The most that the memory of this process grew by (MiB).
pub async fn worker(way: Way, url: &str) -> Result<f64> {
    // As in a worker of one's own: what is inside of records is given out.
    let source = Arc::new(UnpackedSource::new(way.unlimited_source(url, "stuck")));
    let table = Arc::new(MemoryLeaseTable::new());
    let config = Config::new("stuck").read_budget(1_000_000, BUDGET << 20);
    let growing = memory::growth(LOOK_FOR);
    let scheduler = Scheduler::new(config, table, source, |_: &_| Stuck)?;
    let running = tokio::spawn(scheduler.run());
    let most = growing.await;
    // The processor does not return, so the worker is not asked to leave.
    running.abort();
    most
}
