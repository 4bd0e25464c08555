//! The lease table in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use kcl_core::protocol::limits::WRITES_PER_TRANSACTION;
use kcl_core::protocol::writes::apply_all;
use kcl_core::protocol::{CasOutcome, ConditionalWrite, Row, RowKey};
use kcl_core::{Effects, LeaseTable, Scan, TableError};

use crate::effects::LocalEffects;

/// A lease table in memory, for workers of one process. Also the reference of what a lease table
/// means: every other one behaves like it. Clones share the rows.
#[derive(Clone, Debug)]
pub struct MemoryLeaseTable {
    id: String,
    store: Arc<Mutex<Store>>,
}

#[derive(Debug, Default)]
struct Store {
    rows: BTreeMap<RowKey, Row>,
    effects: BTreeMap<String, Vec<u8>>,
    requests: Requests,
}

/// Requests a table has answered, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// Scans of the table, stream and worker rows.
    pub coordination_scans: u64,
    /// Scans of the lease rows.
    pub lease_scans: u64,
    /// Reads of one row.
    pub reads: u64,
    /// Writes of one row.
    pub writes: u64,
    /// Writes of several rows, or of a row with effects.
    pub transactions: u64,
}

impl MemoryLeaseTable {
    /// An empty table with an id of its own.
    pub fn new() -> Self {
        Self { id: uuid::Uuid::new_v4().to_string(), store: Arc::default() }
    }
    /// Deletes a row by hand, as a person might; true if there was one.
    pub fn delete_row(&self, key: &RowKey) -> bool {
        self.store().rows.remove(key).is_some()
    }
    /// The entry that effects have put under a key.
    pub fn effect(&self, key: &str) -> Option<Vec<u8>> {
        self.store().effects.get(key).cloned()
    }
    /// How many requests it has answered.
    pub fn requests(&self) -> Requests {
        self.store().requests
    }
    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    fn apply(&mut self, writes: &[ConditionalWrite]) -> CasOutcome {
        match apply_all(writes, |key| self.rows.get(key).cloned()) {
            Ok(changed) => {
                let first = changed.first().and_then(|(_, row)| row.clone());
                for (key, row) in changed {
                    match row {
                        Some(row) => drop(self.rows.insert(key, row)),
                        None => drop(self.rows.remove(&key)),
                    }
                }
                CasOutcome::Won(first)
            }
            Err(failed) => CasOutcome::Lost(self.rows.get(&writes[failed].key()).cloned()),
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
        let mut store = self.store();
        match scope {
            Scan::Coordination => store.requests.coordination_scans += 1,
            Scan::Leases => store.requests.lease_scans += 1,
        }
        let in_scope = |key: &RowKey| matches!(key, RowKey::Lease(_)) == (scope == Scan::Leases);
        let rows = store.rows.iter().filter(|(key, _)| in_scope(key));
        Ok(rows.map(|(_, row)| row.clone()).collect())
    }

    async fn read(&self, key: &RowKey) -> Result<Option<Row>, TableError> {
        let mut store = self.store();
        store.requests.reads += 1;
        Ok(store.rows.get(key).cloned())
    }

    async fn write(&self, write: &ConditionalWrite) -> Result<CasOutcome, TableError> {
        let mut store = self.store();
        store.requests.writes += 1;
        Ok(store.apply(std::slice::from_ref(write)))
    }

    async fn write_all(&self, writes: &[ConditionalWrite]) -> Result<CasOutcome, TableError> {
        let keys: BTreeSet<_> = writes.iter().map(ConditionalWrite::key).collect();
        if keys.len() != writes.len() || writes.len() > WRITES_PER_TRANSACTION {
            return Err(TableError::Refused(format!(
                "a transaction takes at most {WRITES_PER_TRANSACTION} writes of distinct rows"
            )));
        }
        let mut store = self.store();
        store.requests.transactions += 1;
        Ok(store.apply(writes))
    }

    fn supports_effects(&self) -> bool {
        true
    }

    async fn write_with(
        &self,
        write: &ConditionalWrite,
        effects: &Effects,
    ) -> Result<CasOutcome, TableError> {
        let Some(effects) = effects.downcast::<LocalEffects>() else {
            return Err(TableError::Refused("the table in memory takes LocalEffects".into()));
        };
        let mut store = self.store();
        store.requests.transactions += 1;
        let outcome = store.apply(std::slice::from_ref(write));
        if outcome.is_won() {
            effects.apply(&mut store.effects);
        }
        Ok(outcome)
    }
}
