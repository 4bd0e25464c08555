//! What a simulated fleet works on: the application of the harness, or one of a user's own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kcl_core::protocol::{Lease, LeaseKey, Moment, Position, ShardId};
use kcl_core::{Checkpointer, Clock, Config, DeadLetter, Record, RecordProcessor, ShardStart};
use kcl_lease_local::MemoryLeaseTable;
use kcl_stream_local::NewRecord;

use super::draw::{Calls, Draws};
use super::faults::{Faults, Kind};
use super::gate::Gate;
use crate::history::{Entry, Recorder};

/// What a processor finds on the worker that it runs on.
#[derive(Clone)]
pub struct Host {
    /// The name of the worker, the same for all that fill one place.
    pub worker: String,
    /// The worker's time: whoever waits on it stands still with the worker. Whatever a processor
    /// waits for must go through it or through tokio's own time.
    pub clock: Arc<dyn Clock>,
    /// The lease table, which also holds the effects of `checkpoint_with`.
    pub table: MemoryLeaseTable,
}

/// A record as it lies in the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    /// The shard that took it.
    pub shard: ShardId,
    /// Its place there.
    pub position: Position,
    /// The record.
    pub record: NewRecord,
}

/// A run that is over, healed and drained.
pub struct End<'a> {
    /// When.
    pub at: Moment,
    /// When the last fault was over.
    pub calm: Moment,
    /// Every record that the stream took, those of one shard in their order; without those that
    /// retention passed before anybody had read them.
    pub put: &'a [Put],
    /// Records that the error policy gave up on.
    pub dead_letters: &'a [DeadLetter],
    /// The lease table, with the effects of `checkpoint_with`.
    pub table: &'a MemoryLeaseTable,
    /// The leases in it.
    pub leases: &'a BTreeMap<LeaseKey, Lease>,
    /// Everything that happened.
    pub history: &'a [Entry],
}

/// What a fleet works on.
pub(super) trait Work: Send + Sync + 'static {
    /// Settings of every worker; the harness then sets what it needs.
    fn config(&self, config: Config) -> Config;
    /// A record to put; `draw` is a random number of its own.
    fn record(&self, number: u64, draw: u64) -> NewRecord;
    /// A processor for a shard.
    fn processor(&self, start: &ShardStart, bench: &Bench) -> Box<dyn RecordProcessor>;
    /// Within so many seconds a worker leaves that is told to; `None` if that is not judged.
    fn leaves_within(&self) -> Option<u64>;
    /// Whether [`End::put`] is to be filled.
    fn wants_put(&self) -> bool;
    /// What is wrong at the end: the property, and the words.
    fn judge(&self, end: &End<'_>) -> Vec<(&'static str, String)>;
}

/// What the processors of one worker share.
#[derive(Clone)]
pub(super) struct Bench {
    pub host: Host,
    /// Notes what they are given.
    pub recorder: Recorder,
    /// What goes wrong.
    pub faults: Faults,
    /// Holds them up while the worker stands still.
    pub gate: Gate,
    /// Whose they are.
    pub actor: String,
    /// Calls so far.
    pub calls: Calls,
    /// Leases whose records are being processed.
    pub running: Running,
}

/// Shards of one process that are in a call with records.
#[derive(Clone, Default)]
pub(super) struct Running(Arc<Mutex<BTreeSet<LeaseKey>>>);

/// Lasts as long as its call.
pub(super) struct Call {
    running: Running,
    lease: LeaseKey,
}

impl Running {
    fn leases(&self) -> MutexGuard<'_, BTreeSet<LeaseKey>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.running.leases().remove(&self.lease);
    }
}

impl Bench {
    /// The lease is given these records; the call lasts until what is given back is dropped.
    pub fn given(&self, lease: &LeaseKey, records: &[Record]) -> Call {
        if !self.running.leases().insert(lease.clone()) {
            self.recorder.called_twice(lease);
        }
        self.recorder.given(lease, records);
        Call { running: self.running.clone(), lease: lease.clone() }
    }
    /// Does this kind of fault strike the call?
    pub fn strike(&self, kind: Kind, call: u64, permille: u64) -> Option<u64> {
        self.faults.strike(kind, &self.actor, call, permille)
    }
    /// The call is polled, and may be.
    pub fn polled(&self, lease: &LeaseKey, with: &Checkpointer) {
        self.recorder.polled(lease, with, &*self.host.clock);
    }
    /// The call takes long, now and then; it is noted that it is polled meanwhile.
    pub async fn dawdle(&self, lease: &LeaseKey, with: &Checkpointer, call: u64) {
        let Some(id) = self.strike(Kind::SlowProcessor, call, 30) else { return };
        let took = Draws::duration(id, std::time::Duration::from_secs(6));
        for _ in 0..8 {
            self.faults.clock().sleep(took / 8).await;
            self.gate.pass().await;
            self.polled(lease, with);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kcl_core::TokioClock;

    use super::*;
    use crate::history::What;

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_is_processed_twice_at_once_is_noted_and_one_that_comes_again_is_not() {
        let clock: Arc<dyn Clock> = Arc::new(TokioClock::starting_at(0));
        let recorder = Recorder::new(clock.clone());
        let bench = Bench {
            host: Host {
                worker: "w0".into(),
                clock: clock.clone(),
                table: MemoryLeaseTable::new(),
            },
            recorder: recorder.clone(),
            faults: Faults::new(Draws::new(0), clock, Moment(Duration::ZERO)),
            gate: Gate::new(),
            actor: "w0.1".into(),
            calls: Calls::default(),
            running: Running::default(),
        };
        let (one, other) = (LeaseKey::new("a"), LeaseKey::new("b"));
        let noted = || {
            let history = recorder.take();
            history.iter().filter(|entry| matches!(entry.what, What::CalledTwice { .. })).count()
        };
        let first = bench.given(&one, &[]);
        let beside = bench.clone().given(&other, &[]);
        assert_eq!(noted(), 0);
        drop(bench.given(&one, &[]));
        assert_eq!(noted(), 1);
        drop((first, beside));
        let _again = bench.given(&one, &[]);
        assert_eq!(noted(), 0);
    }
}
