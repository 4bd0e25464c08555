//! Reads one shard of an [`UnpackedSource`].
//!
//! Records go through three queues, and leave one only when they enter the next, so that a call
//! dropped at any await loses none: `pages` as the stream has them, `sealed` taken apart, `ready`
//! to be returned.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use kcl_core::{
    ReadLimit, ReadOutcome, Record, RecordQueue, ShardReader, SourceError, StreamSource, Unreadable,
};
use kcl_protocol::{HashKeyRange, Position, ShardId};

use super::{Opening, UnpackedSource};
use crate::aggregate::{Decoded, MAGIC, SubRecord, decode};

pub(super) struct UnpackedReader<S> {
    source: UnpackedSource<S>,
    shard: ShardId,
    inner: Box<dyn ShardReader>,
    /// Records up to here were returned by an earlier reader. `None` once one is past it.
    after: Option<Position>,
    /// The shard's range once it was asked for: `Some(None)` if it has none.
    range: Option<Option<HashKeyRange>>,
    page: RecordQueue,
    sealed: RecordQueue,
    ready: RecordQueue,
    /// The tip, as far as the page tells: how far its last record was behind, and when it came.
    behind_millis: u64,
    last_arrival_millis: u64,
}

impl<S: StreamSource> UnpackedReader<S> {
    pub fn new(
        source: UnpackedSource<S>,
        shard: ShardId,
        inner: Box<dyn ShardReader>,
        after: Option<Position>,
    ) -> Self {
        Self {
            source,
            shard,
            inner,
            after,
            range: None,
            page: RecordQueue::default(),
            sealed: RecordQueue::default(),
            ready: RecordQueue::default(),
            behind_millis: 0,
            last_arrival_millis: 0,
        }
    }

    /// True if there is nothing to do to these records.
    fn passes(&self, records: &[Record]) -> bool {
        let is_plain = |record: &Record| !record.data.starts_with(&MAGIC);
        self.after.is_none() && !self.source.opening.is_on() && records.iter().all(is_plain)
    }

    /// Goes on with the page until enough is ready, at least one record if there is any.
    async fn unpack(&mut self, limit: ReadLimit) -> Result<(), SourceError> {
        let is_enough = |ready: ReadLimit| {
            ready.records > 0 && (ready.records >= limit.records || ready.bytes >= limit.bytes)
        };
        while !is_enough(self.ready.held()) {
            if let Some(record) = self.sealed.front() {
                let opened = self.source.opening.open(record).await?;
                if let Some(record) = self.sealed.pop() {
                    self.ready.push(opened.record(record));
                }
                continue;
            }
            let Some(record) = self.page.front() else { break };
            let is_aggregate = record.unreadable.is_none() && record.data.starts_with(&MAGIC);
            if is_aggregate && self.range.is_none() {
                self.range = Some(self.source.range(&self.shard).await?);
            }
            if let Some(record) = self.page.pop() {
                take_apart(record, self.range.flatten(), self.after, &mut self.sealed);
            }
        }
        Ok(())
    }

    /// What is ready, within the limit; at least one record.
    fn take(&mut self, limit: ReadLimit) -> ReadOutcome {
        let records = self.ready.take(limit);
        let last = records.last();
        // Positions rise, so there is nothing left to compare.
        self.after = None;
        let arrival_millis = last.map_or(self.last_arrival_millis, |last| last.arrival_millis);
        let since = self.last_arrival_millis.saturating_sub(arrival_millis);
        // A record held back is a sign of not being at the tip.
        let is_rest = [&self.ready, &self.sealed, &self.page].iter().any(|queue| !queue.is_empty());
        let behind_millis = (self.behind_millis + since).max(u64::from(is_rest));
        ReadOutcome::Records { records, behind_millis }
    }
}

#[async_trait]
impl<S: StreamSource> ShardReader for UnpackedReader<S> {
    async fn next(&mut self, limit: ReadLimit) -> Result<ReadOutcome, SourceError> {
        loop {
            let unpacked = self.unpack(limit).await;
            if !self.ready.is_empty() {
                // Whatever stopped it comes up again with the next call.
                return Ok(self.take(limit));
            }
            unpacked?;
            match self.inner.next(limit).await? {
                ReadOutcome::Records { records, behind_millis } if !self.passes(&records) => {
                    self.behind_millis = behind_millis;
                    self.last_arrival_millis = records.last().map_or(0, |last| last.arrival_millis);
                    self.page.extend(records);
                }
                other => {
                    if let ReadOutcome::ShardEnd { children } = &other {
                        self.source.ranges.learn_children(children);
                    }
                    return Ok(other);
                }
            }
        }
    }

