//! Events in words, for timelines and logs. Neither keys nor payloads of records show in them.

use std::fmt::{Display, Formatter, Result};

use super::{BatchOutcome, Event, EventKind, HoldReason, Span};

impl Display for Event {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{}: {}", self.worker, self.kind)
    }
}

impl Display for Span {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{} records {}..={}", self.count, self.first, self.last)
    }
}

impl Display for BatchOutcome {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::Failed(error) => write!(f, "failed: {error}"),
            Self::Dropped => f.write_str("dropped at an await point"),
        }
    }
}

impl Display for HoldReason {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(match self {
            Self::Started => "nobody had it",
            Self::OwnerDied => "its owner died",
            Self::HandedOver => "handed over",
            Self::Forced => "its owner did not answer",
            Self::Adopted => "its row named this worker",
            Self::ParentsEnded => "its parents ended",
            Self::Reconciled => "a round gave it",
        })
    }
}

impl Display for EventKind {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Registered => f.write_str("registered"),
            Self::Deregistered => f.write_str("registration is over"),
            Self::ControlStalled => f.write_str("control loop stood still, heartbeats stop"),
            Self::HeartbeatsFail { error } => write!(f, "heartbeats fail: {error}"),
            Self::FencedOther { worker } => write!(f, "declared {worker} dead"),
            Self::WorkersUnreadable { error } => {
                write!(f, "the rows of the workers cannot be read: {error}")
            }
            Self::OwnerMissing { worker } => write!(f, "watches {worker}, which has no row"),
            Self::Asked { donor, leases } => write!(f, "asked {donor} for {leases} leases"),
            Self::SyncFailed { error } => write!(f, "listing shards failed: {error}"),
            Self::StreamAdded { stream } => write!(f, "reads stream {stream} too"),
            Self::StreamRemoved { stream } => write!(f, "reads stream {stream} no more"),
            Self::StreamRefused { stream, error } => {
                write!(f, "stream {stream} is refused: {error}")
            }
            Self::RoundWon { round } => write!(f, "won round {round}"),
            Self::Disagrees { worker } => write!(f, "{worker} disagrees with the rows"),
            Self::HashRangeFault { fault } => {
                write!(f, "hash keys {} are covered {} times", fault.range, fault.cover)
            }
            _ => self.of_a_lease(f),
        }
    }
}

impl EventKind {
    fn of_a_lease(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::LeaseHeld { lease, fence, from, reason } => {
                write!(f, "holds {lease} at fence {fence}: {reason}")?;
                from.as_ref().map_or(Ok(()), |from| write!(f, ", was {from}'s"))
            }
            Self::LeaseGiven { lease, fence, to } => {
                write!(f, "gave {lease} to {to}, now at fence {fence}")
            }
            Self::LeaseReleased { lease } => write!(f, "let {lease} go"),
            Self::Revoked { lease } => write!(f, "{lease} was revoked"),
            Self::ShardEnded { lease } => write!(f, "committed the end of {lease}"),
            Self::ShardDropped { lease } => {
                write!(f, "the stream has dropped {lease} before it was read to its end")
            }
            Self::SourceFailed { lease, error } => write!(f, "cannot read {lease}: {error}"),
            Self::LeaseRowDeleted { lease } => write!(f, "row of {lease} was deleted by hand"),
            _ => self.of_a_consumer(f),
        }
    }

    fn of_a_consumer(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::ConsumerStarted { lease, fence, checkpoint } => {
                write!(f, "starts {lease} at fence {fence} from {checkpoint}")
            }
            Self::ConsumerPanicked { lease, panic, .. } => {
                write!(f, "the consumer of {lease} panicked: {panic}")
            }
            Self::BatchStarted { lease, span, .. } => write!(f, "{lease} is given {span}"),
            Self::BatchEnded { lease, span, outcome, .. } => {
                write!(f, "{lease}: {span} {outcome}")
            }
            Self::Overrun { lease, past, .. } => {
                write!(f, "{lease} ran {past:?} past its validity")
            }
            Self::Checkpointed { lease, fence, checkpoint, ordinal } => {
                write!(f, "{lease} is checkpointed at {checkpoint} ({fence}, {})", ordinal.0)
            }
            Self::Prepared { lease, fence, at } => {
                write!(f, "{lease} has a checkpoint prepared at {at} ({fence})")
            }
            Self::CheckpointFailed { lease, error, .. } => {
                write!(f, "checkpoint of {lease} failed: {error}")
            }
            Self::Parked { lease, reason, .. } => write!(f, "parked {lease}: {reason}"),
            Self::Unparked { lease, .. } => write!(f, "tries parked {lease} again"),
            Self::Paused { lease, .. } => write!(f, "paused {lease}"),
            Self::Resumed { lease, .. } => write!(f, "resumed {lease}"),
            Self::ProcessorFailed { lease, error, attempt, .. } => {
                write!(f, "processor of {lease} failed, attempt {attempt}: {error}")
            }
            Self::DeadLettered { lease, at, .. } => write!(f, "{lease}: dead letter {at}"),
            Self::DeadLetterFailed { lease, at, error, .. } => {
                write!(f, "{lease}: dead letter {at} was not taken: {error}")
            }
            Self::Stuck { lease, idle, .. } => write!(f, "{lease} is stuck for {idle:?}"),
            Self::ReadFailed { lease, error, .. } => write!(f, "reading {lease} failed: {error}"),
            Self::ConsumerStopped { lease, fence, acked, reason } => {
                write!(f, "stopped {lease} at fence {fence}, acked {acked}: {reason}")
            }
            // The other kinds have their words above.
            other => write!(f, "{other:?}"),
        }
    }
}
