//! The lease table in a local file.

#[cfg(test)]
mod faults;
mod kept;
mod open;
mod overlay;
mod standing;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use kcl_core::protocol::limits::WRITES_PER_TRANSACTION;
use kcl_core::protocol::writes::apply_all;
use kcl_core::protocol::{CasOutcome, ConditionalWrite, Row, RowKey};
use kcl_core::{Effects, LeaseTable, Scan, TableError};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};

use crate::codec;
use crate::effects::LocalEffects;
use kept::Kept;
use standing::{Open, Standing};

const ROWS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("kcl_rows");
/// Made by the first effect.
const EFFECTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("kcl_effects");

/// A durable lease table in one file, for the schedulers of one process on one machine: its
/// checkpoints survive a restart. Every write is on the disk before it is answered. A file is open
/// in one place at a time. Clones share it. Takes [`LocalEffects`], which go into the same file.
///
/// After an I/O error, as on a full disk, the next request opens the file anew, and so does each
/// one after it until that succeeds: such requests fail, and the table goes on once it can.
#[derive(Clone)]
pub struct FileLeaseTable {
    standing: Arc<Standing>,
}

impl FileLeaseTable {
    /// Opens the file, or makes it where there is none. Blocks: reads it once, and compares every
    /// page with its checksum. A file that is refused is left as it was.
    ///
    /// # Errors
    /// [`TableError::Refused`] names the file and what to do: it is open elsewhere, cannot be
    /// written, is empty, damaged, of another format, or no lease table.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, TableError> {
        let path = path.as_ref();
        let kept = open::find_or_make(path).map_err(|why| open::refused(path, &why))?;
        Self::on(path, kept)
    }

    fn on(path: &Path, kept: Kept) -> Result<Self, TableError> {
        Ok(Self { standing: Arc::new(Standing::new(path.to_owned(), kept)?) })
    }

    /// The entry that effects have put under a key.
    ///
    /// # Errors
    /// [`TableError::Unavailable`] if the file cannot be read.
    ///
    /// # Cancel safety
    /// Dropping it loses nothing.
    pub async fn effect(&self, key: &str) -> Result<Option<Vec<u8>>, TableError> {
        let key = key.to_owned();
        self.off_thread(move |open| {
            let view = open.file.begin_read().map_err(unavailable)?;
            let entries = match view.open_table(EFFECTS) {
                Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
                entries => entries.map_err(unavailable)?,
            };
            let entry = entries.get(key.as_str()).map_err(unavailable)?;
            Ok(entry.map(|entry| entry.value().to_vec()))
        })
        .await
    }

    /// Carries out a request off the caller's thread: it waits for the disk.
    async fn off_thread<T: Send + 'static>(
        &self,
        request: impl FnOnce(&Open) -> Result<T, TableError> + Send + 'static,
    ) -> Result<T, TableError> {
        let standing = self.standing.clone();
        match tokio::task::spawn_blocking(move || standing.carry_out(request)).await {
            Ok(answer) => answer,
            Err(error) => Err(TableError::Unknown(format!("the request broke off: {error}"))),
        }
    }

    async fn change(&self, writes: Vec<ConditionalWrite>) -> Result<CasOutcome, TableError> {
        self.off_thread(move |open| apply(&open.file, &writes, &LocalEffects::new())).await
    }
}

/// For whatever fails before a commit: nothing was applied.
fn unavailable(error: impl Display) -> TableError {
    TableError::Unavailable(error.to_string())
}

fn decode(key: &[u8], row: &[u8]) -> Result<Row, TableError> {
    let bad = |reason| {
        let key = String::from_utf8_lossy(key.get(1..).unwrap_or_default()).into_owned();
        TableError::BadRow { key, reason }
    };
    let row = codec::decode(row).map_err(bad)?;
    if codec::encode_key(&row.key()) == key {
        Ok(row)
    } else {
        Err(bad(format!("it holds the row of {:?}", row.key())))
    }
}

fn row_at(
    rows: &impl ReadableTable<&'static [u8], &'static [u8]>,
    key: &RowKey,
) -> Result<Option<Row>, TableError> {
    let key = codec::encode_key(key);
    let bytes = rows.get(key.as_slice()).map_err(unavailable)?;
    bytes.map(|bytes| decode(&key, bytes.value())).transpose()
}

