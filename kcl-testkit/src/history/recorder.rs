//! Writes a history down while it happens.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kcl_core::protocol::{
    CasOutcome, ConditionalWrite, Fence, LeaseKey, Ordinal, Position, Row, RowKey, ShardId,
};
use kcl_core::{Checkpointer, Clock, Event, LeaseTable, Observer, Record, ShardStart, TableError};

use super::{Entry, Standing, What};

/// Records a history from any number of workers, in the order in which things happened.
#[derive(Clone)]
pub struct Recorder {
    clock: Arc<dyn Clock>,
    entries: Arc<Mutex<Vec<Entry>>>,
}

impl Recorder {
    /// An empty history on this clock.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, entries: Arc::default() }
    }
    /// Notes that records are in the stream.
    pub fn put(&self, shard: &ShardId, positions: impl IntoIterator<Item = Position>) {
        let positions = positions.into_iter().collect();
        self.note(What::Put { shard: shard.clone(), positions });
    }
    /// Notes that a processor was given records.
    pub fn given(&self, lease: &LeaseKey, records: &[Record]) {
        let positions = records.iter().map(|record| record.position).collect();
        self.note(What::Given { lease: lease.clone(), positions });
    }
    /// Notes that a processor is done with records.
    pub fn acked(&self, lease: &LeaseKey, fence: Fence, positions: Vec<Position>) {
        self.note(What::Acked { lease: lease.clone(), fence, positions });
    }
    /// Notes that effects were applied.
    pub fn effects(&self, lease: &LeaseKey, fence: Fence, ordinal: Ordinal) {
        self.note(What::Effects { lease: lease.clone(), fence, ordinal });
    }
    /// Notes that a processor is about to prepare a checkpoint.
    pub fn preparing(&self, lease: &LeaseKey, position: Position) {
        self.note(What::Preparing { lease: lease.clone(), position });
    }
    /// Notes what a processor was told as it was made.
    pub fn found(&self, lease: &LeaseKey, start: &ShardStart) {
        let ShardStart { fence, checkpoint, prepared, .. } = start.clone();
        self.note(What::Found { lease: lease.clone(), fence, checkpoint, prepared });
    }
    /// Notes that records are gone before they were read.
    pub fn trimmed(&self, shard: &ShardId, positions: Vec<Position>) {
        self.note(What::Trimmed { shard: shard.clone(), positions });
    }
    /// Notes that a processor with this checkpointer was polled in the middle of a batch; `clock`
    /// is its worker's.
    pub fn polled(&self, lease: &LeaseKey, with: &Checkpointer, clock: &dyn Clock) {
        let (fence, at, valid_until) = (with.fence(), clock.monotonic(), with.valid_until());
        self.note(What::Polled { lease: lease.clone(), fence, at, valid_until });
    }
    /// Notes that a row was deleted by hand.
    pub fn row_deleted(&self, lease: &LeaseKey) {
        self.note(What::RowDeleted { lease: lease.clone() });
    }
    /// Sends a request with these writes to this table, which answers at once, and notes what
    /// became of the rows of leases.
    ///
    /// # Errors
    /// Those of the request.
    pub async fn rows_written(
        &self,
        table: &dyn LeaseTable,
        writes: &[ConditionalWrite],
        request: impl Future<Output = Result<CasOutcome, TableError>>,
    ) -> Result<CasOutcome, TableError> {
        let mut before = Vec::new();
        for write in writes {
            if let RowKey::Lease(lease) = write.key() {
                let standing = standing(table, &lease).await;
                before.push((lease, standing));
            }
        }
        let outcome = request.await;
        if matches!(outcome, Ok(CasOutcome::Won(_))) {
            let mut became = Vec::new();
            for (lease, before) in before {
                match (before, standing(table, &lease).await) {
                    (before, Some(after)) if before.as_ref() != Some(&after) => {
                        became.push(What::RowWritten { lease, before, after });
                    }
                    (Some(before), None) => became.push(What::RowCollected { lease, before }),
                    _ => {}
                }
            }
            // What one request does it does at one moment.
            let at = self.clock.monotonic();
            self.entries().extend(became.into_iter().map(|what| Entry { at, what }));
        }
        outcome
    }
    /// Notes that a processor was called beside a call of its process.
    pub fn called_twice(&self, lease: &LeaseKey) {
        self.note(What::CalledTwice { lease: lease.clone() });
    }
    /// Notes a new shard.
    pub fn shard_made(&self, shard: &ShardId, parents: impl IntoIterator<Item = ShardId>) {
        let parents = parents.into_iter().collect();
        self.note(What::ShardMade { shard: shard.clone(), parents });
    }
    /// The history so far.
    pub fn history(&self) -> Vec<Entry> {
        self.entries().clone()
    }

    /// Takes the history so far; what follows is a new one.
    pub fn take(&self) -> Vec<Entry> {
        std::mem::take(&mut self.entries())
    }

    fn note(&self, what: What) {
        let at = self.clock.monotonic();
        self.entries().push(Entry { at, what });
    }
    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the row of a lease says.
async fn standing(table: &dyn LeaseTable, lease: &LeaseKey) -> Option<Standing> {
    let row = table.read(&RowKey::Lease(lease.clone())).await;
    row.ok().flatten().and_then(Row::into_lease).map(|lease| Standing::of(&lease))
}

impl Observer for Recorder {
    fn observe(&self, event: &Event) {
        self.note(What::Event(event.clone()));
    }
}
