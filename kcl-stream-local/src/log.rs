//! The records of one shard, in order, in blocks.

use std::collections::VecDeque;
use std::sync::Arc;

use kcl_core::Record;

use crate::block::{Block, Indexed, OpenBlock};
use crate::limits::RECORD_OVERHEAD_BYTES;
use crate::record::RecordRef;
use crate::sequence::SequenceBase;
use crate::store::SavedLog;

/// Records with consecutive counters. Closed blocks are shared with readers, who take records out
/// of them without holding up the shard; of the open one readers get a copy.
///
/// Invariant: each block starts where the one before ends, no closed one is empty, and arrival
/// times never fall.
#[derive(Debug)]
pub(crate) struct RecordLog {
    closed: VecDeque<Arc<Block>>,
    open: OpenBlock,
    /// Counter of the oldest record kept. The first of a shard has 1: the shard's own base stands
    /// for "before all records".
    first: u64,
    /// Readers see what is below.
    shown: u64,
    last_arrival_millis: u64,
}

/// Some records of a log, to be taken out once its shard is free again.
pub(crate) struct Slice {
    from: u64,
    past: u64,
    blocks: Vec<Arc<Block>>,
}

/// Records taken out.
pub(crate) struct Copied {
    pub(crate) records: Vec<Record>,
    /// Bytes of data and keys.
    pub(crate) bytes: usize,
}

/// What records with these counters take of a stream's memory.
fn memory(block: &impl Indexed, from: u64, past: u64) -> u64 {
    let records = past.min(block.end()).saturating_sub(from.max(block.first()));
    block.bytes_in(from, past) as u64 + records * RECORD_OVERHEAD_BYTES
}

impl RecordLog {
    pub(crate) fn new() -> Self {
        Self::starting_at(1)
    }

    fn starting_at(first: u64) -> Self {
        let (closed, open) = (VecDeque::new(), OpenBlock::new(first));
        Self { closed, open, first, shown: first, last_arrival_millis: 0 }
    }

