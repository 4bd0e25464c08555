//! The records of one shard, in order, in segments.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use kcl_core::protocol::Position;
use kcl_core::{PartitionKey, Record};

use crate::limits::RECORD_OVERHEAD_BYTES;
use crate::record::NewRecord;
use crate::sequence::SequenceBase;
use crate::store::SavedLog;

/// A record as it is kept: its sequence number follows from its place, its time from its segment.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) partition_key: PartitionKey,
    pub(crate) data: Bytes,
}

impl Stored {
    fn size_bytes(&self) -> usize {
        self.data.len() + self.partition_key.as_str().len()
    }
}

impl From<NewRecord> for Stored {
    fn from(record: NewRecord) -> Self {
        Self { partition_key: record.partition_key, data: record.data }
    }
}

/// The records one put brought. Shared with readers, who copy them out without holding up the
/// shard.
#[derive(Clone, Debug)]
struct Segment {
    /// Counter of its first record.
    first: u64,
    arrival_millis: u64,
    records: Arc<[Stored]>,
}

impl Segment {
    fn end(&self) -> u64 {
        self.first + self.records.len() as u64
    }

    fn memory_bytes(&self) -> u64 {
        self.records.iter().map(|record| record.size_bytes() as u64 + RECORD_OVERHEAD_BYTES).sum()
    }
}

/// Records with consecutive counters.
///
/// Invariant: each segment starts where the one before ends, none is empty, and arrival times
/// never fall.
#[derive(Debug)]
pub(crate) struct RecordLog {
    segments: VecDeque<Segment>,
    /// Counter of the next record. The first of a shard has 1: the shard's own base stands for
    /// "before all records".
    next: u64,
    /// Readers see what is below. Stands at the start of a segment, or at `next`.
    shown: u64,
    last_arrival_millis: u64,
}

/// Some records of a log, to be copied out once its shard is free again.
pub(crate) struct Slice {
    from: u64,
    max_records: usize,
    segments: Vec<Segment>,
}

/// Records copied out.
pub(crate) struct Copied {
    pub(crate) records: Vec<Record>,
    /// Bytes of data and keys.
    pub(crate) bytes: usize,
}

impl RecordLog {
    pub(crate) fn new() -> Self {
        Self { segments: VecDeque::new(), next: 1, shown: 1, last_arrival_millis: 0 }
    }

    /// The log of a shard whose records were kept elsewhere.
    pub(crate) fn restored(saved: SavedLog) -> Self {
        let kept: usize = saved.batches.iter().map(|batch| batch.records.len()).sum();
        let mut log = Self::new();
        log.next = saved.next.saturating_sub(kept as u64);
        for batch in saved.batches {
            log.push(batch.records.into_iter().map(Stored::from).collect(), batch.arrival_millis);
        }
        log.show(log.next);
        log.last_arrival_millis = log.last_arrival_millis.max(saved.last_arrival_millis);
        log
    }

    /// Shows readers everything below `next`.
    pub(crate) fn show(&mut self, next: u64) {
        self.shown = self.shown.max(next);
    }

    /// What readers take for the counter of the next record.
    pub(crate) fn shown(&self) -> u64 {
        self.shown
    }

    /// The records last pushed, with the counter of the first and their arrival.
    pub(crate) fn last_pushed(&self) -> Option<(u64, u64, Arc<[Stored]>)> {
        let segment = self.segments.back()?;
        Some((segment.first, segment.arrival_millis, Arc::clone(&segment.records)))
    }

    pub(crate) fn last_arrival_millis(&self) -> u64 {
        self.last_arrival_millis
    }

    pub(crate) fn memory_bytes(&self) -> u64 {
        self.segments.iter().map(Segment::memory_bytes).sum()
    }

    /// Counter of the oldest record kept, or the next to come if there is none.
    pub(crate) fn first(&self) -> u64 {
        self.segments.front().map_or(self.next, |segment| segment.first)
    }
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Adds records, if there are any, hidden until [`RecordLog::show`]. Arrival times never fall,
    /// also if the clock does.
    pub(crate) fn push(&mut self, records: Vec<Stored>, now_millis: u64) {
        if records.is_empty() {
            return;
        }
        self.last_arrival_millis = self.last_arrival_millis.max(now_millis);
        let arrival_millis = self.last_arrival_millis;
        let segment = Segment { first: self.next, arrival_millis, records: records.into() };
        self.next = segment.end();
        self.segments.push_back(segment);
    }

    /// Drops records that arrived at or before `horizon_millis`; returns the memory they took.
    pub(crate) fn trim(&mut self, horizon_millis: u64) -> u64 {
        let mut freed = 0;
        while let Some(oldest) =
            self.segments.pop_front_if(|oldest| oldest.arrival_millis <= horizon_millis)
        {
            freed += oldest.memory_bytes();
        }
        freed
    }

    /// When the record arrived.
    pub(crate) fn arrival_millis(&self, counter: u64) -> Option<u64> {
        let at = self.segments.partition_point(|segment| segment.end() <= counter);
        self.segments.get(at).map(|segment| segment.arrival_millis)
    }

