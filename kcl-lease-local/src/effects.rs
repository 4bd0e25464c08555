//! Writes of the user's own, in one transaction with a checkpoint.

use std::collections::BTreeMap;

/// Entries to put or remove together with a checkpoint. What a [`crate::MemoryLeaseTable`] takes
/// in `Checkpointer::checkpoint_with`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalEffects(BTreeMap<String, Option<Vec<u8>>>);

impl LocalEffects {
    /// No entries.
    pub fn new() -> Self {
        Self::default()
    }
    /// Puts an entry, over one of the same key.
    pub fn put(mut self, key: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.0.insert(key.into(), Some(value.into()));
        self
    }
    /// Removes an entry; none of that key is no error.
    pub fn remove(mut self, key: impl Into<String>) -> Self {
        self.0.insert(key.into(), None);
        self
    }

    pub(crate) fn apply(&self, entries: &mut BTreeMap<String, Vec<u8>>) {
        for (key, value) in &self.0 {
            match value {
                Some(value) => drop(entries.insert(key.clone(), value.clone())),
                None => drop(entries.remove(key)),
            }
        }
    }
}
