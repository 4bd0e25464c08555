//! Records that have come and were not returned yet: the service may send more than the caller has
//! room for.

use std::collections::VecDeque;

use kcl_core::{ReadLimit, ReadOutcome, Record};

#[derive(Default)]
pub(crate) struct Spare {
    records: VecDeque<Record>,
    bytes: usize,
    behind_millis: u64,
}

impl Spare {
    /// Takes what came in place of what was there, which has to be nothing.
    pub fn fill(&mut self, records: Vec<Record>, behind_millis: u64) {
        debug_assert!(self.records.is_empty());
        self.bytes = records.iter().map(size).sum();
        self.records = records.into();
        self.behind_millis = behind_millis;
    }

    /// What fits of the records at hand, at least one; `None` if there is none.
    pub fn take(&mut self, limit: ReadLimit) -> Option<ReadOutcome> {
        if self.records.is_empty() {
            return None;
        }
        let mut bytes = 0usize;
        let fits = |record: &&Record| {
            bytes += size(record);
            bytes <= limit.bytes
        };
        let count = self.records.iter().take(limit.records).take_while(fits).count().max(1);
        let records: Vec<_> = if count == self.records.len() {
            std::mem::take(&mut self.records).into()
        } else {
            self.records.drain(..count).collect()
        };
        self.bytes -= records.iter().map(size).sum::<usize>();
        Some(ReadOutcome::Records { records, behind_millis: self.behind_millis })
    }

    /// What is at hand.
    pub fn held(&self) -> ReadLimit {
        ReadLimit { records: self.records.len(), bytes: self.bytes }
    }
}

/// Bytes of data and key.
pub(crate) fn size(record: &Record) -> usize {
    record.data.len() + record.partition_key.as_str().len()
}
