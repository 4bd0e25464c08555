//! Pushed reads: a reader waits, and wakes when a record arrives.

use std::pin::pin;

use kcl_core::protocol::{SequenceNumber, ShardId};
use kcl_core::{ChildShard, ReadFrom, ReadLimit, Record};

use std::sync::Arc;

use crate::bucket::Bucket;
use crate::error::EngineError;
use crate::iterator::{Place, place};
use crate::limits::{PUSHED_RECORDS, SHARD_OUT_BYTES};
use crate::shard::{Found, Shard};
use crate::stream::Stream;

/// What a subscription brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// At least one record, in order.
    Records {
        /// The records.
        records: Vec<Record>,
        /// Where a new subscription goes on after them.
        continuation: SequenceNumber,
        /// How far the last of them is behind now (milliseconds); 0 at the tip.
        behind_millis: u64,
    },
    /// The shard is closed and every record was returned. Every later call says the same.
    ShardEnd {
        /// The shards that follow.
        children: Vec<ChildShard>,
    },
}

/// Reads one shard as records arrive, at up to 2 MiB/s of its own unless the stream is unlimited.
/// A subscription that waits costs no time of the processor.
#[derive(Debug)]
pub struct Subscription {
    stream: Stream,
    shard: Arc<Shard>,
    place: Place,
    bytes_out: Bucket,
}

impl Stream {
    /// Subscribes to a shard. Any number of subscriptions may be open on one. A time to come is
    /// allowed: records before it are passed over.
    ///
    /// # Errors
    /// `StreamNotFound`, `ShardNotFound`; `InvalidArgument` for a sequence number that is not of
    /// this shard or not given out yet.
    pub fn subscribe(&self, shard: &ShardId, from: ReadFrom) -> Result<Subscription, EngineError> {
        let shard = self.shard(shard)?;
        let place = place(&shard, from)?;
        let bytes_out = Bucket::full(SHARD_OUT_BYTES, self.now().moment);
        Ok(Subscription { stream: self.clone(), shard, place, bytes_out })
    }
}

impl Subscription {
    /// The next records; waits until there are some.
    ///
    /// # Errors
    /// `StreamNotFound` once the stream is deleted.
    ///
    /// # Cancel safety
    /// Dropping the future loses no record: the next call returns it.
    pub async fn next(&mut self, limit: ReadLimit) -> Result<Pushed, EngineError> {
        loop {
            if let Some(pushed) = self.next_or_tip(limit).await? {
                return Ok(pushed);
            }
            self.wait().await?;
        }
    }

    /// The last number passed: a new subscription goes on after it, also if no record came yet.
    pub fn passed(&self) -> SequenceNumber {
        self.shard.base.number(self.place.next.saturating_sub(1))
    }

    /// How far the next record is behind now (milliseconds); 0 if there is none.
    pub fn behind_millis(&self) -> u64 {
        self.shard.behind_millis(self.place.next, self.stream.now())
    }

    /// The next records; `None` at the tip. Waits only for the rate.
    pub(crate) async fn next_or_tip(
        &mut self,
        limit: ReadLimit,
    ) -> Result<Option<Pushed>, EngineError> {
        self.wait_for_rate().await;
        self.stream.check_exists()?;
        let settings = &self.stream.state.settings;
        let limit = (limit.records.clamp(1, PUSHED_RECORDS), limit.bytes);
        let Place { next, not_before_millis } = self.place;
        // From here to the return there is no await: a record is passed only if it is returned.
        Ok(match self.shard.read(self.stream.now(), settings, next, not_before_millis, limit) {
            Found::Records { records, bytes, next, behind_millis, .. } => {
                self.place.next = next;
                if !settings.is_unlimited() {
                    self.bytes_out.spend(bytes as u64);
                }
                let continuation = self.shard.base.number(next - 1);
                Some(Pushed::Records { records, continuation, behind_millis })
            }
            Found::End(children) => Some(Pushed::ShardEnd { children }),
            Found::Tip { next } => {
                self.place.next = next;
                None
            }
        })
    }

    /// Waits until there is something to read.
    pub(crate) async fn wait(&mut self) -> Result<(), EngineError> {
        let mut arrival = pin!(self.shard.arrival());
        // Enabled before the last look, so that no record can slip in between the two.
        arrival.as_mut().enable();
        self.stream.check_exists()?;
        let progress = self.shard.progress();
        if progress.next <= self.place.next && progress.closed_at_millis.is_none() {
            arrival.await;
        }
        Ok(())
    }

    async fn wait_for_rate(&mut self) {
        while !self.stream.state.settings.is_unlimited() {
            let now = self.stream.clock.monotonic();
            self.bytes_out.refill(now);
            if self.bytes_out.is_in_credit() {
                return;
            }
            self.stream.clock.sleep_until(now + self.bytes_out.wait_for_credit()).await;
        }
    }
}
