//! The workers of a simulation: started, killed, paused, and made to leave.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[cfg(feature = "model")]
use kcl_core::protocol::Rules;
use kcl_core::protocol::{Moment, ShardId, WorkerId};
use kcl_core::{
    Clock, Config, ConsumerState, MemoryDeadLetters, Placement, ProcessorFactory, RecordProcessor,
    Scheduler, ShardStart, StreamSource,
};
use kcl_lease_local::MemoryLeaseTable;

use super::draw::Calls;
use super::faults::{Faults, Kind};
use super::gate::{Gate, WorkerClock};
use super::making::Making;
use super::source::FaultySource;
use super::table::FaultyTable;
use super::work::{Bench, Host, Running, Work};
use super::worker::Worker;
use crate::history::Recorder;

/// Clocks run apart by at most this (parts in a million), below the protocol's one in a thousand.
const MOST_DRIFT_PPM: u64 = 900;
/// Steps until the place of a worker that died in the middle of a call is filled again.
const EMPTY_AFTER_CALL: u64 = 4;

/// What every worker of a run is made from.
#[derive(Clone)]
pub struct Yard {
    /// The lease table behind all connections.
    pub table: MemoryLeaseTable,
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
    /// The rules of every worker.
    #[cfg(feature = "model")]
    pub rules: Rules,
    /// The application.
    pub work: Arc<dyn Work>,
    /// Where records go that nobody can process.
    pub dead_letters: Arc<MemoryDeadLetters>,
    /// Since when each shard is there.
    pub seen: Arc<Mutex<BTreeMap<ShardId, Moment>>>,
    /// Leases that requests under way make.
    pub making: Making,
}

/// One place in the fleet, with the worker that fills it now.
pub struct Place {
    name: String,
    /// Workers that filled it so far.
    lives: u64,
    worker: Option<Worker>,
    /// Another one of the same name, for a while.
    twin: Option<Worker>,
    /// Twins that were told to leave.
    parting: Vec<Worker>,
    /// Steps until the place is filled again, while it is empty.
    empty_for: u64,
    /// Steps until the worker goes on, while it stands still.
    still_for: u64,
    /// Steps until the twin leaves.
    twin_for: u64,
}

impl Place {
    /// An empty place.
    pub fn new(number: usize) -> Self {
        let name = format!("w{number}");
        Self {
            name,
            lives: 0,
            worker: None,
            twin: None,
            parting: Vec::new(),
            empty_for: 0,
            still_for: 0,
            twin_for: 0,
        }
    }
    /// Its name, which is also that of its workers.
    pub fn name(&self) -> &str {
        &self.name
    }
    /// Under which id its worker registered last.
    pub fn worker_id(&self) -> Option<WorkerId> {
        self.worker.as_ref()?.handle.status().worker
    }
    /// True while a worker fills it.
    pub fn is_filled(&self) -> bool {
        self.worker.as_ref().is_some_and(|worker| !worker.is_finished())
    }

    /// A step passes. The place is filled, its worker goes on and its twin leaves when their time
    /// has come, or now. Gives back what is amiss with workers that ended, or that should have.
    pub async fn tend(&mut self, yard: &Yard, now: bool) -> Vec<String> {
        self.bury_doomed();
        let amiss = self.amiss(yard).await;
        if self.still_for > 0 {
            self.still_for = if now { 0 } else { self.still_for - 1 };
            if self.still_for == 0 {
                self.set_still(false);
            }
        }
        if now {
            self.resume_all().await;
        }
        self.twin_for = if now { 0 } else { self.twin_for.saturating_sub(1) };
        if self.twin_for == 0 {
            self.part();
        }
        if !self.is_filled() {
            self.empty_for = if now { 0 } else { self.empty_for.saturating_sub(1) };
            if self.empty_for == 0 {
                self.fill(yard);
            }
        }
        amiss
    }

    fn fill(&mut self, yard: &Yard) {
        self.worker = Some(self.start(yard));
        self.still_for = 0;
    }

    /// Starts a second worker of the same name, for so many steps; false if there is one.
    pub fn double(&mut self, yard: &Yard, steps: u64) -> bool {
        let is_alone = self.twin.is_none();
        if is_alone {
            self.twin = Some(self.start(yard));
            self.twin_for = steps;
        }
        is_alone
    }

