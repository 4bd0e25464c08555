//! Writes of the user's own, in one transaction with a checkpoint.

use std::collections::BTreeMap;

/// Entries to put or remove together with a checkpoint: what the lease tables of this crate take
/// in `Checkpointer::checkpoint_with`. They stay with the table; its `effect` reads them.
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

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// Each key, with what to put there, or `None` to remove it.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&str, Option<&[u8]>)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_deref()))
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
