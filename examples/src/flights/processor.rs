//! The record processor: decode, count, done.

use std::sync::Arc;

use kcl_core::protocol::{Fence, ShardId};
use kcl_core::{
    Checkpointer, ProcessorError, RecordBatch, RecordProcessor, ShardStart, async_trait,
};

use super::audit::Audit;
use super::ledger::Ledger;
use super::rows::decode;

/// Counts the flights of one shard.
pub struct CountFlights {
    shard: ShardId,
    fence: Fence,
    ledger: Arc<Ledger>,
    audit: Arc<Audit>,
}

impl CountFlights {
    /// A processor for the shard and fence it is made for.
    pub fn new(start: &ShardStart, ledger: Arc<Ledger>, audit: Arc<Audit>) -> Self {
        Self { shard: start.shard.clone(), fence: start.fence, ledger, audit }
    }
}

#[async_trait]
impl RecordProcessor for CountFlights {
    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        _: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        let mut flights = Vec::with_capacity(batch.records.len());
        for record in &batch.records {
            let (number, flight) = decode(&record.data)
                .ok_or_else(|| ProcessorError::at(record.position, "this is not a flight"))?;
            // Only for the check at the end of the run: it counts deliveries, repeats included.
            self.audit.delivered(number);
            flights.push((record.position, flight));
        }
        // A record may come twice: the checkpoint is written every few seconds, so a new owner
        // starts before the last record that a killed worker counted. Hence no sums in here, which
        // would count it again, but a ledger that is told every record's position, and the fence:
        // it passes over what it has, and refuses a former owner. Counting twice changes nothing.
        self.ledger.count(&self.shard, self.fence, &flights).map_err(ProcessorError::new)
    }
}
