//! A fleet to measure: workers with runtimes of their own, and a log of what they do.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kcl_core::event::EventKind;
use kcl_core::protocol::{LeaseKey, Moment, Position, ShardId, WorkerId};
use kcl_core::{
    Checkpointer, Clock, Config, Event, Handle, Observer, ProcessorError, RecordBatch,
    RecordProcessor, Scheduler, ShardStart, SystemClock, async_trait,
};
use kcl_lease_local::MemoryLeaseTable;
use kcl_stream_local::Stream;
use tokio::runtime::Runtime;

/// Batches and owners as they come, on the one clock of this machine.
#[derive(Clone, Debug, Default)]
pub struct Probe(Arc<Mutex<Log>>);

/// What a probe has seen.
#[derive(Debug, Default)]
pub struct Log {
    /// Of each lease, who delivers it.
    pub owners: BTreeMap<LeaseKey, WorkerId>,
    /// Of each lease, when its last batch ended.
    pub ended: BTreeMap<LeaseKey, Moment>,
    /// Every first batch of a new owner: the lease, when it started, and the pause before it.
    pub handed: Vec<(LeaseKey, Moment, Duration)>,
    /// Leases that came to a worker.
    pub held: usize,
}

impl Probe {
    /// The log.
    pub fn log(&self) -> MutexGuard<'_, Log> {
        lock(&self.0)
    }
}

impl Observer for Probe {
    fn observe(&self, event: &Event) {
        let mut log = self.log();
        match &event.kind {
            EventKind::LeaseHeld { .. } => log.held += 1,
            EventKind::BatchStarted { lease, .. } => {
                let former = log.owners.insert(lease.clone(), event.worker.clone());
                if former.is_some_and(|former| former != event.worker) {
                    let ended = log.ended.get(lease).copied().unwrap_or(event.at);
                    log.handed.push((lease.clone(), event.at, event.at.since(ended)));
                }
            }
            EventKind::BatchEnded { lease, .. } => {
                log.ended.insert(lease.clone(), event.at);
            }
            _ => {}
        }
    }
}

/// Records counted as they are delivered.
#[derive(Debug, Default)]
pub struct Delivered {
    /// Records delivered at least once.
    pub records: u64,
    /// Deliveries beyond the first of a record.
    pub twice: u64,
    /// How far each shard was delivered.
    up_to: BTreeMap<ShardId, Position>,
}

/// Counts, and takes no time.
struct Count {
    shard: ShardId,
    delivered: Arc<Mutex<Delivered>>,
}

#[async_trait]
impl RecordProcessor for Count {
    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        _: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        let mut delivered = lock(&self.delivered);
        let up_to = delivered.up_to.get(&self.shard).copied();
        // Records come in the order of their positions, so those come again are the first.
        let again = batch.records.partition_point(|record| Some(record.position) <= up_to);
        delivered.twice += again as u64;
        delivered.records += (batch.records.len() - again) as u64;
        if let Some(last) = batch.records[again..].last() {
            delivered.up_to.insert(self.shard.clone(), last.position);
        }
        Ok(())
    }
}

/// A worker under measurement.
pub struct Worker {
    /// Its handle.
    pub handle: Handle,
    runtime: Option<Runtime>,
}

/// Workers that share a stream and a table.
pub struct Fleet {
    /// The stream.
    pub stream: Stream,
    /// What they do.
    pub probe: Probe,
    delivered: Arc<Mutex<Delivered>>,
    table: MemoryLeaseTable,
    started: u32,
    lease_duration: Duration,
}

impl Fleet {
    /// A fleet without workers.
    pub fn new(stream: Stream, lease_duration: Duration) -> Self {
        Self {
            stream,
            probe: Probe::default(),
            delivered: Arc::default(),
            table: MemoryLeaseTable::new(),
            started: 0,
            lease_duration,
        }
    }

    /// What was delivered so far, by all workers.
    pub fn delivered(&self) -> MutexGuard<'_, Delivered> {
        lock(&self.delivered)
    }

    /// Starts a worker on one thread of its own.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start(&mut self) -> Result<Worker, Box<dyn Error>> {
        self.started += 1;
        let config = Config::new("bench")
            .worker_name(format!("w{}", self.started))
            .lease_duration(self.lease_duration)
            .observer(Arc::new(self.probe.clone()));
        let delivered = Arc::clone(&self.delivered);
        let scheduler = Scheduler::new(
            config,
            Arc::new(self.table.clone()),
            Arc::new(self.stream.source()),
            move |start: &ShardStart| Count {
                shard: start.shard.clone(),
                delivered: Arc::clone(&delivered),
            },
        )?;
        let handle = scheduler.handle();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build()?;
        runtime.spawn(scheduler.run());
        Ok(Worker { handle, runtime: Some(runtime) })
    }
}

impl Worker {
    /// Kills it without a word; returns when.
    pub fn kill(&mut self) -> Moment {
        let killed = SystemClock.monotonic();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        killed
    }
    /// Shuts it down cleanly and waits until it has left.
    pub fn shut_down(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.block_on(self.handle.shutdown());
        }
    }
    /// Gives one shard to another worker.
    pub fn drain(&self, shard: &ShardId) {
        if let Some(runtime) = &self.runtime {
            // A worker that has stopped has nothing to drain.
            let _ = runtime.block_on(self.handle.drain(shard));
        }
    }
    /// How many shards it runs.
    pub fn shards(&self) -> usize {
        self.handle.status().shards.len()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until something is so, looking every millisecond.
///
/// # Errors
/// After a minute.
pub fn wait(what: &str, mut is_so: impl FnMut() -> bool) -> Result<Duration, Box<dyn Error>> {
    let started = SystemClock.monotonic();
    while !is_so() {
        if SystemClock.monotonic().since(started) > Duration::from_secs(60) {
            return Err(format!("waited a minute for {what}").into());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(SystemClock.monotonic().since(started))
}
