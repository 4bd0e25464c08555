//! The processor of the simulated fleet: notes what it is given, and fails as the seed says.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use kcl_core::protocol::{Fence, LeaseKey, Position};
use kcl_core::{
    Checkpointer, Clock, Effects, ProcessorError, Record, RecordBatch, RecordProcessor, ShardStart,
};
use kcl_lease_local::{LocalEffects, MemoryLeaseTable};

use super::draw::Draws;
use super::faults::{Faults, Kind};
use super::gate::Gate;
use super::habits::Acking;
use crate::history::Recorder;

/// What all processors of one worker share.
#[derive(Clone)]
pub struct Workshop {
    /// Notes what they are given.
    pub recorder: Recorder,
    /// What goes wrong.
    pub faults: Faults,
    /// True time.
    pub clock: Arc<dyn Clock>,
    /// Holds them up while the worker stands still.
    pub gate: Gate,
    /// Whose they are.
    pub actor: String,
    /// Calls so far.
    pub ordinal: Arc<AtomicU64>,
    /// When records count as done.
    pub acking: Acking,
    /// Where effects are, for whoever goes on from them.
    pub effects: MemoryLeaseTable,
}

impl Workshop {
    /// A processor for a shard.
    pub fn make(&self, start: &ShardStart) -> SimProcessor {
        let lease = LeaseKey::new(start.shard.as_str());
        SimProcessor { workshop: self.clone(), lease, fence: start.fence }
    }

    fn strike(&self, kind: Kind, ordinal: u64, permille: u64) -> Option<u64> {
        self.faults.strike(kind, &self.actor, ordinal, permille)
    }
}

/// How many records of a shard were committed with effects.
pub fn committed(effects: &MemoryLeaseTable, lease: &LeaseKey) -> u64 {
    let bytes = effects.effect(lease.as_str()).unwrap_or_default();
    bytes.try_into().map_or(0, u64::from_be_bytes)
}

/// Processes one shard of the simulated fleet.
pub struct SimProcessor {
    workshop: Workshop,
    lease: LeaseKey,
    fence: Fence,
}

impl SimProcessor {
    /// The first record of the batch that nobody can process.
    fn poison(&self, records: &[Record]) -> Option<Position> {
        let is_poison = |position: &Position| {
            let ordinal = position.sequence.parts().1 as u64;
            let faults = &self.workshop.faults;
            faults.haunts(Kind::PoisonedRecord, self.lease.as_str(), ordinal, 1)
        };
        records.iter().map(|record| record.position).find(is_poison)
    }

    /// Everything before this record is done.
    fn fail(&self, records: &[Record], at: Position, why: &str) -> ProcessorError {
        let before = records.iter().map(|record| record.position);
        let before: Vec<_> = before.take_while(|position| *position < at).collect();
        if self.workshop.acking == Acking::WithEffects {
            // They would be done without their effects.
            return ProcessorError::new(why);
        }
        self.workshop.recorder.acked(&self.lease, self.fence, before);
        ProcessorError::at(at, why)
    }

    async fn misbehave(&self, ordinal: u64) {
        let workshop = &self.workshop;
        if let Some(id) = workshop.strike(Kind::SlowProcessor, ordinal, 30) {
            let took = Draws::duration(id, Duration::from_secs(6));
            for _ in 0..8 {
                workshop.clock.sleep(took / 8).await;
                workshop.gate.pass().await;
                workshop.recorder.polled(&self.lease, self.fence);
            }
        }
        if workshop.strike(Kind::StuckProcessor, ordinal, 2).is_some() {
            workshop.clock.sleep_until(workshop.faults.until()).await;
            workshop.gate.pass().await;
            workshop.recorder.polled(&self.lease, self.fence);
        }
    }

    async fn done(&self, records: &[Record], to: &Checkpointer) -> Result<(), ProcessorError> {
        let workshop = &self.workshop;
        let positions: Vec<_> = records.iter().map(|record| record.position).collect();
        match workshop.acking {
            Acking::OnReturn => {
                workshop.gate.pass().await;
                workshop.recorder.acked(&self.lease, self.fence, positions);
            }
            Acking::WithEffects => {
                // What an application would do: the sum so far and this batch, in one transaction
                // with the checkpoint.
                let sum = committed(&workshop.effects, &self.lease) + records.len() as u64;
                let effects = LocalEffects::new().put(self.lease.as_str(), sum.to_be_bytes());
                workshop.recorder.acked(&self.lease, self.fence, positions);
                let committed = to.checkpoint_with(Effects::new(effects)).await;
                committed.map_err(ProcessorError::new)?;
                workshop.gate.pass().await;
            }
            Acking::Explicit => self.ack_one_by_one(positions, to),
        }
        Ok(())
    }

    /// From a task each, in an order of their own.
    fn ack_one_by_one(&self, positions: Vec<Position>, to: &Checkpointer) {
        for position in positions {
            let (workshop, to) = (self.workshop.clone(), to.clone());
            let (lease, fence) = (self.lease.clone(), self.fence);
            let ordinal = position.sequence.parts().1 as u64;
            let id = workshop.faults.draws().number(&workshop.actor, "ack", ordinal);
            tokio::spawn(async move {
                workshop.clock.sleep(Draws::duration(id, Duration::from_secs(2))).await;
                workshop.gate.pass().await;
                workshop.recorder.acked(&lease, fence, vec![position]);
                // The lease may be lost by now; then the next owner gets the record again.
                let _ = to.ack(position);
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
        let workshop = &self.workshop;
        let ordinal = workshop.ordinal.fetch_add(1, Ordering::Relaxed);
        workshop.recorder.given(&self.lease, &batch.records);
        self.misbehave(ordinal).await;
        if let Some(at) = self.poison(&batch.records) {
            return Err(self.fail(&batch.records, at, "poisoned"));
        }
        if let Some(id) = workshop.strike(Kind::FailingProcessor, ordinal, 20) {
            let index = usize::try_from(id).unwrap_or(0) % batch.records.len();
            let at = batch.records[index].position;
            return Err(self.fail(&batch.records, at, "simulated failure"));
        }
        let panics = workshop.strike(Kind::PanickingProcessor, ordinal, 5);
        assert!(panics.is_none(), "simulated panic");
        self.done(&batch.records, checkpointer).await
    }
}
