//! The lease table in a local file.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use kcl_core::protocol::limits::WRITES_PER_TRANSACTION;
use kcl_core::protocol::writes::apply_all;
use kcl_core::protocol::{CasOutcome, ConditionalWrite, Row, RowKey};
use kcl_core::{LeaseTable, Scan, TableError};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use crate::codec;

const ROWS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("kcl_rows");
const ABOUT: TableDefinition<'_, &str, &str> = TableDefinition::new("kcl_about");
/// The layout of the file, row codec included.
const FORMAT: &str = "2";

/// A durable lease table in one file, for the schedulers of one process on one machine: its
/// checkpoints survive a restart. Every write is on the disk before it is answered. A file is open
/// in one place at a time. Clones share it. It takes no effects.
#[derive(Clone)]
pub struct FileLeaseTable {
    id: Arc<str>,
    file: Arc<Database>,
}

impl FileLeaseTable {
    /// Opens the file, or makes it. Blocks while it reads the file's head.
    ///
    /// # Errors
    /// [`TableError::Refused`] names the file: it is open elsewhere, damaged, of another format,
    /// or no lease table.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, TableError> {
        let path = path.as_ref();
        let refuse = |error: &dyn Display| {
            TableError::Refused(format!(
                "{} cannot be opened as a lease table: {error}; give the path of a lease table \
                 that no other process has open, or of a file that does not exist",
                path.display()
            ))
        };
        let file = Database::create(path).map_err(|error| refuse(&error))?;
        let id = Self::identify(&file).map_err(|error| refuse(&error))?;
        Ok(Self { id: id.into(), file: Arc::new(file) })
    }

    /// The id in the file; written, with the empty table, if the file is new.
    fn identify(file: &Database) -> Result<String, Box<dyn std::error::Error>> {
        let mut change = file.begin_write()?;
        change.set_quick_repair(true);
        let is_new = change.list_tables()?.next().is_none();
        let id = {
            let mut about = change.open_table(ABOUT)?;
            if is_new {
                about.insert("format", FORMAT)?;
                about.insert("id", uuid::Uuid::new_v4().to_string().as_str())?;
                change.open_table(ROWS)?;
            }
            let format = about.get("format")?.ok_or("it holds other data")?;
            if format.value() != FORMAT {
                return Err(format!("its format is {}, not {FORMAT}", format.value()).into());
            }
            about.get("id")?.ok_or("its id is missing")?.value().to_owned()
        };
        change.commit()?;
        Ok(id)
    }

    /// Carries out a request off the caller's thread: it waits for the disk.
    async fn off_thread<T: Send + 'static>(
        &self,
        request: impl FnOnce(&Database) -> Result<T, TableError> + Send + 'static,
    ) -> Result<T, TableError> {
        let file = self.file.clone();
        match tokio::task::spawn_blocking(move || request(&file)).await {
            Ok(answer) => answer,
            Err(error) => Err(TableError::Unknown(format!("the request broke off: {error}"))),
        }
    }

    async fn change(&self, writes: Vec<ConditionalWrite>) -> Result<CasOutcome, TableError> {
        self.off_thread(move |file| apply(file, &writes)).await
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

fn apply(file: &Database, writes: &[ConditionalWrite]) -> Result<CasOutcome, TableError> {
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
    change.commit().map_err(|error| TableError::Unknown(error.to_string()))?;
    Ok(CasOutcome::Won(first))
}

#[async_trait]
impl LeaseTable for FileLeaseTable {
    async fn prepare(&self) -> Result<String, TableError> {
        Ok(self.id.to_string())
    }

    async fn scan(&self, scope: Scan) -> Result<Vec<Row>, TableError> {
        self.off_thread(move |file| {
            let view = file.begin_read().map_err(unavailable)?;
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
        self.off_thread(move |file| {
            let view = file.begin_read().map_err(unavailable)?;
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
}