    /// The log of a shard whose records were kept elsewhere.
    pub(crate) fn restored(saved: SavedLog) -> Self {
        let kept: usize = saved.batches.iter().map(|batch| batch.records.len()).sum();
        let mut log = Self::starting_at(saved.next.saturating_sub(kept as u64));
        for batch in saved.batches {
            batch.records.iter().for_each(|it| log.add(it.into(), batch.arrival_millis));
        }
        log.show(log.next());
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

    pub(crate) fn last_arrival_millis(&self) -> u64 {
        self.last_arrival_millis
    }

    pub(crate) fn memory_bytes(&self) -> u64 {
        let closed = self.closed.iter().map(|block| memory(&**block, self.first, self.next()));
        closed.sum::<u64>() + memory(&self.open, self.first, self.next())
    }

    /// Counter of the oldest record kept, or the next to come if there is none.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }
    pub(crate) fn next(&self) -> u64 {
        self.open.end()
    }

    /// Adds a record, hidden until [`RecordLog::show`]. Arrival times never fall, also if the clock
    /// does.
    pub(crate) fn add(&mut self, record: RecordRef<'_>, now_millis: u64) {
        self.last_arrival_millis = self.last_arrival_millis.max(now_millis);
        if self.open.is_full_for(record.size_bytes()) {
            self.closed.push_back(Arc::new(self.open.close()));
        }
        self.open.add(record, self.last_arrival_millis);
    }

    /// Drops records that arrived at or before `horizon_millis`; returns the memory they took.
    pub(crate) fn trim(&mut self, horizon_millis: u64) -> u64 {
        let mut freed = 0;
        let is_old = |block: &mut Arc<Block>| block.last_arrival_millis() <= horizon_millis;
        while let Some(oldest) = self.closed.pop_front_if(is_old) {
            freed += memory(&*oldest, self.first, oldest.end());
            self.first = oldest.end();
        }
        let is_kept = |arrival| arrival > horizon_millis;
        let (first, part) = match self.closed.front() {
            Some(block) => {
                let first = block.first_from(is_kept).max(self.first);
                (first, memory(&**block, self.first, first))
            }
            None => {
                let first = self.open.first_from(is_kept).max(self.first);
                (first, memory(&self.open, self.first, first))
            }
        };
        self.first = first;
        if self.first == self.next() && !self.open.is_empty() {
            self.open = OpenBlock::new(self.first);
        }
        freed + part
    }

    /// When the record arrived.
    pub(crate) fn arrival_millis(&self, counter: u64) -> Option<u64> {
        let at = self.closed.partition_point(|block| block.end() <= counter);
        match self.closed.get(at) {
            Some(block) => block.arrival_millis(counter),
            None => self.open.arrival_millis(counter),
        }
    }

    /// The first record at or after `from` that arrived at or after `millis`; the next one to come
    /// if there is none.
    pub(crate) fn first_arrived_at(&self, millis: u64, from: u64) -> u64 {
        let at = self.closed.partition_point(|block| block.last_arrival_millis() < millis);
        let passes = |arrival| arrival >= millis;
        let found = match self.closed.get(at) {
            Some(block) => block.first_from(passes),
            None => self.open.first_from(passes),
        };
        found.max(from)
    }

    /// Up to `max_records` records that readers see, from counter `from` on.
    pub(crate) fn slice(&self, from: u64, max_records: usize) -> Slice {
        let past = from.saturating_add(max_records as u64).min(self.shown);
        let start = self.closed.partition_point(|block| block.end() <= from);
        let closed = self.closed.range(start..).take_while(|block| block.first() < past);
        let mut blocks: Vec<_> = closed.cloned().collect();
        if past > self.open.first().max(from) {
            blocks.push(Arc::new(self.open.copy(from, past)));
        }
        Slice { from, past, blocks }
    }
}

impl Slice {
    /// Takes the records out, up to `max_bytes`, but at least one if there is one.
    pub(crate) fn copy(&self, base: SequenceBase, max_bytes: usize) -> Copied {
        let most = usize::try_from(self.past.saturating_sub(self.from)).unwrap_or(usize::MAX);
        let mut copied = Copied { records: Vec::with_capacity(most), bytes: 0 };
        let (mut count, mut bytes) = (0, 0);
        let mut takes = |size: usize| {
            let fits = count < most && (count == 0 || bytes + size <= max_bytes);
            if fits {
                (count, bytes) = (count + 1, bytes + size);
            }
            fits
        };
        let out = &mut copied.records;
        // Stops at the first block that was not taken out whole.
        let _ = self.blocks.iter().all(|block| block.take_out(self.from, base, &mut takes, out));
        copied.bytes = bytes;
        copied
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::NewRecord;
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
                for n in next..next + pushes {
                    log.add((&NewRecord::new(n.to_string(), "")).into(), next);
                }
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
        for size in [10, 500, 10, 10] {
            log.add((&NewRecord::new("k", vec![0; size])).into(), 1);
        }
        log.show(log.next());
        let count = |from| log.slice(from, 10).copy(BASE(), 100).records.len();
        assert_eq!([count(1), count(2), count(3)], [1, 1, 2]);
    }

    #[test]
    fn what_is_not_shown_is_not_read() {
        let mut log = RecordLog::new();
        for key in ["1", "2", "3"] {
            log.add((&NewRecord::new(key, "")).into(), 1);
        }
        assert_eq!(numbers(&log, 1, 9), Vec::<u64>::new());
        log.show(3);
        assert_eq!(numbers(&log, 1, 9), [1, 2]);
        assert_eq!((log.shown(), log.next()), (3, 4));
    }

    #[test]
    fn arrival_times_never_fall() {
        let mut log = RecordLog::new();
        for millis in [5, 3, 9] {
            log.add((&NewRecord::new("k", "")).into(), millis);
        }
        assert_eq!([1, 2, 3, 4].map(|n| log.arrival_millis(n)), [Some(5), Some(5), Some(9), None]);
    }
}