fn apply(
    file: &Database,
    writes: &[ConditionalWrite],
    effects: &LocalEffects,
) -> Result<CasOutcome, TableError> {
    let mut change = file.begin_write().map_err(unavailable)?;
    // Without it, the next open after a crash reads the whole file.
    change.set_quick_repair(true);
    let first = {
        let mut rows = change.open_table(ROWS).map_err(unavailable)?;
        let standing: BTreeMap<RowKey, Option<Row>> = writes
            .iter()
            .map(|write| row_at(&rows, &write.key()).map(|row| (write.key(), row)))
            .collect::<Result<_, _>>()?;
        let find = |key: &RowKey| standing.get(key).cloned().flatten();
        let changed = match apply_all(writes, find) {
            Ok(changed) => changed,
            Err(failed) => return Ok(CasOutcome::Lost(find(&writes[failed].key()))),
        };
        for (key, row) in &changed {
            let key = codec::encode_key(key);
            match row {
                Some(row) => rows.insert(key.as_slice(), codec::encode(row).as_slice()),
                None => rows.remove(key.as_slice()),
            }
            .map_err(unavailable)?;
        }
        changed.into_iter().next().and_then(|(_, row)| row)
    };
    put_effects(&change, effects)?;
    change.commit().map_err(|error| TableError::Unknown(error.to_string()))?;
    Ok(CasOutcome::Won(first))
}

fn put_effects(change: &WriteTransaction, effects: &LocalEffects) -> Result<(), TableError> {
    if effects.is_empty() {
        return Ok(());
    }
    let mut entries = change.open_table(EFFECTS).map_err(unavailable)?;
    for (key, value) in effects.entries() {
        match value {
            Some(value) => entries.insert(key, value),
            None => entries.remove(key),
        }
        .map_err(unavailable)?;
    }
    Ok(())
}

#[async_trait]
impl LeaseTable for FileLeaseTable {
    async fn prepare(&self) -> Result<String, TableError> {
        self.off_thread(|open| Ok(open.id.clone())).await
    }

    async fn scan(&self, scope: Scan) -> Result<Vec<Row>, TableError> {
        self.off_thread(move |open| {
            let view = open.file.begin_read().map_err(unavailable)?;
            let rows = view.open_table(ROWS).map_err(unavailable)?;
            let leases = [codec::LEASES];
            let found = match scope {
                Scan::Coordination => rows.range::<&[u8]>(..leases.as_slice()),
                Scan::Leases => rows.range::<&[u8]>(leases.as_slice()..),
            };
            let found = found.map_err(unavailable)?.map(|entry| {
                let (key, row) = entry.map_err(unavailable)?;
                decode(key.value(), row.value())
            });
            found.collect()
        })
        .await
    }

    async fn read(&self, key: &RowKey) -> Result<Option<Row>, TableError> {
        let key = key.clone();
        self.off_thread(move |open| {
            let view = open.file.begin_read().map_err(unavailable)?;
            row_at(&view.open_table(ROWS).map_err(unavailable)?, &key)
        })
        .await
    }

    async fn write(&self, write: &ConditionalWrite) -> Result<CasOutcome, TableError> {
        self.change(vec![write.clone()]).await
    }

    async fn write_all(&self, writes: &[ConditionalWrite]) -> Result<CasOutcome, TableError> {
        let keys: BTreeSet<_> = writes.iter().map(ConditionalWrite::key).collect();
        if keys.len() != writes.len() || writes.len() > WRITES_PER_TRANSACTION {
            return Err(TableError::Refused(format!(
                "a transaction takes at most {WRITES_PER_TRANSACTION} writes of distinct rows"
            )));
        }
        self.change(writes.to_vec()).await
    }

    fn supports_effects(&self) -> bool {
        true
    }

    async fn write_with(
        &self,
        write: &ConditionalWrite,
        effects: &Effects,
    ) -> Result<CasOutcome, TableError> {
        let Some(effects) = effects.downcast::<LocalEffects>().cloned() else {
            return Err(TableError::Refused("the table in a file takes LocalEffects".into()));
        };
        let write = write.clone();
        self.off_thread(move |open| apply(&open.file, &[write], &effects)).await
    }
}
