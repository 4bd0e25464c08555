//! The lease table in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use kcl_core::protocol::limits::WRITES_PER_TRANSACTION;
use kcl_core::protocol::writes::apply_all;
use kcl_core::protocol::{CasOutcome, ConditionalWrite, Row, RowKey};
use kcl_core::{LeaseTable, Scan, TableError};

/// A lease table in memory, for workers of one process. Also the reference of what a lease table
/// means: every other one behaves like it. Clones share the rows.
#[derive(Clone, Debug)]
pub struct MemoryLeaseTable {
    id: String,
    rows: Arc<Mutex<BTreeMap<RowKey, Row>>>,
}

impl MemoryLeaseTable {
    /// An empty table with an id of its own.
    pub fn new() -> Self {
        Self { id: uuid::Uuid::new_v4().to_string(), rows: Arc::default() }
    }
    /// Deletes a row by hand, as a person might; true if there was one.
    pub fn delete_row(&self, key: &RowKey) -> bool {
        self.rows().remove(key).is_some()
    }
    fn rows(&self) -> MutexGuard<'_, BTreeMap<RowKey, Row>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn apply(&self, writes: &[ConditionalWrite]) -> CasOutcome {
        let mut rows = self.rows();
        match apply_all(writes, |key| rows.get(key).cloned()) {
            Ok(changed) => {
                let first = changed.first().and_then(|(_, row)| row.clone());
                for (key, row) in changed {
                    match row {
                        Some(row) => drop(rows.insert(key, row)),
                        None => drop(rows.remove(&key)),
                    }
                }
                CasOutcome::Won(first)
            }
            Err(failed) => CasOutcome::Lost(rows.get(&writes[failed].key()).cloned()),
        }
    }
}

impl Default for MemoryLeaseTable {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl LeaseTable for MemoryLeaseTable {
    async fn prepare(&self) -> Result<String, TableError> {
        Ok(self.id.clone())
    }

    async fn scan(&self, scope: Scan) -> Result<Vec<Row>, TableError> {
        let in_scope = |key: &RowKey| matches!(key, RowKey::Lease(_)) == (scope == Scan::Leases);
        Ok(self
            .rows()
            .iter()
            .filter(|(key, _)| in_scope(key))
            .map(|(_, row)| row.clone())
            .collect())
    }

    async fn read(&self, key: &RowKey) -> Result<Option<Row>, TableError> {
        Ok(self.rows().get(key).cloned())
    }

    async fn write(&self, write: &ConditionalWrite) -> Result<CasOutcome, TableError> {
        Ok(self.apply(std::slice::from_ref(write)))
    }

    async fn write_all(&self, writes: &[ConditionalWrite]) -> Result<CasOutcome, TableError> {
        let keys: BTreeSet<_> = writes.iter().map(ConditionalWrite::key).collect();
        if keys.len() != writes.len() || writes.len() > WRITES_PER_TRANSACTION {
            return Err(TableError::Refused(format!(
                "a transaction takes at most {WRITES_PER_TRANSACTION} writes of distinct rows"
            )));
        }
        Ok(self.apply(writes))
    }
}
