//! The records of one shard, in order, in chunks.

use std::collections::VecDeque;

use bytes::Bytes;
use kcl_core::protocol::Position;
use kcl_core::{PartitionKey, Record};

use crate::limits::{CHUNK_RECORDS, RECORD_OVERHEAD_BYTES};
use crate::record::NewRecord;
use crate::sequence::SequenceBase;

/// A record as it is kept: its sequence number follows from its place.
#[derive(Debug)]
struct Stored {
    partition_key: PartitionKey,
    data: Bytes,
    arrival_millis: u64,
}

impl Stored {
    fn size_bytes(&self) -> usize {
        self.data.len() + self.partition_key.as_str().len()
    }
}

/// Records with consecutive counters.
///
/// Invariant: every chunk but the first and the last has `CHUNK_RECORDS` records, and none is
/// empty, so that a counter leads to its record by arithmetic.
#[derive(Debug)]
pub(crate) struct RecordLog {
    chunks: VecDeque<VecDeque<Stored>>,
    /// Counter of the oldest record kept, or `next` if there is none.
    first: u64,
    /// Counter of the next record. The first of a shard has 1: the shard's own base stands for
    /// "before all records".
    next: u64,
    /// How many records of the first chunk were taken off its front.
    dropped: usize,
    last_arrival_millis: u64,
}

/// Records copied out.
pub(crate) struct Copied {
    pub(crate) records: Vec<Record>,
    /// Bytes of data and keys.
    pub(crate) bytes: usize,
}

impl RecordLog {
    pub(crate) fn new() -> Self {
        Self { chunks: VecDeque::new(), first: 1, next: 1, dropped: 0, last_arrival_millis: 0 }
    }

    pub(crate) fn first(&self) -> u64 {
        self.first
    }
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Adds a record and returns its counter. Arrival times never fall, also if the clock does.
    pub(crate) fn push(&mut self, record: NewRecord, now_millis: u64) -> u64 {
        self.last_arrival_millis = self.last_arrival_millis.max(now_millis);
        let stored = Stored {
            partition_key: record.partition_key,
            data: record.data,
            arrival_millis: self.last_arrival_millis,
        };
        let is_single = self.chunks.len() == 1;
        match self.chunks.back_mut() {
            Some(chunk)
                if chunk.len() + if is_single { self.dropped } else { 0 } < CHUNK_RECORDS =>
            {
                chunk.push_back(stored);
            }
            _ => {
                // Only a shard that filled a chunk before gets a whole one at once.
                let capacity = if self.chunks.is_empty() { 0 } else { CHUNK_RECORDS };
                let mut chunk = VecDeque::with_capacity(capacity);
                chunk.push_back(stored);
                self.chunks.push_back(chunk);
            }
        }
        let counter = self.next;
        self.next += 1;
        counter
    }

    /// Drops records that arrived at or before `horizon_millis`; returns the memory they took.
    pub(crate) fn trim(&mut self, horizon_millis: u64) -> u64 {
        let mut freed = 0;
        while let Some(chunk) = self.chunks.front_mut() {
            match chunk.front() {
                Some(oldest) if oldest.arrival_millis <= horizon_millis => {
                    freed += oldest.size_bytes() as u64 + RECORD_OVERHEAD_BYTES;
                    chunk.pop_front();
                    self.first += 1;
                    self.dropped += 1;
                }
                Some(_) => break,
                None => {}
            }
            if chunk.is_empty() {
                self.chunks.pop_front();
                self.dropped = 0;
            }
        }
        freed
    }

    fn get(&self, counter: u64) -> Option<&Stored> {
        let (chunk, at) = self.place(counter)?;
        self.chunks.get(chunk)?.get(at)
    }

    fn place(&self, counter: u64) -> Option<(usize, usize)> {
        let index = usize::try_from(counter.checked_sub(self.first)?).ok()? + self.dropped;
        let (chunk, at) = (index / CHUNK_RECORDS, index % CHUNK_RECORDS);
        Some(if chunk == 0 { (0, at.checked_sub(self.dropped)?) } else { (chunk, at) })
    }

