//! The processor of the simulated fleet: notes what it is given, and fails as the seed says.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use kcl_core::protocol::LeaseKey;
use kcl_core::{Checkpointer, Clock, ProcessorError, RecordBatch, RecordProcessor, ShardStart};

use super::draw::Draws;
use super::faults::{Faults, Kind};
use super::gate::Gate;
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
}

impl Workshop {
    /// A processor for a shard.
    pub fn make(&self, start: &ShardStart) -> SimProcessor {
        SimProcessor {
            workshop: self.clone(),
            lease: LeaseKey::new(start.shard.as_str()),
            start: start.clone(),
        }
    }
}

/// Processes one shard of the simulated fleet.
pub struct SimProcessor {
    workshop: Workshop,
    lease: LeaseKey,
    start: ShardStart,
}

#[async_trait]
impl RecordProcessor for SimProcessor {
    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        _checkpointer: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        let workshop = &self.workshop;
        let ordinal = workshop.ordinal.fetch_add(1, Ordering::Relaxed);
        let strike =
            |kind, permille| workshop.faults.strike(kind, &workshop.actor, ordinal, permille);
        workshop.recorder.given(&self.lease, &batch.records);
        if let Some(id) = strike(Kind::SlowProcessor, 30) {
            let took = Draws::duration(id, Duration::from_secs(6));
            for _ in 0..8 {
                workshop.clock.sleep(took / 8).await;
                workshop.gate.pass().await;
                workshop.recorder.polled(&self.lease, self.start.fence);
            }
        }
        if let Some(id) = strike(Kind::FailingProcessor, 20) {
            let index = usize::try_from(id).unwrap_or(0) % batch.records.len();
            return Err(ProcessorError::at(batch.records[index].position, "simulated failure"));
        }
        assert!(strike(Kind::PanickingProcessor, 5).is_none(), "simulated panic");
        workshop.gate.pass().await;
        Ok(())
    }
}