    /// The first record at or after `from` that arrived at or after `millis`; the next one to come
    /// if there is none.
    pub(crate) fn first_arrived_at(&self, millis: u64, from: u64) -> u64 {
        let at = self.segments.partition_point(|segment| segment.arrival_millis < millis);
        self.segments.get(at).map_or(self.next, |segment| segment.first.max(from))
    }

    /// Up to `max_records` records from counter `from` on.
    pub(crate) fn slice(&self, from: u64, max_records: usize) -> Slice {
        let start = self.segments.partition_point(|segment| segment.end() <= from);
        let past = from.saturating_add(max_records as u64).min(self.shown);
        let segments = self.segments.range(start..).take_while(|segment| segment.first < past);
        Slice { from, max_records, segments: segments.cloned().collect() }
    }
}

impl Slice {
    /// Copies the records out, up to `max_bytes`, but at least one if there is one.
    pub(crate) fn copy(&self, base: SequenceBase, max_bytes: usize) -> Copied {
        let available = self.segments.last().map_or(0, |last| last.end() - self.from);
        let most = usize::try_from(available).unwrap_or(usize::MAX).min(self.max_records);
        let mut copied = Copied { records: Vec::with_capacity(most), bytes: 0 };
        for segment in &self.segments {
            let skip = self.from.saturating_sub(segment.first) as usize;
            let left = most - copied.records.len();
            for (counter, record) in (segment.first..).zip(&*segment.records).skip(skip).take(left)
            {
                let bytes = copied.bytes + record.size_bytes();
                if bytes > max_bytes && !copied.records.is_empty() {
                    return copied;
                }
                copied.bytes = bytes;
                copied.records.push(Record {
                    position: Position::from(base.number(counter)),
                    partition_key: record.partition_key.clone(),
                    data: record.data.clone(),
                    arrival_millis: segment.arrival_millis,
                    unreadable: None,
                });
            }
        }
        copied
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sequence::ShardNumber;

    const BASE: fn() -> SequenceBase = || SequenceBase::new(ShardNumber(0), 5);

    fn numbers(log: &RecordLog, from: u64, max_records: usize) -> Vec<u64> {
        let copied = log.slice(from, max_records).copy(BASE(), usize::MAX);
        let counter = |record: &Record| BASE().counter(record.position.sequence).unwrap_or(0);
        for record in &copied.records {
            assert_eq!(record.partition_key.as_str(), counter(record).to_string());
        }
        copied.records.iter().map(counter).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn segments_read_like_one_list_whatever_was_trimmed(
            steps in prop::collection::vec((0u64..9, 0usize..4), 1..30), from in 0u64..100,
            max_records in 1usize..40,
        ) {
            let (mut log, mut next) = (RecordLog::new(), 1u64);
            // First counter of every put; its arrival time is the same number.
            let mut puts: Vec<u64> = Vec::new();
            for (pushes, trims) in steps {
                let record = |n: u64| NewRecord::new(n.to_string(), "").into();
                log.push((next..next + pushes).map(record).collect(), next);
                log.show(log.next());
                if pushes > 0 {
                    puts.push(next);
                }
                next += pushes;
                let past = puts.get(trims).copied().unwrap_or(next);
                let expected: u64 = (log.first()..past)
                    .map(|n| n.to_string().len() as u64 + RECORD_OVERHEAD_BYTES).sum();
                prop_assert_eq!(log.trim(past - 1), expected);
                puts.retain(|put| *put >= past);
                prop_assert_eq!((log.first(), log.next()), (past, next));
                let from = from.clamp(past, next);
                prop_assert_eq!(numbers(&log, from, max_records),
                    (from..next).take(max_records).collect::<Vec<_>>());
                let after = puts.iter().copied().find(|put| *put >= from).unwrap_or(next);
                prop_assert_eq!(log.first_arrived_at(from, past), after);
            }
        }
    }

    #[test]
    fn a_record_above_the_byte_limit_comes_alone() {
        let mut log = RecordLog::new();
        let records = [10, 500, 10, 10].map(|size| NewRecord::new("k", vec![0; size]).into());
        log.push(records.into(), 1);
        log.show(log.next());
        let count = |from| log.slice(from, 10).copy(BASE(), 100).records.len();
        assert_eq!([count(1), count(2), count(3)], [1, 1, 2]);
    }

    #[test]
    fn what_is_not_shown_is_not_read() {
        let mut log = RecordLog::new();
        for key in ["1", "2", "3"] {
            log.push(vec![NewRecord::new(key, "").into()], 1);
        }
        assert_eq!(numbers(&log, 1, 9), []);
        log.show(3);
        assert_eq!(numbers(&log, 1, 9), [1, 2]);
        assert_eq!((log.shown(), log.next()), (3, 4));
    }

    #[test]
    fn arrival_times_never_fall() {
        let mut log = RecordLog::new();
        for millis in [5, 3, 9] {
            log.push(vec![NewRecord::new("k", "").into()], millis);
        }
        assert_eq!([1, 2, 3, 4].map(|n| log.arrival_millis(n)), [Some(5), Some(5), Some(9), None]);
    }
}
