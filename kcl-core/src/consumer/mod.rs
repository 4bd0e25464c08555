//! One consumer runs one shard under one fence, from the lease that was won to the reason it ended.
//!
//! Invariant: user code runs only while the permit holds, and one call at a time.
//! Invariant: the checkpoint written never passes the first unacked record.

mod alarm;
mod budget;
mod calls;
mod config;
mod ending;
mod fetcher;
mod guarded;
mod lag;
mod polling;
mod report;
mod runtime;
mod writer;

use std::sync::Arc;

use kcl_protocol::{Checkpoint, Lease, Moment, Parked, Prepared, Rules, StreamName, WorkerId};
use tokio::sync::{mpsc, watch};

use crate::clock::Clock;
use crate::dead_letter::DeadLetterSink;
use crate::event::Observer;
use crate::permit::Permit;
use crate::policy::ErrorPolicy;
use crate::processor::{ProcessorError, ProcessorFactory};
use crate::source::{ChildShard, SourceError, StreamSource};
use crate::table::LeaseTable;

pub(crate) use budget::Budget;
pub(crate) use guarded::panic_text;
use report::Reporter;

pub use config::{Acks, ConsumerConfig, OutOfBounds, ProcessorKind};

/// What all consumers of one worker share.
pub(crate) struct ConsumerContext {
    /// Where checkpoints go.
    pub table: Arc<dyn LeaseTable>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Makes a processor for each (shard, fence).
    pub factory: Arc<dyn ProcessorFactory>,
    /// Answers failures.
    pub policy: Arc<dyn ErrorPolicy>,
    /// Takes records the policy gives up on.
    pub dead_letters: Option<Arc<dyn DeadLetterSink>>,
    /// Settings.
    pub config: ConsumerConfig,
    /// What all of them may have read and not finished.
    pub budget: Arc<Budget>,
    /// Hears what happens.
    pub observer: Arc<dyn Observer>,
    /// This run of this worker.
    pub worker: WorkerId,
    /// The rules of the checkpoint gate.
    pub rules: Rules,
}

/// A lease to work on.
pub(crate) struct Assignment {
    /// The row as the reply of this worker's own write, or a strong read, showed it.
    pub lease: Lease,
    /// The stream the shard is part of.
    pub stream: StreamName,
    /// Where the records come from.
    pub source: Arc<dyn StreamSource>,
    /// The right to act on the lease.
    pub permit: Permit,
}

/// Why a consumer is told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StopReason {
    /// Another worker gets the lease.
    HandOver,
    /// The worker leaves.
    Shutdown,
}

/// What a consumer is told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConsumerCommand {
    /// Finish the running batch if it is quick, and end.
    Stop(StopReason),
    /// Deliver nothing more, keep the lease.
    Pause,
    /// Go on delivering; also of a parked shard.
    Resume,
}

/// What a consumer is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsumerState {
    /// `initialize` is being called.
    Initializing,
    /// Waits for records, or for acks.
    Waiting,
    /// A batch is being processed.
    Processing,
    /// Waits before it tries again.
    Retrying,
    /// Waits for the worker's validity to come back.
    Suspended,
    /// Delivers nothing because it was told to.
    Paused,
    /// Delivers nothing because the error policy said so.
    Parked,
    /// `shard_ended` is being called.
    Ending,
    /// On its way out.
    Stopping,
}

/// How a consumer stands; cheap to read at any time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerStatus {
    /// What it is doing. Receivers of the status are woken when this changes.
    pub state: ConsumerState,
    /// Since when, on the worker's monotonic clock.
    pub since: Moment,
    /// How far the shard's work is behind the tip (milliseconds): the batch that is not done, or
    /// else the next one, by what its read said and the time since, so it grows while records wait,
    /// parked or paused as well. 0 with nothing waiting, unless the last read left more to come. A
    /// stream that fails is no lag, since nobody knows what it has: it is told as an event.
    pub lag_millis: u64,
    /// Since when `lag_millis` grows by itself.
    pub(crate) lag_since: Option<Moment>,
    /// Records delivered, redeliveries included.
    pub delivered: u64,
    /// Everything up to here is done.
    pub acked: Checkpoint,
    /// Records delivered and not acked.
    pub unacked: usize,
    /// Why it is parked, if so.
    pub parked: Option<Parked>,
}

impl ConsumerStatus {
    /// Of a consumer about to start on this lease.
    pub(crate) fn starting(lease: &Lease, now: Moment) -> Self {
        Self {
            state: ConsumerState::Initializing,
            since: now,
            lag_millis: 0,
            lag_since: None,
            delivered: 0,
            acked: lease.checkpoint,
            unacked: 0,
            parked: None,
        }
    }

    /// As it is at this moment: what grows by itself is brought up to date.
    pub(crate) fn at(mut self, now: Moment) -> Self {
        self.lag_millis = lag::aged(self.lag_millis, self.lag_since, now);
        self.lag_since = self.lag_since.map(|_| now);
        self
    }
}

/// Runs a consumer to its end.
///
/// Dropping the future at any time ends everything it does, without a farewell; a call of a
/// blocking processor runs on until it returns or comes to an await point.
pub(crate) fn consumer(
    ctx: Arc<ConsumerContext>,
    assignment: Assignment,
    commands: mpsc::Receiver<ConsumerCommand>,
    status: watch::Sender<ConsumerStatus>,
) -> impl Future<Output = Exit> + Send {
    runtime::Consumer::new(ctx, assignment, commands, status).run()
}

/// How a consumer ended.
#[derive(Debug)]
pub(crate) struct Exit {
    /// Why.
    pub reason: ExitReason,
    /// The acked watermark: goes into the ownership write that follows.
    pub acked: Checkpoint,
    /// What is prepared beyond it: goes there too.
    pub prepared: Option<Prepared>,
    /// An effect was sent and its outcome is unknown. It may have moved the row's checkpoint above
    /// the watermark, so the ownership write that follows must leave that as it is.
    pub is_undecided: bool,
}

/// Why a consumer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExitReason {
    /// It was told to stop.
    HandedBack,
    /// The shard is closed, everything is acked, and the processor agreed.
    Ended {
        /// The shards that follow.
        children: Vec<ChildShard>,
    },
    /// The lease is no longer held under this fence.
    Lost,
    /// The error policy gave the shard up, or it made no progress for too long.
    Yield {
        /// What went wrong.
        error: ProcessorError,
    },
    /// The error policy wants the worker to shut down.
    StopWorker {
        /// What went wrong.
        error: ProcessorError,
    },
    /// The shard cannot be read, and trying again will not help.
    SourceFailed(SourceError),
}

impl ExitReason {
    /// In a word, for logs.
    pub fn word(&self) -> &'static str {
        match self {
            Self::HandedBack => "handed back",
            Self::Ended { .. } => "ended",
            Self::Lost => "lost",
            Self::Yield { .. } => "yield",
            Self::StopWorker { .. } => "stop worker",
            Self::SourceFailed(_) => "source failed",
        }
    }
}

#[cfg(test)]
mod tests;
