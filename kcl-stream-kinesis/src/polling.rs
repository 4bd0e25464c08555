//! Reads one shard by asking again and again.

use kcl_core::{
    ChildShard, ReadFrom, ReadLimit, ReadOutcome, Record, ShardReader, SourceError, async_trait,
};
use kcl_protocol::{Moment, ShardId};

use crate::api::{Page, ReadError};
use crate::pace::Pace;
use crate::source::KinesisSource;
use crate::spare::Spare;

pub(crate) struct PollingReader {
    source: KinesisSource,
    shard: ShardId,
    place: Place,
    /// Everything before was read.
    from: ReadFrom,
    pace: Pace,
    spare: Spare,
    /// True once `CaughtUp` was answered, until records come.
    has_told_tip: bool,
    /// The place was refused, and nothing was answered since.
    was_refused: bool,
}

enum Place {
    /// More may come.
    Open { iterator: String },
    /// The iterator was too old.
    Lost,
    /// The service gave no further iterator, and named no children.
    Closed,
    /// The shards that follow are known.
    Ended { children: Vec<ChildShard> },
}

impl Place {
    /// Where the service gave this.
    fn at(iterator: Option<String>) -> Self {
        iterator.map_or(Self::Closed, |iterator| Self::Open { iterator })
    }
}

impl PollingReader {
    /// # Errors
    /// Those of asking for an iterator.
    pub async fn open(
        source: KinesisSource,
        shard: ShardId,
        from: ReadFrom,
    ) -> Result<Self, SourceError> {
        let iterator = source.counted(source.api.iterator(&shard, from).await)?;
        let pace = Pace::new(source.intervals);
        let (place, spare) = (Place::at(iterator), Spare::default());
        let (has_told_tip, was_refused) = (false, false);
        Ok(Self { source, shard, place, from, pace, spare, has_told_tip, was_refused })
    }

    /// One request. Dropped midway it changes nothing: the next call sends the same again.
    async fn read(&mut self, iterator: &str, limit: ReadLimit) -> Result<Page, ReadError> {
        self.source.clock.sleep_until(self.pace.due()).await;
        let sent_at = self.source.clock.monotonic();
        self.pace.sent(sent_at);
        let most = limit.records.clamp(1, self.source.records);
        let records = self.pace.records(most, limit.bytes);
        let answer = self.source.api.get_records(&self.shard, iterator, records).await;
        match answer {
            Ok(page) => {
                self.answered(sent_at, &page);
                Ok(page)
            }
            Err(ReadError::Other(SourceError::Throttled { .. })) => Err(self.throttled().into()),
            Err(error) => Err(error),
        }
    }

    fn answered(&mut self, sent_at: Moment, page: &Page) {
        self.was_refused = false;
        let (records, bytes) =
            (page.records.len(), page.records.iter().map(Record::size_bytes).sum());
        self.source.counting.read(records, bytes);
        let was_shared = self.pace.is_shared();
        self.pace.answered(sent_at, records, bytes, page.behind_millis);
        if was_shared && !self.pace.is_shared() {
            tracing::info!(shard = %self.shard, "reads at the full rate again");
        }
    }

    fn throttled(&mut self) -> SourceError {
        self.source.counting.throttled_read();
        if !self.pace.is_shared() {
            tracing::warn!(shard = %self.shard, "reads are throttled: the shard's rate is shared");
        }
        let now = self.source.clock.monotonic();
        SourceError::Throttled { retry_after: self.pace.refused(now, self.source.rolls.next()) }
    }

    /// # Errors
    /// If the one before it was refused too: then it is not for the place.
    fn place_refused(&mut self, why: String) -> Result<(), SourceError> {
        if std::mem::replace(&mut self.was_refused, true) {
            return Err(SourceError::Refused(why));
        }
        tracing::debug!(shard = %self.shard, why, "a place is taken up anew");
        self.place = Place::Lost;
        Ok(())
    }

    fn arrived(&mut self, page: Page) {
        if let Some(last) = page.records.last() {
            self.from = ReadFrom::After(last.position);
            self.has_told_tip = false;
        }
        self.place = match page.next {
            Some(iterator) => Place::Open { iterator },
            None if page.children.is_empty() => Place::Closed,
            None => Place::Ended { children: page.children },
        };
        self.spare.fill(page.records, page.behind_millis);
    }
}

#[async_trait]
impl ShardReader for PollingReader {
    async fn next(&mut self, limit: ReadLimit) -> Result<ReadOutcome, SourceError> {
        let mut was_lost = false;
        loop {
            if let Some(outcome) = self.spare.take(limit) {
                return Ok(outcome);
            }
            match &self.place {
                Place::Ended { children } => {
                    return Ok(ReadOutcome::ShardEnd { children: children.clone() });
                }
                Place::Closed => {
                    let children = self.source.children_of(&self.shard).await?;
                    self.place = Place::Ended { children };
                }
                Place::Lost => {
                    let answer = self.source.api.iterator(&self.shard, self.from).await;
                    let iterator = self.source.counted(answer)?;
                    self.source.counting.reopened();
                    self.place = Place::at(iterator);
                }
                Place::Open { iterator } => {
                    let iterator = iterator.clone();
                    let page = match self.read(&iterator, limit).await {
                        Ok(page) => page,
                        Err(ReadError::Other(SourceError::Expired)) => {
                            self.source.counting.expired();
                            self.place = Place::Lost;
                            // Lost again as soon as it was found: the caller waits.
                            if std::mem::replace(&mut was_lost, true) {
                                return Err(SourceError::Expired);
                            }
                            continue;
                        }
                        Err(ReadError::PlaceRefused(why)) => {
                            self.place_refused(why)?;
                            continue;
                        }
                        Err(ReadError::Other(error)) => return Err(error),
                    };
                    let is_at_tip =
                        page.records.is_empty() && page.behind_millis == 0 && page.next.is_some();
                    self.arrived(page);
                    if is_at_tip && !self.has_told_tip {
                        self.has_told_tip = true;
                        return Ok(ReadOutcome::CaughtUp);
                    }
                }
            }
        }
    }

    fn held(&self) -> ReadLimit {
        self.spare.held()
    }
}
