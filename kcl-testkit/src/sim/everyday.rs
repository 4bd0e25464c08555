//! The application of the harness: its processors note what they are given, and fail as the seed
//! says. Each seed has it written in another way.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use kcl_core::event::EventKind;
use kcl_core::protocol::{Checkpoint, Fence, Lease, LeaseKey, Position};
use kcl_core::{
    Checkpointer, Config, PartitionKey, PreparedCheckpoint, ProcessorError, Record, RecordBatch,
    RecordProcessor, ShardStart,
};
use kcl_stream_local::{NewRecord, hash_key};

use super::draw::Draws;
use super::effects;
use super::faults::Kind;
use super::habits::{Acking, Habits};
use super::work::{Bench, End, Work};
use crate::history::{Entry, What, every_backlog_is_done, nothing_parks};

thread_local! {
    /// The keys of all records, hashed once for the runs of a thread. Threads that shared them
    /// would wait for each other's counts of references.
    static KEYS: Vec<(PartitionKey, u128)> = {
        let keys = (0..5000).map(|number| format!("key-{number}"));
        keys.map(|key| (PartitionKey::from(key.as_str()), hash_key(&key))).collect()
    };
}

/// What faults leave behind is over by then: no request comes later, and no processor fails.
const AFTERMATH: Duration = Duration::from_secs(10);
/// A worker gives up leaving after 30 s, the default; to notice takes it less than the rest.
const LONGEST_LEAVE: u64 = 35;

/// The application of the harness, as a seed has it.
pub(super) struct Everyday(pub Habits);

impl Work for Everyday {
    fn config(&self, config: Config) -> Config {
        self.0.apply(config)
    }
    fn record(&self, number: u64, draw: u64) -> NewRecord {
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        KEYS.with(|keys| {
            let (key, hash) = &keys[usize::try_from(draw).unwrap_or(0) % keys.len()];
            NewRecord::new(key.clone(), number.to_le_bytes().to_vec()).with_hash_key(*hash)
        })
    }
    fn processor(&self, start: &ShardStart, bench: &Bench) -> Box<dyn RecordProcessor> {
        let lease = LeaseKey::new(start.shard.as_str());
        bench.recorder.found(&lease, start);
        let (bench, fence) = (bench.clone(), start.fence);
        let Habits { acking, in_two_phases, .. } = self.0;
        Box::new(SimProcessor { bench, acking, in_two_phases, fence, lease })
    }
    fn leaves_within(&self) -> Option<u64> {
        Some(LONGEST_LEAVE)
    }
    fn wants_put(&self) -> bool {
        // The history tells it as much as it needs.
        false
    }
    fn judge(&self, end: &End<'_>) -> Vec<(&'static str, String)> {
        // Whatever is acked late here is acked before the run is over.
        let left = every_backlog_is_done(end.at, end.leases, end.history);
        let parked = nothing_parks(end.calm + AFTERMATH, end.at, end.history, end.leases);
        let left = left.into_iter().chain(parked);
        let left = left.map(|violation| (violation.property, violation.what));
        match self.0.acking {
            Acking::WithEffects => {
                let committed = |lease: &LeaseKey| effects::committed(end.table, lease);
                let amiss = sums_amiss(end.history, end.leases, committed);
                left.chain(amiss.into_iter().map(|what| ("P5", what))).collect()
            }
            Acking::OnReturn | Acking::Explicit => left.collect(),
        }
    }
}

/// Processes one shard of the simulated fleet.
struct SimProcessor {
    bench: Bench,
    /// When records count as done.
    acking: Acking,
    in_two_phases: bool,
    lease: LeaseKey,
    fence: Fence,
}

impl SimProcessor {
    /// The first record of the batch that nobody can process.
    fn poison(&self, records: &[Record]) -> Option<Position> {
        let is_poison = |position: &Position| {
            let which = position.sequence.parts().1 as u64;
            let faults = &self.bench.faults;
            faults.haunts(Kind::PoisonedRecord, self.lease.as_str(), which, 1)
        };
        records.iter().map(|record| record.position).find(is_poison)
    }

    /// Everything before this record is done.
    fn fail(&self, records: &[Record], at: Position, why: &str) -> ProcessorError {
        let before = records.iter().map(|record| record.position);
        let before: Vec<_> = before.take_while(|position| *position < at).collect();
        if self.acking == Acking::WithEffects {
            // They would be done without their effects.
            return ProcessorError::new(why);
        }
        self.bench.recorder.acked(&self.lease, self.fence, before);
        ProcessorError::at(at, why)
    }