    fn held(&self) -> ReadLimit {
        self.inner.held() + self.page.held() + self.sealed.held() + self.ready.held()
    }
}

/// Puts what is in a record, and comes after a position, into a queue.
fn take_apart(
    record: Record,
    range: Option<HashKeyRange>,
    after: Option<Position>,
    into: &mut RecordQueue,
) {
    let is_new = |position: Position| after.is_none_or(|after| position > after);
    let decoded = if record.unreadable.is_some() { Decoded::Plain } else { decode(&record.data) };
    match decoded {
        Decoded::Plain => into.extend(Some(record).filter(|record| is_new(record.position))),
        Decoded::Broken(broken) => {
            let unreadable = Some(Arc::new(Unreadable { reason: broken.to_string() }));
            let broken = Record { unreadable, ..record };
            into.extend(Some(broken).filter(|record| is_new(record.position)));
        }
        Decoded::Records(records) => {
            let sequence = record.position.sequence;
            let is_ours =
                |sub: &SubRecord| range.is_none_or(|range| range.contains(sub.hash_key()));
            let bytes: usize = records.iter().map(|sub| sub.data.len()).sum();
            let mut kept: Vec<_> = (0..).zip(records).collect();
            kept.retain(|(subsequence, sub)| {
                is_new(Position { sequence, subsequence: *subsequence }) && is_ours(sub)
            });
            let bytes_kept: usize = kept.iter().map(|(_, sub)| sub.data.len()).sum();
            if bytes_kept < bytes / 2 {
                detach(kept.iter_mut().map(|(_, sub)| &mut sub.data), bytes_kept);
            }
            into.extend(kept.into_iter().map(|(subsequence, sub)| Record {
                position: Position { sequence, subsequence },
                partition_key: sub.partition_key,
                data: sub.data,
                arrival_millis: record.arrival_millis,
                unreadable: None,
            }));
        }
    }
}

/// Copies payloads, of so many bytes together, out of their aggregate. As slices of it they would
/// keep all of it in memory, and what waits for a processor is counted by its own bytes.
fn detach<'a>(payloads: impl Iterator<Item = &'a mut Bytes>, bytes: usize) {
    let mut room = BytesMut::with_capacity(bytes);
    for data in payloads {
        room.extend_from_slice(data);
        *data = room.split().freeze();
    }
}

/// What became of a payload.
enum Opened {
    AsItIs,
    #[cfg(feature = "encryption")]
    Payload(Bytes),
    #[cfg(feature = "encryption")]
    Unreadable(String),
}

impl Opened {
    fn record(self, record: Record) -> Record {
        match self {
            Self::AsItIs => record,
            #[cfg(feature = "encryption")]
            Self::Payload(data) => Record { data, ..record },
            #[cfg(feature = "encryption")]
            Self::Unreadable(reason) => {
                Record { unreadable: Some(Arc::new(Unreadable { reason })), ..record }
            }
        }
    }
}

#[cfg(not(feature = "encryption"))]
impl Opening {
    fn is_on(&self) -> bool {
        false
    }
    async fn open(&self, _: &Record) -> Result<Opened, SourceError> {
        Ok(Opened::AsItIs)
    }
}

#[cfg(feature = "encryption")]
impl Opening {
    fn is_on(&self) -> bool {
        self.opener.is_some()
    }
    async fn open(&self, record: &Record) -> Result<Opened, SourceError> {
        let Some(opener) = self.opener.as_ref().filter(|_| record.unreadable.is_none()) else {
            return Ok(Opened::AsItIs);
        };
        match opener.open(&record.partition_key, &record.data).await {
            Ok(data) => Ok(Opened::Payload(data)),
            // No fault of the record: it is read on later.
            Err(error) if error.is_transient() => Err(SourceError::Unavailable(error.to_string())),
            Err(error) => Ok(Opened::Unreadable(error.to_string())),
        }
    }
}