    fn start(&mut self, yard: &Yard) -> Worker {
        self.lives += 1;
        let actor = format!("{}.{}", self.name, self.lives);
        let seed = yard.faults.draws().number(&actor, "seed", 0);
        let gate = Gate::new();
        let drift_ppm = match yard.faults.is_born_with(Kind::Drift, &actor) {
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
            calls: Calls::default(),
            recorder: yard.recorder.clone(),
            making: yard.making.clone(),
        });
        let source = Arc::new(FaultySource {
            inner: yard.source.clone(),
            clock: yard.clock.clone(),
            faults: yard.faults.clone(),
            actor: actor.clone(),
            gate: gate.clone(),
            calls: Calls::default(),
            seen: Arc::clone(&yard.seen),
            recorder: yard.recorder.clone(),
        });
        let bench = Bench {
            host: Host {
                worker: self.name.clone(),
                clock: clock.clone(),
                table: yard.table.clone(),
            },
            recorder: yard.recorder.clone(),
            faults: yard.faults.clone(),
            gate: gate.clone(),
            actor,
            calls: Calls::default(),
            running: Running::default(),
        };
        let config = yard.work.config(Config::new("simulated"));
        let config = config
            .worker_name(&self.name)
            .lease_duration(yard.lease_duration)
            .placement(Placement::Inline)
            .hints(seed.is_multiple_of(2))
            .seed(seed)
            .dead_letters(yard.dead_letters.clone())
            .observer(Arc::new(yard.recorder.clone()))
            .clock(clock);
        #[cfg(feature = "model")]
        let config = config.rules(yard.rules);
        let make = Maker { work: yard.work.clone(), bench };
        let scheduler = Scheduler::new(config, table, source, make)
            .unwrap_or_else(|error| panic!("the application's configuration: {error}"));
        Worker::start(scheduler, gate)
    }

    /// Kills whom a fault has stopped for good in the middle of a call.
    fn bury_doomed(&mut self) {
        if self.worker.as_ref().is_some_and(Worker::is_doomed) {
            self.crash(EMPTY_AFTER_CALL);
        }
        let twin = self.twin.take_if(|twin| twin.is_doomed());
        let parting = self.parting.extract_if(.., |twin| twin.is_doomed());
        twin.into_iter().chain(parting).for_each(Worker::kill);
    }
    /// Kills the worker without a word; its place stays empty for so many steps.
    pub fn crash(&mut self, steps: u64) {
        self.worker.take().into_iter().for_each(Worker::kill);
        self.empty_for = steps;
    }
    /// Kills its twins too.
    pub fn crash_all(&mut self) {
        self.crash(0);
        self.twin.take().into_iter().chain(self.parting.drain(..)).for_each(Worker::kill);
    }
    /// Makes the worker leave on purpose; its place then stays empty for so many steps.
    pub fn leave(&mut self, steps: u64) {
        self.worker.iter_mut().for_each(Worker::leave);
        self.empty_for = steps;
    }
    /// Makes the twin leave.
    fn part(&mut self) {
        self.twin.iter_mut().for_each(Worker::leave);
        self.parting.extend(self.twin.take());
    }
    /// Stops the worker in its tracks for so many steps.
    pub fn pause(&mut self, steps: u64) {
        self.set_still(true);
        // The step in which it is stopped is counted as it ends.
        self.still_for = steps + 1;
    }
    fn set_still(&self, still: bool) {
        if let Some(worker) = &self.worker {
            worker.gate.set_open(!still);
        }
    }
    /// Puts the worker's machine to sleep for so many steps: it stands still, and its connections
    /// are cut.
    pub fn suspend(&mut self, steps: u64) {
        self.pause(steps);
        if let Some(worker) = &self.worker {
            worker.gate.cut();
        }
    }
    /// A command of somebody's about one of the worker's shards; false if it has none.
    pub async fn command(&self, id: u64) -> bool {
        let Some(worker) = &self.worker else { return false };
        let shards = worker.handle.status().shards;
        let Some(shard) = shards.get(usize::try_from(id >> 8).unwrap_or(0) % shards.len().max(1))
        else {
            return false;
        };
        // A worker that has stopped takes no command, and needs none.
        let _ = match id % 2 {
            0 => worker.handle.drain(&shard.shard).await,
            _ => worker.handle.pause(&shard.shard).await,
        };
        true
    }
    /// Lets every paused or parked shard go on.
    async fn resume_all(&self) {
        let Some(worker) = &self.worker else { return };
        for shard in worker.handle.status().shards {
            if matches!(shard.consumer.state, ConsumerState::Paused | ConsumerState::Parked) {
                let _ = worker.handle.resume(&shard.shard).await;
            }
        }
    }
    /// What is amiss with workers that ended, or that were to leave and are still there.
    async fn amiss(&mut self, yard: &Yard) -> Vec<String> {
        let twin = self.twin.take_if(|twin| twin.is_finished());
        let parted = self.parting.extract_if(.., |twin| twin.is_finished());
        let ended: Vec<_> = self
            .worker
            .take_if(|worker| worker.is_finished())
            .into_iter()
            .chain(twin)
            .chain(parted)
            .collect();
        let mut amiss = Vec::new();
        for worker in ended {
            amiss.extend(worker.amiss().await);
        }
        if let Some(longest) = yard.work.leaves_within() {
            let workers = self.worker.iter_mut().chain(&mut self.parting);
            amiss.extend(workers.filter_map(|worker| worker.overstays(longest)));
        }
        amiss
    }
}

/// Makes the processors of one worker.
struct Maker {
    work: Arc<dyn Work>,
    bench: Bench,
}

impl ProcessorFactory for Maker {
    fn make(&self, start: &ShardStart) -> Box<dyn RecordProcessor> {
        self.work.processor(start, &self.bench)
    }
}

fn drift(drawn: u64) -> i64 {
    i64::try_from(drawn).unwrap_or(0) - i64::try_from(MOST_DRIFT_PPM).unwrap_or(0)
}

#[cfg(test)]
mod tests;