    async fn misbehave(&self, with: &Checkpointer, call: u64) {
        let bench = &self.bench;
        bench.dawdle(&self.lease, with, call).await;
        if bench.strike(Kind::StuckProcessor, call, 2).is_some() {
            bench.faults.clock().sleep_until(bench.faults.until()).await;
            bench.gate.pass().await;
            bench.polled(&self.lease, with);
        }
    }

    /// Announces where the batch ends, with that as the state; half of the batches commit there.
    async fn prepare(
        &self,
        records: &[Record],
        to: &Checkpointer,
    ) -> Result<Option<PreparedCheckpoint>, ProcessorError> {
        let Some(last) = records.last().map(|record| record.position) else { return Ok(None) };
        self.bench.recorder.preparing(&self.lease, last);
        let prepared = to.prepare(last, last.to_string()).await.map_err(ProcessorError::new)?;
        self.bench.gate.pass().await;
        self.bench.polled(&self.lease, to);
        let call = self.bench.calls.next("prepare", self.lease.as_str());
        let draws = self.bench.faults.draws();
        Ok((draws.below(&self.bench.actor, "commits", call, 2) == 0).then_some(prepared))
    }

    async fn done(&self, records: &[Record], to: &Checkpointer) -> Result<(), ProcessorError> {
        let bench = &self.bench;
        let positions: Vec<_> = records.iter().map(|record| record.position).collect();
        let prepared = match self.in_two_phases {
            true => self.prepare(records, to).await?,
            false => None,
        };
        // A commit is told of before it returns, and one that fails may have been written: what it
        // is to make done is noted before.
        match self.acking {
            Acking::OnReturn => {
                bench.gate.pass().await;
                bench.recorder.acked(&self.lease, self.fence, positions);
                if let Some(prepared) = prepared {
                    prepared.commit().await.map_err(ProcessorError::new)?;
                    bench.gate.pass().await;
                }
            }
            Acking::WithEffects => {
                // What an application would do: the sum so far and this batch, in one transaction
                // with the checkpoint.
                let sum = effects::committed(&bench.host.table, &self.lease) + records.len() as u64;
                let effects = effects::sum(&self.lease, sum, self.fence);
                bench.recorder.acked(&self.lease, self.fence, positions);
                let committed = to.checkpoint_with(effects).await;
                committed.map_err(ProcessorError::new)?;
                bench.gate.pass().await;
            }
            Acking::Explicit => self.ack_one_by_one(positions, to),
        }
        Ok(())
    }

    /// From a task each, in an order of their own.
    fn ack_one_by_one(&self, positions: Vec<Position>, to: &Checkpointer) {
        for position in positions {
            let (bench, to) = (self.bench.clone(), to.clone());
            let (lease, fence) = (self.lease.clone(), self.fence);
            let which = position.sequence.parts().1 as u64;
            let id = bench.faults.draws().number(&bench.actor, "ack", which);
            tokio::spawn(async move {
                bench.faults.clock().sleep(Draws::duration(id, Duration::from_secs(2))).await;
                bench.gate.pass().await;
                // The lease may be lost by now; then the next owner gets the record again. Nothing
                // is written before this task is over.
                if to.ack(position).is_ok() {
                    bench.recorder.acked(&lease, fence, vec![position]);
                }
            });
        }
    }
}

#[async_trait]
impl RecordProcessor for SimProcessor {
    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        checkpointer: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        let bench = &self.bench;
        let call = bench.calls.next("process", self.lease.as_str());
        let _call = bench.given(&self.lease, &batch.records);
        self.misbehave(checkpointer, call).await;
        if let Some(at) = self.poison(&batch.records) {
            return Err(self.fail(&batch.records, at, "poisoned"));
        }
        if let Some(id) = bench.strike(Kind::FailingProcessor, call, 20) {
            let index = usize::try_from(id).unwrap_or(0) % batch.records.len();
            let at = batch.records[index].position;
            return Err(self.fail(&batch.records, at, "simulated failure"));
        }
        let panics = bench.strike(Kind::PanickingProcessor, call, 5);
        assert!(panics.is_none(), "simulated panic");
        self.done(&batch.records, checkpointer).await
    }
}

