//! Reads one shard by asking again and again.

use std::collections::VecDeque;

use aws_sdk_kinesis::operation::get_records::GetRecordsOutput;
use kcl_core::{ChildShard, ReadLimit, ReadOutcome, Record, ShardReader, SourceError, async_trait};
use kcl_protocol::{Moment, ShardId};

use crate::errors::classify;
use crate::source::KinesisSource;
use crate::{decode, listing};

pub(crate) struct PollingReader {
    source: KinesisSource,
    shard: ShardId,
    /// Shard and stream, for errors.
    what: String,
    place: Place,
    /// No read before.
    due: Moment,
    /// Read, not yet returned: the service may send more bytes than the caller has room for.
    spare: VecDeque<Record>,
    behind_millis: u64,
    /// True once `CaughtUp` was answered, until records come.
    has_told_tip: bool,
}

enum Place {
    /// More may come.
    Open { iterator: String },
    /// The service gave no further iterator, and named no children.
    Closed,
    /// The shards that follow are known.
    Ended { children: Vec<ChildShard> },
}

impl PollingReader {
    pub fn new(source: KinesisSource, shard: ShardId, what: String, iterator: String) -> Self {
        Self {
            source,
            shard,
            what,
            place: Place::Open { iterator },
            due: Moment::default(),
            spare: VecDeque::new(),
            behind_millis: 0,
            has_told_tip: false,
        }
    }

    /// One request. Dropped midway it changes nothing: the next call sends the same again.
    async fn read(&mut self, iterator: String, limit: ReadLimit) -> Result<(), SourceError> {
        self.source.clock.sleep_until(self.due).await;
        let sent_at = self.source.clock.monotonic();
        // An answer that never comes counts as a read all the same.
        self.due = self.source.intervals.next(sent_at, 1);
        let records = limit.records.clamp(1, self.source.records);
        let request = self.source.client.get_records().shard_iterator(iterator);
        let request = request.set_stream_arn(self.source.stream.arn());
        let answer = request.limit(i32::try_from(records).unwrap_or(i32::MAX)).send().await;
        let answer = answer.map_err(|error| classify(&error, &self.what))?;
        self.arrived(sent_at, answer)
    }

    fn arrived(&mut self, sent_at: Moment, answer: GetRecordsOutput) -> Result<(), SourceError> {
        let behind = answer.millis_behind_latest.unwrap_or(0);
        let mut records = VecDeque::with_capacity(answer.records.len());
        for wire in answer.records {
            records.push_back(decode::record(wire)?);
        }
        let children = answer.child_shards.unwrap_or_default();
        let children = children.iter().map(decode::child).collect::<Result<Vec<_>, _>>()?;
        // From here on nothing fails: all of the answer counts, or none.
        self.behind_millis = u64::try_from(behind).unwrap_or(0);
        self.due = self.source.intervals.next(sent_at, self.behind_millis);
        self.spare = records;
        self.place = match answer.next_shard_iterator {
            Some(iterator) => Place::Open { iterator },
            None if children.is_empty() => Place::Closed,
            None => Place::Ended { children },
        };
        Ok(())
    }

    /// What fits of the records at hand; at least one.
    fn take(&mut self, limit: ReadLimit) -> ReadOutcome {
        let mut bytes = 0usize;
        let fits = |record: &&Record| {
            bytes += record.data.len() + record.partition_key.as_str().len();
            bytes <= limit.bytes
        };
        let count = self.spare.iter().take(limit.records).take_while(fits).count();
        let records = self.spare.drain(..count.max(1).min(self.spare.len())).collect();
        self.has_told_tip = false;
        ReadOutcome::Records { records, behind_millis: self.behind_millis }
    }
}

#[async_trait]
impl ShardReader for PollingReader {
    async fn next(&mut self, limit: ReadLimit) -> Result<ReadOutcome, SourceError> {
        loop {
            if !self.spare.is_empty() {
                return Ok(self.take(limit));
            }
            match &self.place {
                Place::Ended { children } => {
                    return Ok(ReadOutcome::ShardEnd { children: children.clone() });
                }
                Place::Closed => {
                    let source = &self.source;
                    let children =
                        listing::children_of(&source.client, &source.stream, &self.shard).await?;
                    if children.is_empty() {
                        // Closed, and the listing does not show yet what follows.
                        let why = format!("{} is closed, its children are not listed", self.what);
                        return Err(SourceError::Unavailable(why));
                    }
                    self.place = Place::Ended { children };
                }
                Place::Open { iterator } => {
                    let iterator = iterator.clone();
                    self.read(iterator, limit).await?;
                    let is_at_tip = self.spare.is_empty()
                        && self.behind_millis == 0
                        && matches!(self.place, Place::Open { .. });
                    if is_at_tip && !self.has_told_tip {
                        self.has_told_tip = true;
                        return Ok(ReadOutcome::CaughtUp);
                    }
                }
            }
        }
    }
}
