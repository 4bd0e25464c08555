//! Places in a shard.

use kcl_core::ReadFrom;
use kcl_core::protocol::{SequenceNumber, ShardId};

use crate::error::EngineError;
use crate::limits::ITERATOR_LIFE_MILLIS;
use crate::sequence::ShardNumber;
use crate::shard::{Now, Shard};
use crate::stream::Stream;

/// A place in a shard, to be read within five minutes. Plain values: whoever hands it to strangers
/// seals it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardIterator {
    /// Of the stream, so that one made anew under the same name is told apart.
    pub stream_created_at_millis: u64,
    /// The shard.
    pub shard: ShardNumber,
    /// The counter of the next record, in the shard's sequence numbers.
    pub next: u64,
    /// When it was given out (Unix milliseconds).
    pub issued_at_millis: u64,
}

impl ShardIterator {
    pub(crate) fn check_age(&self, now: Now) -> Result<(), EngineError> {
        let age = now.wall_millis.saturating_sub(self.issued_at_millis);
        match age.checked_sub(ITERATOR_LIFE_MILLIS) {
            None | Some(0) => Ok(()),
            Some(over) => Err(EngineError::ExpiredIterator(over)),
        }
    }
}

/// Where a reader begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Counter of the next record.
    pub(crate) next: u64,
    /// Records that arrived before are passed over (Unix milliseconds).
    pub(crate) not_before_millis: u64,
}

impl Stream {
    /// A place in a shard, also a closed one. A place below the oldest record retained is that
    /// record's.
    ///
    /// # Errors
    /// `StreamNotFound`, `ShardNotFound`; `InvalidArgument` for a sequence number that is not of
    /// this shard or not given out yet, or a time to come.
    pub fn shard_iterator(
        &self,
        shard: &ShardId,
        from: ReadFrom,
    ) -> Result<ShardIterator, EngineError> {
        let shard = self.shard(shard)?;
        let now = self.now();
        if let ReadFrom::AtTimestamp(millis) = from
            && millis > now.wall_millis
        {
            return Err(EngineError::InvalidArgument(format!(
                "timestamp {millis} is in the future: now it is {}",
                now.wall_millis
            )));
        }
        let next = place(&shard, from)?.next;
        Ok(self.iterator_at(&shard, next, now))
    }

    pub(crate) fn iterator_at(&self, shard: &Shard, next: u64, now: Now) -> ShardIterator {
        ShardIterator {
            stream_created_at_millis: self.state.created_at_millis,
            shard: shard.number,
            next,
            issued_at_millis: now.wall_millis,
        }
    }
}

/// Finds a place in a shard.
pub(crate) fn place(shard: &Shard, from: ReadFrom) -> Result<Place, EngineError> {
    let at = |next| Place { next, not_before_millis: 0 };
    Ok(match from {
        ReadFrom::TrimHorizon => at(0),
        ReadFrom::Latest => at(shard.progress().next),
        ReadFrom::At(sequence) => at(counter(shard, sequence)?),
        ReadFrom::After(position) => at(counter(shard, position.sequence)?.saturating_add(1)),
        ReadFrom::AtTimestamp(millis) => {
            Place { next: shard.first_arrived_at(millis), not_before_millis: millis }
        }
    })
}

fn counter(shard: &Shard, sequence: SequenceNumber) -> Result<u64, EngineError> {
    let counter = shard.base.counter(sequence).ok_or_else(|| {
        EngineError::InvalidArgument(format!(
            "sequence number {sequence} is not of shard {}: use one of its own",
            shard.number
        ))
    })?;
    let progress = shard.progress();
    // The next number stands for the end of a closed shard, as its listing shows it.
    let next_is_known = u64::from(progress.closed_at_millis.is_some());
    if counter >= progress.next + next_is_known {
        return Err(EngineError::InvalidArgument(format!(
            "sequence number {sequence} was not given out by shard {} yet",
            shard.number
        )));
    }
    Ok(counter)
}