/// Leases whose committed sum is not the number of records up to their checkpoint: an effect was
/// lost, or applied twice.
fn sums_amiss(
    history: &[Entry],
    leases: &BTreeMap<LeaseKey, Lease>,
    committed: impl Fn(&LeaseKey) -> u64,
) -> Vec<String> {
    let mut put: BTreeMap<LeaseKey, BTreeSet<Position>> = BTreeMap::new();
    // Whoever starts over counts again; what is gone or given up on has no effect.
    let mut without = BTreeSet::new();
    for entry in history {
        match &entry.what {
            What::Put { shard, positions } => {
                put.entry(LeaseKey::new(shard.as_str())).or_default().extend(positions);
            }
            What::RowDeleted { lease } => drop(without.insert(lease.clone())),
            What::Trimmed { shard, .. } => drop(without.insert(LeaseKey::new(shard.as_str()))),
            What::Event(event) => {
                if let EventKind::DeadLettered { lease, .. } = &event.kind {
                    without.insert(lease.clone());
                }
            }
            _ => {}
        }
    }
    let mut amiss = Vec::new();
    for (key, lease) in leases.iter().filter(|(key, _)| !without.contains(*key)) {
        let records = put.get(key);
        let done = match lease.checkpoint {
            Checkpoint::ShardEnd => records.map_or(0, BTreeSet::len),
            Checkpoint::At(position) => {
                records.map_or(0, |records| records.range(..=position).count())
            }
            _ => 0,
        } as u64;
        let sum = committed(key);
        if sum != done {
            amiss.push(format!("effects of {key} sum to {sum}, but {done} records are done"));
        }
    }
    amiss
}

#[cfg(test)]
mod tests {
    use kcl_core::Event;
    use kcl_core::protocol::{HashKeyRange, Moment, SequenceNumber, WorkerId};

    use super::*;

    fn p(number: u64) -> Position {
        SequenceNumber::from_parts(0, u128::from(number)).into()
    }

    /// What is amiss with a shard of three records that says so much of itself.
    fn amiss(checkpoint: Checkpoint, sum: u64, since: Option<What>) -> Vec<String> {
        let lease = LeaseKey::new("a");
        let put = |shard: &str, numbers: [u64; 3]| What::Put {
            shard: shard.into(),
            positions: numbers.map(p).to_vec(),
        };
        let history = [put("a", [1, 2, 3]), put("b", [4, 5, 6])].into_iter().chain(since);
        let history: Vec<_> =
            history.map(|what| Entry { at: Moment(Duration::ZERO), what }).collect();
        let row = Lease::unowned(lease.clone(), checkpoint, HashKeyRange::FULL);
        sums_amiss(&history, &BTreeMap::from([(lease, row)]), |_| sum)
    }

    #[test]
    fn a_sum_that_is_not_the_number_of_records_done_is_found() {
        let none: [String; 0] = [];
        assert_eq!(amiss(Checkpoint::TrimHorizon, 0, None), none);
        assert_eq!(amiss(Checkpoint::At(p(2)), 2, None), none);
        assert_eq!(amiss(Checkpoint::ShardEnd, 3, None), none);
        let said = |sum, done| [format!("effects of a sum to {sum}, but {done} records are done")];
        assert_eq!(amiss(Checkpoint::At(p(2)), 1, None), said(1, 2), "one was lost");
        assert_eq!(amiss(Checkpoint::At(p(2)), 3, None), said(3, 2), "one was applied twice");
        assert_eq!(amiss(Checkpoint::ShardEnd, 2, None), said(2, 3));
        assert_eq!(amiss(Checkpoint::TrimHorizon, 1, None), said(1, 0));
    }

    #[test]
    fn a_shard_that_started_over_or_lost_a_record_is_not_summed_and_every_other_is() {
        let letter = |lease: &str| {
            let (lease, fence, at) = (LeaseKey::new(lease), Fence(1), p(1));
            let kind = EventKind::DeadLettered { lease, fence, at };
            What::Event(Event { worker: WorkerId::new("w"), at: Moment(Duration::ZERO), kind })
        };
        let deleted = |lease: &str| What::RowDeleted { lease: LeaseKey::new(lease) };
        let trimmed = |shard: &str| What::Trimmed { shard: shard.into(), positions: vec![p(1)] };
        let found = |what| amiss(Checkpoint::At(p(3)), 2, Some(what)).len();
        assert_eq!([letter("a"), deleted("a"), trimmed("a")].map(found), [0; 3]);
        assert_eq!([letter("b"), deleted("b"), trimmed("b")].map(found), [1; 3]);
    }
}
