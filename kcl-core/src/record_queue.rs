//! Records that a reader has and did not return yet.

use std::collections::VecDeque;

use crate::source::{ReadLimit, Record};

/// Records in the order they came, with their sum of bytes: what a reader of a stream keeps when
/// the stream sends more than was asked for. [`held`](RecordQueue::held) is what
/// [`ShardReader::held`](crate::ShardReader::held) has to tell of it.
#[derive(Debug, Default)]
pub struct RecordQueue {
    records: VecDeque<Record>,
    bytes: usize,
}

impl RecordQueue {
    /// Puts a record behind the others.
    pub fn push(&mut self, record: Record) {
        self.bytes += record.size_bytes();
        self.records.push_back(record);
    }
    /// Takes the first record out.
    pub fn pop(&mut self) -> Option<Record> {
        let record = self.records.pop_front()?;
        self.bytes -= record.size_bytes();
        Some(record)
    }
    /// The first record.
    pub fn front(&self) -> Option<&Record> {
        self.records.front()
    }
    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
    /// How many there are, and their bytes.
    pub fn held(&self) -> ReadLimit {
        ReadLimit { records: self.records.len(), bytes: self.bytes }
    }
    /// Takes out what fits of the first ones, at least one if there is any.
    pub fn take(&mut self, limit: ReadLimit) -> Vec<Record> {
        let count = fitting(&self.records, limit).min(self.records.len());
        let records: Vec<_> = if count == self.records.len() {
            std::mem::take(&mut self.records).into()
        } else {
            self.records.drain(..count).collect()
        };
        self.bytes -= records.iter().map(Record::size_bytes).sum::<usize>();
        records
    }
}

impl From<Vec<Record>> for RecordQueue {
    fn from(records: Vec<Record>) -> Self {
        let bytes = records.iter().map(Record::size_bytes).sum();
        Self { records: records.into(), bytes }
    }
}

impl Extend<Record> for RecordQueue {
    fn extend<I: IntoIterator<Item = Record>>(&mut self, records: I) {
        records.into_iter().for_each(|record| self.push(record));
    }
}

/// How many of the first records fit; at least one.
pub(crate) fn fitting<'a>(
    records: impl IntoIterator<Item = &'a Record>,
    limit: ReadLimit,
) -> usize {
    let mut bytes = 0usize;
    let fit = records.into_iter().take(limit.records).take_while(|record| {
        bytes += record.size_bytes();
        bytes <= limit.bytes
    });
    fit.count().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kcl_protocol::SequenceNumber;

    fn record(number: u128) -> Record {
        Record {
            position: SequenceNumber::from_parts(0, number).into(),
            partition_key: "k".into(),
            data: "data".into(),
            arrival_millis: 0,
            unreadable: None,
        }
    }

    #[test]
    fn what_is_taken_fits_and_the_rest_is_held() {
        let mut queue = RecordQueue::from(vec![record(1), record(2), record(3)]);
        let one = record(1).size_bytes();
        assert_eq!(queue.held(), ReadLimit { records: 3, bytes: 3 * one });
        let two = queue.take(ReadLimit { records: 9, bytes: 2 * one });
        assert_eq!(two, [record(1), record(2)]);
        queue.push(record(4));
        assert_eq!(queue.take(ReadLimit::NOTHING), [record(3)], "one at least");
        assert_eq!(queue.pop(), Some(record(4)));
        assert_eq!((queue.held(), queue.take(ReadLimit::NOTHING).len()), (ReadLimit::NOTHING, 0));
    }
}
