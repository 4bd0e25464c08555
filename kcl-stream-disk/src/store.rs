//! The folder.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kcl_core::protocol::StreamName;
use kcl_stream_local::{Journal, Saved, SavedStream, Store, StoreError, StreamRow};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};

use crate::journal::DiskJournal;
use crate::limits::SEGMENT_BYTES;
use crate::recover::{Recovered, recover};
use crate::rows;
use crate::writer::Writer;

const STREAMS: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("streams");
const VALUES: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("values");
/// Rises when the files change their meaning.
const FORMAT: &[u8] = b"1";

/// Called before every sync of a file.
pub type BeforeSync = Arc<dyn Fn(&Path) -> io::Result<()> + Send + std::marker::Sync>;

/// How a folder is used.
#[derive(Clone)]
pub struct DiskOptions {
    /// Bytes after which a segment is followed by another. Default 64 MiB.
    pub segment_bytes: u64,
    /// Asked before every sync; an error stands for one of the disk. For tests. Default: none.
    pub before_sync: Option<BeforeSync>,
}

impl Default for DiskOptions {
    fn default() -> Self {
        Self { segment_bytes: SEGMENT_BYTES, before_sync: None }
    }
}

/// Streams in a folder. See the crate's page.
pub struct DiskStore {
    held: Held,
    options: DiskOptions,
}

/// What one process has of a folder, until the last of its streams is dropped.
pub(crate) type Held = Arc<Folder>;

pub(crate) struct Folder {
    path: PathBuf,
    rows: Database,
    /// Locked while the folder is held.
    _lock: File,
}

impl fmt::Debug for DiskStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DiskStore({})", self.held.path.display())
    }
}

/// Syncs files.
#[derive(Clone)]
pub(crate) struct Sync(Option<BeforeSync>);

impl fmt::Debug for Sync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sync")
    }
}

impl Sync {
    fn before(&self, path: &Path) -> io::Result<()> {
        self.0.as_ref().map_or(Ok(()), |before| before(path))
    }
    /// What is in the file, and as much of its size as is needed to find it.
    pub(crate) fn data(&self, file: &File, path: &Path) -> io::Result<()> {
        self.before(path)?;
        file.sync_data()
    }
    pub(crate) fn all(&self, file: &File, path: &Path) -> io::Result<()> {
        self.before(path)?;
        file.sync_all()
    }
    /// The names in a folder.
    pub(crate) fn folder(&self, path: &Path) -> io::Result<()> {
        self.before(path)?;
        File::open(path)?.sync_all()
    }
}

fn failed(path: &Path) -> impl Fn(io::Error) -> StoreError {
    move |error| StoreError(format!("{}: {error}", path.display()))
}

impl DiskStore {
    /// Opens a folder, which is made if need be.
    ///
    /// # Errors
    /// Another process has it; it cannot be written; it holds something else.
    pub fn open(path: impl Into<PathBuf>, options: DiskOptions) -> Result<Self, StoreError> {
        let path = path.into();
        let folder = path.join("streams");
        fs::create_dir_all(&folder).map_err(|error| {
            StoreError(format!("cannot make the folder {}: {error}", folder.display()))
        })?;
        let lock = lock(&path)?;
        let file = path.join("meta.redb");
        let rows = Database::create(&file)
            .map_err(|error| StoreError(format!("{}: {error}", file.display())))?;
        let held = Arc::new(Folder { path, rows, _lock: lock });
        let format = held.value("format")?;
        if format.as_deref().is_some_and(|format| format != FORMAT) {
            let path = held.path.display();
            return Err(StoreError(format!("{path}: written by another version: use that one")));
        }
        held.keep_value("format", FORMAT)?;
        Ok(Self { held, options })
    }

    /// A small value kept beside the streams, such as a key.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn value(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.held.value(&format!("user.{name}"))
    }

    /// Keeps such a value; it is durable on return.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn keep_value(&self, name: &str, value: &[u8]) -> Result<(), StoreError> {
        self.held.keep_value(&format!("user.{name}"), value)
    }

    fn writer(&self, row: &StreamRow, recovered: &mut Recovered) -> Result<Writer, StoreError> {
        let folder = self.held.streams().join(folder_name(&row.name, row.created_at_millis));
        let sync = Sync(self.options.before_sync.clone());
        let (created, bytes) = (row.created_at_millis, self.options.segment_bytes);
        let made = Writer::new(folder.clone(), created, bytes, sync, recovered);
        made.map_err(failed(&folder))
    }

    fn journal(&self, row: &StreamRow, writer: Writer) -> Result<Arc<dyn Journal>, StoreError> {
        let name = row.name.as_str();
        let started = DiskJournal::start(name, writer, Arc::clone(&self.held));
        let started = started.map_err(|error| StoreError(format!("stream {name}: {error}")));
        Ok(Arc::new(started?))
    }
}

/// Locks a folder for this process.
fn lock(path: &Path) -> Result<File, StoreError> {
    let file = path.join("lock");
    let opened = File::options().read(true).write(true).create(true).truncate(false).open(&file);
    let mut lock = opened.map_err(failed(&file))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // Without its number the refusal is as true.
            let _ = lock.read_to_string(&mut holder);
            return Err(StoreError(format!(
                "{} is in use by process {}: stop it, or use another folder",
                path.display(),
                holder.trim()
            )));
        }
        Err(TryLockError::Error(error)) => return Err(failed(&file)(error)),
    }
    let write = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
    write.map_err(failed(&file))?;
    Ok(lock)
}

