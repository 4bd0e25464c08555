//! What becomes of a record: told exactly once.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use kcl_core::protocol::{Position, ShardId};
use tokio::sync::oneshot;

/// Where a record went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The shard that took it.
    pub shard: ShardId,
    /// Its place there: sequence number, and its number within an aggregate.
    pub position: Position,
    /// Requests it was part of, this one included.
    pub attempts: u32,
    /// Whether it may be in the stream more than once.
    pub copies: Copies,
}

/// How often a record that was put is in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copies {
    /// Once.
    One,
    /// At least once: a reply was lost before or the service failed at it, or an aggregate was put
    /// again after a reshard.
    OneOrMore,
}

/// Why there is no receipt for a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PutFailure {
    /// The stream refused it, and would the next time. It is not in the stream.
    #[error("refused: {why}")]
    Refused {
        /// The sink's words.
        why: String,
        /// Requests it was part of.
        attempts: u32,
    },
    /// The stream takes no record at all: it does not exist, or the credentials may not write to
    /// it. This one is not in the stream, and there is nothing wrong with it: put it again once
    /// that is mended.
    #[error("the stream takes no record: {why}")]
    StreamRefuses {
        /// The sink's words.
        why: String,
        /// Requests it was part of.
        attempts: u32,
    },
    /// The producer's patience ended while it was refused again and again, or waited behind one
    /// that was. It is not in the stream.
    #[error("given up after {attempts} attempts: {why}")]
    GivenUp {
        /// The last reason, in the sink's words.
        why: String,
        /// Requests it was part of.
        attempts: u32,
    },
    /// It may be in the stream or not: a reply was lost, the service failed at it, a request was
    /// under way when the producer was shut down, or it is in an aggregate that came into another
    /// shard than meant.
    #[error("unknown whether it is in the stream, after {attempts} attempts: {why}")]
    Unknown {
        /// What happened.
        why: String,
        /// Requests it was part of.
        attempts: u32,
    },
    /// The producer's shutdown came to its deadline first. It is not in the stream.
    #[error("the producer was shut down before the record was put")]
    ShutDown,
    /// The producer's runtime ended. It may be in the stream or not.
    #[error("the producer has ended with its runtime; the record may be in the stream or not")]
    Stopped,
}

impl PutFailure {
    /// False if the record is certainly not in the stream.
    pub fn may_be_in_stream(&self) -> bool {
        matches!(self, Self::Unknown { .. } | Self::Stopped)
    }
}

/// What became of a record.
pub type Fate = Result<Receipt, PutFailure>;

/// Why a producer did not take a record: nothing will come of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAccepted {
    /// A wrong key or size: put another one.
    #[error("{0}")]
    Invalid(String),
    /// The payload could not be sealed: ask the sealer's key ring, and put it again.
    #[error("{0}")]
    NotSealed(String),
    /// No room now; only from `try_put`.
    #[error("the producer's memory is full: try again later, or wait with put")]
    Full,
    /// The producer was shut down, or its runtime ended.
    #[error("the producer was shut down: make a new one")]
    Closed,
}

/// What will become of one record: a future of its receipt. Dropping it changes nothing for the
/// record; failures nobody waits for are counted in the metrics.
#[derive(Debug)]
pub struct Delivery(pub(crate) oneshot::Receiver<Fate>);

impl Future for Delivery {
    type Output = Fate;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let fate = Pin::new(&mut self.0).poll(context);
        fate.map(|fate| fate.unwrap_or(Err(PutFailure::Stopped)))
    }
}