    /// When the record arrived.
    pub(crate) fn arrival_millis(&self, counter: u64) -> Option<u64> {
        self.get(counter).map(|stored| stored.arrival_millis)
    }

    /// The first record at or after `from` that arrived at or after `millis`; the next one to come
    /// if there is none.
    pub(crate) fn first_arrived_at(&self, millis: u64, from: u64) -> u64 {
        let (mut low, mut high) = (from.max(self.first).min(self.next), self.next);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.arrival_millis(middle) {
                Some(arrival) if arrival < millis => low = middle + 1,
                _ => high = middle,
            }
        }
        low
    }

    /// Copies out records from counter `from` on (which is retained or the next to come), up to
    /// both limits, but at least one.
    pub(crate) fn copy(
        &self,
        base: SequenceBase,
        from: u64,
        max_records: usize,
        max_bytes: usize,
    ) -> Copied {
        let available = usize::try_from(self.next.saturating_sub(from)).unwrap_or(usize::MAX);
        let most = available.min(max_records.max(1));
        let mut copied = Copied { records: Vec::with_capacity(most), bytes: 0 };
        let Some((mut chunk, mut at)) = self.place(from) else { return copied };
        let mut counter = from;
        while copied.records.len() < most {
            let Some(stored) = self.chunks.get(chunk) else { break };
            for record in stored.range(at.min(stored.len())..).take(most - copied.records.len()) {
                let bytes = copied.bytes + record.size_bytes();
                if bytes > max_bytes && !copied.records.is_empty() {
                    return copied;
                }
                copied.bytes = bytes;
                copied.records.push(Record {
                    position: Position::from(base.number(counter)),
                    partition_key: record.partition_key.clone(),
                    data: record.data.clone(),
                    arrival_millis: record.arrival_millis,
                });
                counter += 1;
            }
            (chunk, at) = (chunk + 1, 0);
        }
        copied
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sequence::ShardNumber;

    fn numbers(log: &RecordLog, from: u64, max_records: usize) -> Vec<u64> {
        let base = SequenceBase::new(ShardNumber(0), 5);
        let copied = log.copy(base, from, max_records, usize::MAX);
        let counter = |record: &Record| base.counter(record.position.sequence).unwrap_or(0);
        for record in &copied.records {
            assert_eq!(record.partition_key.as_str(), counter(record).to_string());
        }
        copied.records.iter().map(counter).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn chunks_read_like_one_list_whatever_was_trimmed(
            steps in prop::collection::vec((0u64..900, 0u64..700), 1..12), from in 0u64..6000,
        ) {
            let (mut log, mut next, mut first) = (RecordLog::new(), 1u64, 1u64);
            for (pushes, trims) in steps {
                for _ in 0..pushes {
                    // Arrival times are the counters, so that the horizon is a counter too.
                    prop_assert_eq!(log.push(NewRecord::new(next.to_string(), ""), next), next);
                    next += 1;
                }
                let horizon = (first + trims).min(next) - 1;
                let freed = log.trim(horizon);
                let expected: u64 = (first..=horizon)
                    .map(|n| n.to_string().len() as u64 + RECORD_OVERHEAD_BYTES).sum();
                prop_assert_eq!(freed, expected);
                first = first.max(horizon + 1);
                prop_assert_eq!((log.first(), log.next()), (first, next));
                let from = from.clamp(first, next);
                prop_assert_eq!(numbers(&log, from, 2000),
                    (from..next).take(2000).collect::<Vec<_>>());
                prop_assert_eq!(log.first_arrived_at(from, first), from);
            }
        }
    }

    #[test]
    fn a_record_above_the_byte_limit_comes_alone() {
        let mut log = RecordLog::new();
        for size in [10, 500, 10, 10] {
            log.push(NewRecord::new("k", vec![0; size]), 1);
        }
        let base = SequenceBase::new(ShardNumber(0), 5);
        let sizes = |from| log.copy(base, from, 10, 100).records.len();
        assert_eq!([sizes(1), sizes(2), sizes(3)], [1, 1, 2]);
    }
}