/// The folder of a stream: two of one name differ in their creation.
fn folder_name(name: &StreamName, created_at_millis: u64) -> String {
    format!("{name}-{created_at_millis}")
}

impl Folder {
    fn streams(&self) -> PathBuf {
        self.path.join("streams")
    }

    fn failed(&self, error: impl fmt::Display) -> StoreError {
        StoreError(format!("{}: {error}", self.path.join("meta.redb").display()))
    }

    fn value(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let read = self.rows.begin_read().map_err(|error| self.failed(error))?;
        let values = match read.open_table(VALUES) {
            Ok(values) => values,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(error) => return Err(self.failed(error)),
        };
        let value = values.get(name).map_err(|error| self.failed(error))?;
        Ok(value.map(|value| value.value().to_vec()))
    }

    fn keep_value(&self, name: &str, value: &[u8]) -> Result<(), StoreError> {
        self.change(|change| {
            change.open_table(VALUES)?.insert(name, value)?;
            Ok(())
        })
    }

    /// Changes the tables, all or nothing.
    fn change(
        &self,
        change: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), StoreError> {
        let mut under_way = self.rows.begin_write().map_err(|error| self.failed(error))?;
        // Without it, the next open after a crash reads the whole file.
        under_way.set_quick_repair(true);
        change(&under_way).map_err(|error| self.failed(error))?;
        under_way.commit().map_err(|error| self.failed(error))
    }

    fn rows(&self) -> Result<Vec<StreamRow>, StoreError> {
        let read = self.rows.begin_read().map_err(|error| self.failed(error))?;
        let streams = match read.open_table(STREAMS) {
            Ok(streams) => streams,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
            Err(error) => return Err(self.failed(error)),
        };
        let mut rows = Vec::new();
        for entry in streams.iter().map_err(|error| self.failed(error))? {
            let (name, row) = entry.map_err(|error| self.failed(error))?;
            let bad =
                |why| self.failed(format!("the row of stream {} is damaged: {why}", name.value()));
            rows.push(rows::decode(row.value()).map_err(bad)?);
        }
        Ok(rows)
    }

    /// Removes folders of streams that are not known: they were being made or deleted.
    fn remove_strangers(&self, rows: &[StreamRow]) -> Result<(), StoreError> {
        let name = |row: &StreamRow| folder_name(&row.name, row.created_at_millis);
        let known: BTreeSet<String> = rows.iter().map(name).collect();
        let folder = self.streams();
        for entry in fs::read_dir(&folder).map_err(failed(&folder))? {
            let entry = entry.map_err(failed(&folder))?;
            if !entry.file_name().to_str().is_some_and(|name| known.contains(name)) {
                fs::remove_dir_all(entry.path()).map_err(failed(&entry.path()))?;
            }
        }
        Ok(())
    }
}

const LAST_CREATED: &str = "last_created";

impl Store for DiskStore {
    fn load(&self) -> Result<Saved, StoreError> {
        let rows = self.held.rows()?;
        self.held.remove_strangers(&rows)?;
        let last = self.held.value(LAST_CREATED)?;
        let last = last.and_then(|bytes| Some(u64::from_le_bytes(bytes.try_into().ok()?)));
        let mut saved = Saved { last_created_at_millis: last.unwrap_or(0), ..Saved::default() };
        for row in rows {
            let folder = folder_name(&row.name, row.created_at_millis);
            let folder = self.held.streams().join(folder);
            let mut recovered = recover(&folder, row.created_at_millis)?;
            let writer = self.writer(&row, &mut recovered)?;
            let journal = self.journal(&row, writer)?;
            saved.streams.push(SavedStream { row, logs: recovered.logs, journal });
        }
        Ok(saved)
    }

    fn create(&self, row: &StreamRow) -> Result<Arc<dyn Journal>, StoreError> {
        let folder = self.held.streams();
        let own = folder.join(folder_name(&row.name, row.created_at_millis));
        fs::create_dir(&own).map_err(failed(&own))?;
        let writer = self.writer(row, &mut Recovered::default())?;
        Sync(self.options.before_sync.clone()).folder(&folder).map_err(failed(&folder))?;
        self.save(row)?;
        self.journal(row, writer)
    }

    fn save(&self, row: &StreamRow) -> Result<(), StoreError> {
        self.held.change(|change| {
            change.open_table(STREAMS)?.insert(row.name.as_str(), rows::encode(row).as_slice())?;
            let mut values = change.open_table(VALUES)?;
            let last = values.get(LAST_CREATED)?.map(|last| last.value().to_vec());
            let last = last.and_then(|bytes| Some(u64::from_le_bytes(bytes.try_into().ok()?)));
            if last.is_none_or(|last| last < row.created_at_millis) {
                let created = row.created_at_millis.to_le_bytes();
                values.insert(LAST_CREATED, created.as_slice())?;
            }
            Ok(())
        })
    }

    fn delete(&self, name: &StreamName, created_at_millis: u64) -> Result<(), StoreError> {
        self.held.change(|change| {
            change.open_table(STREAMS)?.remove(name.as_str())?;
            Ok(())
        })?;
        let folder = self.held.streams().join(folder_name(name, created_at_millis));
        fs::remove_dir_all(&folder).map_err(failed(&folder))
    }
}
