//! What a worker tells of its doings: for logs, metrics, and the checkers that judge a run.

use std::sync::Arc;
use std::time::Duration;

use kcl_protocol::{Checkpoint, Fence, LeaseKey, Moment, Ordinal, Position, WorkerId};

/// Hears every event. Called in the middle of the work, so it must return at once: count, or put
/// the event on a bounded queue of your own.
pub trait Observer: Send + Sync + 'static {
    /// An event has just happened.
    fn observe(&self, event: &Event);
}

impl<F: Fn(&Event) + Send + Sync + 'static> Observer for F {
    fn observe(&self, event: &Event) {
        self(event);
    }
}

/// An observer that hears nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn observe(&self, _: &Event) {}
}

impl Unobserved {
    /// As the schedulers take it.
    pub fn shared() -> Arc<dyn Observer> {
        Arc::new(Self)
    }
}

/// Something a worker did or noticed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// On the worker's own monotonic clock.
    pub at: Moment,
    /// Who tells it.
    pub worker: WorkerId,
    /// What it is.
    pub kind: EventKind,
}

/// The records of one delivery, told by its ends: positions rise within a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first record.
    pub first: Position,
    /// The last record.
    pub last: Position,
    /// How many there are.
    pub count: usize,
}

/// How the call of a batch ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchOutcome {
    /// The processor returned `Ok`.
    Done,
    /// The processor returned an error, or panicked.
    Failed(String),
    /// The call was dropped at an await point: the permit had gone, or a stop could wait no longer.
    Dropped,
}

/// The kinds of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A consumer begins; nothing was delivered yet.
    ConsumerStarted {
        /// Which lease.
        lease: LeaseKey,
        /// Under which fence.
        fence: Fence,
        /// Where it goes on.
        checkpoint: Checkpoint,
    },
    /// A batch is about to be delivered.
    BatchStarted {
        /// Which lease.
        lease: LeaseKey,
        /// Under which fence.
        fence: Fence,
        /// Its records.
        span: Span,
        /// Until when the permit stood at that moment.
        valid_until: Moment,
    },
    /// The call of a batch is over.
    BatchEnded {
        /// Which lease.
        lease: LeaseKey,
        /// Under which fence.
        fence: Fence,
        /// Its records.
        span: Span,
        /// How it ended.
        outcome: BatchOutcome,
    },
    /// A processor declared as blocking ran past its worker's validity.
    Overrun {
        /// Which lease.
        lease: LeaseKey,
        /// Under which fence.
        fence: Fence,
        /// How far past the validity, grace not taken off.
        past: Duration,
    },
    /// A checkpoint is in the table.
    Checkpointed {
        /// Which lease.
        lease: LeaseKey,
        /// Under which fence.
        fence: Fence,
        /// How far the shard is done.
        checkpoint: Checkpoint,
        /// The ordinal of that value.
        ordinal: Ordinal,
    },
    /// A checkpoint could not be written; it is tried again.
    CheckpointFailed {
        /// Which lease.
        lease: LeaseKey,
        /// Under which fence.
        fence: Fence,
        /// What the table said.
        error: String,
    },
    /// The error policy stopped the shard: its lease stays held, nothing is delivered.
    Parked {
        /// Which lease.
        lease: LeaseKey,
        /// Under which fence.
        fence: Fence,
        /// Why.
        reason: String,
        /// The record it is about, if one is known.
        at: Option<Position>,
    },
    /// A parked shard is tried again.
    Unparked {
        /// Which lease.
        lease: LeaseKey,
        /// Under which fence.
        fence: Fence,
    },
    /// Deliveries were paused by command.
    Paused {
        /// Which lease.
        lease: LeaseKey,
        /// Under which fence.
        fence: Fence,
    },
    /// Deliveries go on by command.
    Resumed {
        /// Which lease.
        lease: LeaseKey,
        /// Under which fence.
        fence: Fence,
    },
    /// The processor failed, and the policy answered.
    ProcessorFailed {
        /// Which lease.
        lease: LeaseKey,
        /// Under which fence.
        fence: Fence,
        /// What went wrong.
        error: String,
        /// Failures in a row at this place, this one included.
        attempt: u32,
    },
    /// A record went to the dead-letter sink and counts as done.
    DeadLettered {
        /// Which lease.
        lease: LeaseKey,
        /// Under which fence.
        fence: Fence,
        /// Which record.
        at: Position,
    },
    /// The shard has made no progress for a long time although it has work.
    Stuck {
        /// Which lease.
        lease: LeaseKey,
        /// Under which fence.
        fence: Fence,
        /// For how long.
        idle: Duration,
    },
    /// The stream did not answer as it should; read again after a while.
    ReadFailed {
        /// Which lease.
        lease: LeaseKey,
        /// Under which fence.
        fence: Fence,
        /// What the stream said.
        error: String,
    },
    /// A consumer is over.
    ConsumerStopped {
        /// Which lease.
        lease: LeaseKey,
        /// Under which fence.
        fence: Fence,
        /// How far it came.
        acked: Checkpoint,
        /// Why it ended, in a word.
        reason: &'static str,
    },
}
