//! Records in the order they came, with their sum of bytes.

use std::collections::VecDeque;

use kcl_core::{ReadLimit, Record};

#[derive(Default)]
pub(super) struct Queue {
    records: VecDeque<Record>,
    bytes: usize,
}

impl Queue {
    pub fn push(&mut self, record: Record) {
        self.bytes += size(&record);
        self.records.push_back(record);
    }
    pub fn pop(&mut self) -> Option<Record> {
        let record = self.records.pop_front()?;
        self.bytes -= size(&record);
        Some(record)
    }
    pub fn front(&self) -> Option<&Record> {
        self.records.front()
    }
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
    pub fn held(&self) -> ReadLimit {
        ReadLimit { records: self.records.len(), bytes: self.bytes }
    }
    /// What fits of its front, at least one record if there is any.
    pub fn take(&mut self, limit: ReadLimit) -> Vec<Record> {
        let mut bytes = 0;
        let fits = |record: &&Record| {
            bytes += size(record);
            bytes <= limit.bytes
        };
        let count = self.records.iter().take(limit.records).take_while(fits).count().max(1);
        let records: Vec<_> = self.records.drain(..count.min(self.records.len())).collect();
        self.bytes -= records.iter().map(size).sum::<usize>();
        records
    }
}

impl Extend<Record> for Queue {
    fn extend<I: IntoIterator<Item = Record>>(&mut self, records: I) {
        records.into_iter().for_each(|record| self.push(record));
    }
}

/// Bytes of data and key.
fn size(record: &Record) -> usize {
    record.data.len() + record.partition_key.as_str().len()
}
