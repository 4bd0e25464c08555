//! What a worker tells of its doings: for logs, metrics, and the checkers that judge a run.

mod words;

use std::sync::Arc;
use std::time::Duration;

use kcl_protocol::hash_audit::Fault;
use kcl_protocol::{Checkpoint, Fence, LeaseKey, Moment, Ordinal, Position, StreamName, WorkerId};

/// Hears every event. Called from the worker's two loops and from every consumer's task, several at
/// once; in order for the consumer of one lease. It is called in the middle of the work, so it must
/// return at once and not panic: count, or put the event on a bounded queue of your own.
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

/// Why a lease came to a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HoldReason {
    /// Nobody who lives owned it when the worker started.
    Started,
    /// Its owner died.
    OwnerDied,
    /// Its owner handed it over.
    HandedOver,
    /// Its owner did not answer an ask.
    Forced,
    /// The row named this worker already.
    Adopted,
    /// Its last parent ended.
    ParentsEnded,
    /// It was found without an owner: by a listing, by a round of reconciliation, or by a worker
    /// that looked for what it had given up.
    Reconciled,
}

/// The kinds of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// The worker registered under a new id.
    Registered,
    /// The registration is over: fenced, restored or left.
    Deregistered,
    /// The control loop stood still for too long; heartbeats stop.
    ControlStalled,
    /// Heartbeats fail: unless one succeeds in time, processing stops. Told at the first one that
    /// fails after one that did not.
    HeartbeatsFail {
        /// How that one failed, for people.
        error: String,
    },
    /// This worker declared another one dead.
    FencedOther {
        /// The dead one.
        worker: WorkerId,
    },
    /// The rows of the workers cannot be read, and trying again does not mend it: a worker that
    /// joins is not seen, and none can start. Those known are watched one by one. Told once for
    /// each reason.
    WorkersUnreadable {
        /// Why, with the row's key if it is about one.
        error: String,
    },
    /// A lease names a worker without a row; one is made and watched.
    OwnerMissing {
        /// The worker named.
        worker: WorkerId,
    },
    /// The worker reads one more stream.
    StreamAdded {
        /// Which.
        stream: StreamName,
    },
    /// The worker reads a stream no more, and holds none of its shards.
    StreamRemoved {
        /// Which.
        stream: StreamName,
    },
    /// A stream was deleted and made again: the worker stops reading it.
    StreamRefused {
        /// Which.
        stream: StreamName,
        /// Why, for people.
        error: String,
    },
    /// This worker holds a lease from now on.
    LeaseHeld {
        /// The lease.
        lease: LeaseKey,
        /// Under which fence.
        fence: Fence,
        /// Who had it before, if known.
        from: Option<WorkerId>,
        /// Why.
        reason: HoldReason,
    },
    /// A lease was handed to another worker.
    LeaseGiven {
        /// The lease.
        lease: LeaseKey,
        /// The fence it has now.
        fence: Fence,
        /// Who has it now.
        to: WorkerId,
    },
    /// A lease left this worker otherwise: released, or taken meanwhile.
    LeaseReleased {
        /// The lease.
        lease: LeaseKey,
    },
    /// Another worker's revocation took a lease away.
    Revoked {
        /// The lease.
        lease: LeaseKey,
    },
    /// This worker asked another one for leases.
    Asked {
        /// Whom.
        donor: WorkerId,
        /// For how many.
        leases: usize,
    },
    /// A shard's end is committed.
    ShardEnded {
        /// The lease.
        lease: LeaseKey,
    },
    /// The stream has dropped a shard before it was read to its end: what was left of it is gone,
    /// and its lease is ended so that its children go on.
    ShardDropped {
        /// The lease.
        lease: LeaseKey,
    },
    /// A shard cannot be read at all; its lease is given away.
    SourceFailed {
        /// The lease.
        lease: LeaseKey,
        /// Why.
        error: String,
    },
    /// Listing the shards failed. It is tried again, after waits that grow up to eight heartbeats.
    SyncFailed {
        /// Why.
        error: String,
    },
    /// Somebody deleted a lease row. It is made anew at the trim horizon, under fences above all
    /// old ones: its records are delivered again.
    LeaseRowDeleted {
        /// The lease.
        lease: LeaseKey,
    },
    /// This worker won a round of reconciliation.
    RoundWon {
        /// Its number.
        round: u64,
    },
    /// A worker holds something else than the rows say, twice in a row; it is told to compare.
    Disagrees {
        /// The worker.
        worker: WorkerId,
    },
    /// The open shards do not tile the hash key space.
    HashRangeFault {
        /// Where, and how.
        fault: Fault,
    },
    /// A consumer begins; nothing was delivered yet.
    ConsumerStarted {
        /// Which lease.
        lease: LeaseKey,
        /// Under which fence.
        fence: Fence,
        /// Where it goes on.
        checkpoint: Checkpoint,
    },
    /// A consumer panicked, outside the processor: a source of the user's, or the framework. Its
    /// lease is given away.
    ConsumerPanicked {
        /// Which lease.
        lease: LeaseKey,
        /// Under which fence.
        fence: Fence,
        /// What the panic said.
        panic: String,
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
    /// A checkpoint in two phases stands prepared in the lease row.
    Prepared {
        /// The lease.
        lease: LeaseKey,
        /// Under which fence.
        fence: Fence,
        /// Where.
        at: Position,
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
    /// The dead-letter sink did not take a record; it is offered again.
    DeadLetterFailed {
        /// Which lease.
        lease: LeaseKey,
        /// Under which fence.
        fence: Fence,
        /// Which record.
        at: Position,
        /// What the sink said.
        error: String,
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
