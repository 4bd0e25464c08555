//! Records that have come and were not returned yet: the service may send more than the caller has
//! room for.

use kcl_core::{ReadLimit, ReadOutcome, Record, RecordQueue};

#[derive(Default)]
pub(crate) struct Spare {
    records: RecordQueue,
    behind_millis: u64,
}

impl Spare {
    /// Takes what came in place of what was there, which has to be nothing.
    pub fn fill(&mut self, records: Vec<Record>, behind_millis: u64) {
        debug_assert!(self.records.is_empty());
        self.records = records.into();
        self.behind_millis = behind_millis;
    }

    /// What fits of the records at hand, at least one; `None` if there is none.
    pub fn take(&mut self, limit: ReadLimit) -> Option<ReadOutcome> {
        if self.records.is_empty() {
            return None;
        }
        let records = self.records.take(limit);
        Some(ReadOutcome::Records { records, behind_millis: self.behind_millis })
    }

    /// What is at hand.
    pub fn held(&self) -> ReadLimit {
        self.records.held()
    }
}
