//! One record on its way.

use std::time::Duration;

use kcl_core::protocol::Moment;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::fate::{Copies, Fate, PutFailure, Receipt};
use crate::record::NewRecord;
use crate::sink::Placed;

/// A record as it comes from its caller.
#[derive(Debug)]
pub(crate) struct Taken {
    pub record: NewRecord,
    pub hash_key: u128,
    pub done: oneshot::Sender<Fate>,
    /// Its share of the producer's memory, given back when it is dropped.
    pub memory: Option<OwnedSemaphorePermit>,
}

/// A record the producer holds until its fate is told.
#[derive(Debug)]
pub(crate) struct Pending {
    pub taken: Taken,
    pub since: Moment,
    /// Which flush waits for it.
    pub epoch: u64,
    pub attempts: u32,
    /// How often it came into another shard than meant.
    pub misses: u8,
    /// Whether it may be in the stream already.
    pub copies: Copies,
    /// It was in a request that was refused for one of its records: it goes by itself from now on,
    /// so that the next answer is about it.
    pub is_suspect: bool,
}

impl Pending {
    pub fn new(taken: Taken, since: Moment, epoch: u64) -> Self {
        Self { taken, since, epoch, attempts: 0, misses: 0, copies: Copies::One, is_suspect: false }
    }

    pub fn size_bytes(&self) -> usize {
        self.taken.record.size_bytes()
    }

    /// True if it is tried no more after a failure.
    pub fn is_over(&self, patience: Duration, now: Moment) -> bool {
        now.since(self.since) >= patience
    }

    /// Its fate once a stream took it.
    pub fn receipt(&self, placed: &Placed, subsequence: u64) -> Fate {
        let position = kcl_core::protocol::Position { sequence: placed.sequence, subsequence };
        Ok(Receipt {
            shard: placed.shard.clone(),
            position,
            attempts: self.attempts,
            copies: self.copies,
        })
    }

    /// Its fate after a failure that is not tried again: what an earlier attempt may have left in
    /// the stream is never denied.
    pub fn failure(&self, end: End, why: &str) -> Fate {
        let (why, attempts) = (why.to_owned(), self.attempts);
        Err(match (end, self.copies) {
            (End::Unknown, _) | (_, Copies::OneOrMore) => PutFailure::Unknown { why, attempts },
            (End::Refused, _) => PutFailure::Refused { why, attempts },
            (End::StreamRefuses, _) => PutFailure::StreamRefuses { why, attempts },
            (End::GivenUp, _) => PutFailure::GivenUp { why, attempts },
            (End::ShutDown, _) => PutFailure::ShutDown,
        })
    }

    /// Tells its fate. Its memory is given back before anyone hears of it.
    pub fn tell(self, fate: Fate) {
        let Taken { done, memory, .. } = self.taken;
        drop(memory);
        // Nobody may be waiting for it: then there is nobody to tell.
        let _ = done.send(fate);
    }
}

/// How a record ends without a receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Refused,
    StreamRefuses,
    GivenUp,
    Unknown,
    ShutDown,
}
