//! Reads one shard by subscriptions, one after the other.

use std::time::Duration;

use kcl_core::{
    ChildShard, ReadFrom, ReadLimit, ReadOutcome, Record, ShardReader, SourceError, async_trait,
};
use kcl_protocol::retry::spread;
use kcl_protocol::{Position, ShardId};

use super::feed::{Feed, Told};
use crate::api::{Event, SubscriptionError};
use crate::source::KinesisSource;
use crate::spare::Spare;

/// The end of the shard.
enum End {
    /// More may come.
    Open,
    /// All was told but the shards that follow.
    Closed,
    Ended {
        children: Vec<ChildShard>,
    },
}

pub(crate) struct FanOutReader {
    source: KinesisSource,
    shard: ShardId,
    /// Everything before was told.
    from: ReadFrom,
    feed: Option<Feed>,
    spare: Spare,
    end: End,
    /// The last event brought the reader to the tip, and `CaughtUp` was not answered since.
    owes_tip: bool,
    has_told_tip: bool,
}

impl FanOutReader {
    /// # Errors
    /// Those of subscribing.
    pub async fn open(
        source: KinesisSource,
        shard: ShardId,
        from: ReadFrom,
    ) -> Result<Self, SourceError> {
        let mut reader = Self {
            feed: Some(Feed::start(&source, &shard, from)),
            source,
            shard,
            from,
            spare: Spare::default(),
            end: End::Open,
            owes_tip: false,
            has_told_tip: false,
        };
        // Only once the subscription stands do records that come now belong to it.
        let told = match &mut reader.feed {
            Some(feed) => feed.next().await,
            None => None,
        };
        match told {
            Some(Told::Failed(error)) => Err(reader.troubled(error)),
            Some(told) => {
                reader.take_in(told)?;
                Ok(reader)
            }
            None => Ok(reader),
        }
    }

    fn take_in(&mut self, told: Told) -> Result<(), SourceError> {
        match told {
            Told::Subscribed => Ok(()),
            Told::Event(event) => {
                self.arrived(event);
                Ok(())
            }
            Told::Failed(error) => {
                self.feed = None;
                Err(self.troubled(error))
            }
        }
    }

    /// Counts it, and says once that something is wrong, however often it is.
    fn troubled(&self, error: SubscriptionError) -> SourceError {
        let shard = &self.shard;
        let is_in_use = matches!(error, SubscriptionError::InUse { .. });
        let error = match error {
            SubscriptionError::InUse { retry_after } => {
                let now = self.source.clock.monotonic();
                self.refused(self.source.contests.wait(shard, now, retry_after))
            }
            SubscriptionError::Other(SourceError::Throttled { retry_after }) => {
                self.refused(retry_after)
            }
            SubscriptionError::Other(error) => error,
        };
        let now = self.source.clock.monotonic();
        match (self.source.troubles.begin(shard, now), is_in_use) {
            (true, true) => tracing::warn!(
                %shard,
                "the consumer has another subscription to the shard; waiting for it to end. If it \
                 stays so, two applications use one consumer: give each its own"
            ),
            (true, false) => tracing::warn!(%shard, %error, "the subscription failed"),
            (false, _) => tracing::debug!(%shard, %error, "the subscription failed again"),
        }
        error
    }

    fn refused(&self, longest_wait: Duration) -> SourceError {
        self.source.counting.throttled();
        // Two that take the shard from each other do not meet each time.
        let retry_after = spread(longest_wait, self.source.rolls.next());
        SourceError::Throttled { retry_after }
    }

    fn arrived(&mut self, event: Event) {
        if self.source.troubles.end(&self.shard) {
            tracing::info!(shard = %self.shard, "subscribed again");
        }
        let Event { mut records, behind_millis, passed, children } = event;
        self.source.counting.read(records.len(), records.iter().map(Record::size_bytes).sum());
        // A service that sends again what it has sent is not followed.
        if let ReadFrom::After(last) = self.from {
            records.retain(|record| record.position > last);
        }
        let last = records.last().map(|record| record.position);
        // Where it goes on: a quiet shard moves on too.
        let passed = passed.map(Position::from);
        if let Some(last) = last.max(passed) {
            self.from = match self.from {
                ReadFrom::After(before) => ReadFrom::After(before.max(last)),
                _ => ReadFrom::After(last),
            };
        }
        if passed.is_none() {
            self.end = match children.is_empty() {
                true => End::Closed,
                false => End::Ended { children },
            };
            self.feed = None;
        }
        self.has_told_tip &= records.is_empty();
        self.owes_tip = behind_millis == 0 && !self.has_told_tip && passed.is_some();
        self.spare.fill(records, behind_millis);
    }
}

#[async_trait]
impl ShardReader for FanOutReader {
    async fn next(&mut self, limit: ReadLimit) -> Result<ReadOutcome, SourceError> {
        loop {
            if let Some(outcome) = self.spare.take(limit) {
                return Ok(outcome);
            }
            match &self.end {
                End::Open => {}
                End::Closed => {
                    let children = self.source.children_of(&self.shard).await?;
                    self.end = End::Ended { children };
                    continue;
                }
                End::Ended { children } => {
                    return Ok(ReadOutcome::ShardEnd { children: children.clone() });
                }
            }
            if std::mem::take(&mut self.owes_tip) {
                self.has_told_tip = true;
                return Ok(ReadOutcome::CaughtUp);
            }
            let Some(feed) = &mut self.feed else {
                self.source.counting.reopened();
                self.feed = Some(Feed::start(&self.source, &self.shard, self.from));
                continue;
            };
            match feed.next().await {
                Some(told) => self.take_in(told)?,
                None => self.feed = None,
            }
        }
    }

    fn held(&self) -> ReadLimit {
        self.spare.held()
    }
}
