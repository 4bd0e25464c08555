//! The workers of a simulation: started, killed, paused, and made to leave.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use kcl_core::{
    Clock, Config, Handle, LeaseTable, Placement, Scheduler, StreamSource, WorkerError,
};
use tokio::task::JoinHandle;

use super::faults::{Faults, Kind};
use super::gate::{Gate, WorkerClock};
use super::processor::Workshop;
use super::source::FaultySource;
use super::table::FaultyTable;
use crate::history::Recorder;

/// Clocks run apart by at most this (parts in a million), below the protocol's one in a thousand.
const MOST_DRIFT_PPM: u64 = 900;

/// What every worker of a run is made from.
#[derive(Clone)]
pub struct Yard {
    /// The lease table behind all connections.
    pub table: Arc<dyn LeaseTable>,
    /// The stream behind all readers.
    pub source: Arc<dyn StreamSource>,
    /// True time.
    pub clock: Arc<dyn Clock>,
    /// What goes wrong.
    pub faults: Faults,
    /// What happened.
    pub recorder: Recorder,
    /// `D` of every worker.
    pub lease_duration: Duration,
}

/// One place in the fleet, with the worker that fills it now.
pub struct Place {
    name: String,
    /// Workers that filled it so far.
    lives: u64,
    worker: Option<Worker>,
    /// Steps until the place is filled again, while it is empty.
    pub empty_for: u64,
    /// Steps until the worker goes on, while it stands still.
    pub still_for: u64,
}

struct Worker {
    task: JoinHandle<Result<(), WorkerError>>,
    handle: Handle,
    gate: Gate,
}

impl Place {
    /// An empty place.
    pub fn new(number: usize) -> Self {
        Self { name: format!("w{number}"), lives: 0, worker: None, empty_for: 0, still_for: 0 }
    }
    /// Its name, which is also that of its workers.
    pub fn name(&self) -> &str {
        &self.name
    }
    /// True while a worker fills it.
    pub fn is_filled(&self) -> bool {
        self.worker.as_ref().is_some_and(|worker| !worker.task.is_finished())
    }

    /// Starts a worker.
    pub fn fill(&mut self, yard: &Yard) {
        self.lives += 1;
        let actor = format!("{}.{}", self.name, self.lives);
        let seed = yard.faults.draws().number(&actor, "seed", 0);
        let gate = Gate::new();
        let drift_ppm = match yard.faults.is_on(Kind::Drift) {
            true => drift(yard.faults.draws().below(&actor, "drift", 0, 2 * MOST_DRIFT_PPM)),
            false => 0,
        };
        let clock =
            Arc::new(WorkerClock { clock: yard.clock.clone(), drift_ppm, gate: gate.clone() });
        let table = Arc::new(FaultyTable {
            inner: yard.table.clone(),
            clock: yard.clock.clone(),
            faults: yard.faults.clone(),
            actor: actor.clone(),
            gate: gate.clone(),
            ordinal: Arc::new(AtomicU64::new(0)),
        });
        let source = Arc::new(FaultySource {
            inner: yard.source.clone(),
            clock: yard.clock.clone(),
            faults: yard.faults.clone(),
            actor: actor.clone(),
            gate: gate.clone(),
            ordinal: Arc::new(AtomicU64::new(0)),
        });
        let workshop = Workshop {
            recorder: yard.recorder.clone(),
            faults: yard.faults.clone(),
            clock: yard.clock.clone(),
            gate: gate.clone(),
            actor,
            ordinal: Arc::new(AtomicU64::new(0)),
        };
        let config = Config::new("simulated")
            .worker_name(&self.name)
            .lease_duration(yard.lease_duration)
            .placement(Placement::Inline)
            .hints(seed.is_multiple_of(2))
            .seed(seed)
            .observer(Arc::new(yard.recorder.clone()))
            .clock(clock);
        let make = move |start: &kcl_core::ShardStart| workshop.make(start);
        let scheduler = Scheduler::new(config, table, source, make)
            .unwrap_or_else(|error| unreachable!("the configuration is fixed: {error}"));
        let handle = scheduler.handle();
        let task = tokio::spawn(scheduler.run());
        self.worker = Some(Worker { task, handle, gate });
        self.still_for = 0;
    }

    /// Kills the worker without a word.
    pub fn crash(&mut self) {
        if let Some(worker) = self.worker.take() {
            worker.task.abort();
        }
    }
    /// Makes the worker leave on purpose.
    pub fn leave(&mut self) {
        if let Some(worker) = &self.worker {
            let handle = worker.handle.clone();
            tokio::spawn(async move { handle.shutdown().await });
        }
    }
    /// Stops the worker in its tracks, or lets it go on.
    pub fn set_still(&self, still: bool) {
        if let Some(worker) = &self.worker {
            worker.gate.set_open(!still);
        }
    }
    /// Why the worker stopped, if it could not go on.
    pub async fn failure(&mut self) -> Option<WorkerError> {
        let worker = self.worker.take_if(|worker| worker.task.is_finished())?;
        worker.task.await.ok()?.err()
    }
}

fn drift(drawn: u64) -> i64 {
    i64::try_from(drawn).unwrap_or(0) - i64::try_from(MOST_DRIFT_PPM).unwrap_or(0)
}
