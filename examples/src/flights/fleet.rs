//! The workers, each with a runtime of its own, as if in a process of its own.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use kcl_core::protocol::{ShardId, WorkerId};
use kcl_core::{
    Clock, Config, Handle, Scheduler, SourceError, Status, StreamSource, SystemClock, WorkerError,
    WorkerPhase, async_trait,
};
use kcl_lease_local::MemoryLeaseTable;
use kcl_stream_local::Stream;
use tokio::runtime::Runtime;

use super::audit::Audit;
use super::ledger::Ledger;
use super::processor::CountFlights;
use super::tracker::Tracker;

/// `D`: a killed worker's shards move on after about this.
const LEASE_DURATION: Duration = Duration::from_secs(1);

/// The stream a fleet reads: one of the bundled engine, or of any service.
#[async_trait]
pub trait FleetStream: Send + Sync + 'static {
    /// The stream as a worker that starts now reads it.
    fn source(&self) -> Arc<dyn StreamSource>;

    /// Splits a shard at a hash key.
    ///
    /// # Errors
    /// If the stream does not do so.
    async fn split(&self, shard: &ShardId, at: u128) -> Result<(), SourceError>;

    /// Merges two shards whose ranges touch.
    ///
    /// # Errors
    /// If the stream does not do so.
    async fn merge(&self, shard: &ShardId, adjacent: &ShardId) -> Result<(), SourceError>;
}

#[async_trait]
impl FleetStream for Stream {
    fn source(&self) -> Arc<dyn StreamSource> {
        Arc::new(Stream::source(self))
    }
    async fn split(&self, shard: &ShardId, at: u128) -> Result<(), SourceError> {
        self.split_shard(shard, at)?;
        Ok(())
    }
    async fn merge(&self, shard: &ShardId, adjacent: &ShardId) -> Result<(), SourceError> {
        self.merge_shards(shard, adjacent)?;
        Ok(())
    }
}

/// What every worker is made from.
pub struct Fleet {
    /// The stream they read.
    pub stream: Arc<dyn FleetStream>,
    /// The lease table they share.
    pub table: MemoryLeaseTable,
    /// Where they count.
    pub ledger: Arc<Ledger>,
    /// What was delivered.
    pub audit: Arc<Audit>,
    /// Who holds what.
    pub tracker: Tracker,
    workers: Vec<Worker>,
}

struct Worker {
    name: String,
    handle: Handle,
    /// Dropping it kills the worker, as a crash would.
    runtime: Option<Runtime>,
}

impl Fleet {
    /// A fleet without workers.
    pub fn new(stream: impl FleetStream, audit: Arc<Audit>) -> Self {
        Self {
            stream: Arc::new(stream),
            table: MemoryLeaseTable::new(),
            ledger: Arc::default(),
            audit,
            tracker: Tracker::default(),
            workers: Vec::new(),
        }
    }

    /// Starts one more worker.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start_worker(&mut self) -> Result<String, Box<dyn Error>> {
        let name = format!("worker-{}", self.workers.len() + 1);
        let config = Config::new("flights")
            .worker_name(&name)
            .lease_duration(LEASE_DURATION)
            .observer(Arc::new(self.tracker.clone()));
        let (ledger, audit) = (Arc::clone(&self.ledger), Arc::clone(&self.audit));
        let table = Arc::new(self.table.clone());
        let scheduler = Scheduler::new(config, table, self.stream.source(), move |start: &_| {
            CountFlights::new(start, Arc::clone(&ledger), Arc::clone(&audit))
        })?;
        let handle = scheduler.handle();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let told = name.clone();
        runtime.spawn(async move {
            if let Err(error) = scheduler.run().await {
                report_failure(&told, &error);
            }
        });
        self.workers.push(Worker { name: name.clone(), handle, runtime: Some(runtime) });
        Ok(name)
    }

    /// Kills a worker without a word: no lease is released.
    pub fn kill(&mut self, index: usize) -> String {
        let worker = &mut self.workers[index];
        let id = worker.handle.status().worker;
        if let Some(runtime) = worker.runtime.take() {
            runtime.shutdown_background();
        }
        if let Some(id) = id {
            self.tracker.killed(&id, SystemClock.monotonic());
        }
        self.workers[index].name.clone()
    }

    /// Shuts a worker down: it hands its leases over first.
    pub fn shut_down(&mut self, index: usize) -> String {
        let handle = self.workers[index].handle.clone();
        if let Some(runtime) = self.workers[index].runtime.take() {
            // The worker needs its runtime until it has left.
            std::thread::spawn(move || runtime.block_on(handle.shutdown()));
        }
        self.workers[index].name.clone()
    }

    /// Each running worker's place in the fleet, name and status.
    pub fn status(&self) -> Vec<(usize, String, Status)> {
        let running =
            self.workers.iter().enumerate().filter(|(_, worker)| worker.runtime.is_some());
        running
            .map(|(index, worker)| (index, worker.name.clone(), worker.handle.status()))
            .collect()
    }

    /// The ids of the running workers; `None` while one has not registered yet.
    pub fn running(&self) -> Option<Vec<WorkerId>> {
        self.status().into_iter().map(|(_, _, status)| status.worker).collect()
    }

    /// True unless a worker that was shut down or killed has not stopped yet.
    pub fn have_left(&self) -> bool {
        let mut gone = self.workers.iter().filter(|worker| worker.runtime.is_none());
        gone.all(|worker| worker.handle.status().phase == WorkerPhase::Stopped)
    }

    /// Shuts every worker down, all at once.
    pub fn shut_down_all(&mut self) {
        let leaving: Vec<_> = self
            .workers
            .iter_mut()
            .filter_map(|worker| Some((worker.runtime.take()?, worker.handle.clone())))
            .map(|(runtime, handle)| {
                std::thread::spawn(move || runtime.block_on(handle.shutdown()))
            })
            .collect();
        for thread in leaving {
            // A worker that could not leave moves on by expiry; here the program ends anyway.
            let _ = thread.join();
        }
    }
}

/// A run that ends in an error drops a fleet that still works. A runtime dropped in async code
/// would wait for its tasks, which panics.
impl Drop for Fleet {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            if let Some(runtime) = worker.runtime.take() {
                runtime.shutdown_background();
            }
        }
    }
}

fn report_failure(worker: &str, error: &WorkerError) {
    eprintln!("{worker} stopped: {error}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use kcl_stream_local::{Engine, StreamOptions};

    #[test]
    fn a_working_fleet_may_be_dropped_in_async_code() {
        Runtime::new().unwrap().block_on(async {
            let engine = Engine::new(Arc::new(SystemClock));
            let stream = engine.create_stream("flights", 1, StreamOptions::default()).unwrap();
            let mut fleet = Fleet::new(stream, Arc::new(Audit::new(std::iter::empty())));
            assert_eq!(fleet.start_worker().unwrap(), "worker-1");
            assert_eq!(fleet.status().len(), 1);
        });
    }
}
