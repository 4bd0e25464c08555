//! What a user writes: a record processor, and how one is made for each shard.

use std::collections::BTreeSet;

use async_trait::async_trait;
use kcl_protocol::{Checkpoint, Fence, Position, Prepared, ShardId, StreamName, WorkerId};

use crate::checkpointer::Checkpointer;
use crate::source::Record;

/// The shard and the fence an instance was made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardStart {
    /// The stream.
    pub stream: StreamName,
    /// The shard.
    pub shard: ShardId,
    /// This run of this worker.
    pub worker: WorkerId,
    /// The fencing token: hand it to whatever you write to, and let that reject lower ones.
    pub fence: Fence,
    /// Where the work goes on: everything up to here is done.
    pub checkpoint: Checkpoint,
    /// A checkpoint beyond it that was prepared and neither committed nor passed, by this worker or
    /// an earlier owner, with its state: the work up to it may be half done. Its records are
    /// delivered again all the same. It stands until a checkpoint reaches it, or another is
    /// prepared.
    pub prepared: Option<Prepared>,
}

/// The end of a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardEnd {
    /// The shard that ended.
    pub shard: ShardId,
    /// The shards that follow; none starts before all its parents have ended.
    pub children: BTreeSet<ShardId>,
}

/// Records of one shard, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordBatch {
    /// At least one record.
    pub records: Vec<Record>,
    /// How far the last record is behind the tip of the shard, now that it is delivered
    /// (milliseconds): what the read that brought it said, and the time it has waited since.
    pub behind_millis: u64,
    /// How many deliveries in a row, right before this one and under this fence, began with the
    /// same record. 0 does not mean that no record of the batch was seen before.
    pub attempt: u32,
}

/// Processes the records of one shard. One instance serves one (shard, fence): a new owner, or the
/// same one after losing the lease, makes a new one. After a panic, too, a new one is made and
/// initialized, under the same fence.
///
/// Calls never overlap. A call may be dropped at any await point: the lease is lost, validity ran
/// out, a stop has waited [`stop_timeout`](crate::ConsumerConfig::stop_timeout) (for `initialize`
/// it does not wait), [`max_progress`](crate::ConsumerConfig::max_progress) has passed, or the
/// worker has ended. What it had not acked comes again, to another worker or to this instance:
/// leave `self` fit for that.
///
/// `shutdown_requested` and `lease_lost` have `stop_timeout` each. At most one of them is called,
/// and neither after a crash, before `initialize` has returned, or where validity ran out in a
/// stop.
#[async_trait]
pub trait RecordProcessor: Send + 'static {
    /// Called before the first batch, until it has returned `Ok` once.
    ///
    /// # Errors
    /// Handled by the error policy; called again on a retry.
    async fn initialize(&mut self, start: &ShardStart) -> Result<(), ProcessorError> {
        let _ = start;
        Ok(())
    }

    /// Processes a batch. With `Acks::OnReturn`, `Ok` acknowledges all of it.
    ///
    /// # Errors
    /// Handled by the error policy. Nothing is ever skipped: on a retry the batch starts with the
    /// first unacked record.
    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        checkpointer: &Checkpointer,
    ) -> Result<(), ProcessorError>;

    /// Called when every record of a closed shard is acked. After `Ok` the library commits the end
    /// itself. Called again if it was dropped, and under another fence if the end was not
    /// committed.
    ///
    /// # Errors
    /// Handled by the error policy; called again on a retry.
    async fn shard_ended(&mut self, end: &ShardEnd) -> Result<(), ProcessorError> {
        let _ = end;
        Ok(())
    }

    /// The worker gives the shard up on purpose: acknowledge what is done. Not always
    /// called: see [`RecordProcessor`].
    async fn shutdown_requested(&mut self, checkpointer: &Checkpointer) {
        let _ = checkpointer;
    }

    /// The lease is lost: there is nothing legal left to write. Not always called: see
    /// [`RecordProcessor`].
    async fn lease_lost(&mut self) {}
}

/// Makes a processor for each (shard, fence).
pub trait ProcessorFactory: Send + Sync + 'static {
    /// A new instance.
    fn make(&self, start: &ShardStart) -> Box<dyn RecordProcessor>;
}

impl<F, P> ProcessorFactory for F
where
    F: Fn(&ShardStart) -> P + Send + Sync + 'static,
    P: RecordProcessor,
{
    fn make(&self, start: &ShardStart) -> Box<dyn RecordProcessor> {
        Box::new(self(start))
    }
}

/// A processor's failure, and the record it is about.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ProcessorError {
    /// What went wrong, for people.
    pub message: String,
    /// The first record that is not done; records before it in the batch count as acked.
    /// `None`: the first unacked one.
    pub at: Option<Position>,
}

impl ProcessorError {
    /// A failure of the batch as a whole: delivered again from its first unacked record.
    pub fn new(message: impl std::fmt::Display) -> Self {
        Self { message: message.to_string(), at: None }
    }
    /// A failure at one record; everything before it in the batch is done.
    pub fn at(position: Position, message: impl std::fmt::Display) -> Self {
        Self { message: message.to_string(), at: Some(position) }
    }
}
