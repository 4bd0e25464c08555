//! The folder: who has it, and its metadata.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kcl_core::protocol::StreamName;
use kcl_stream_local::{StoreError, StreamRow};
use redb::{
    Database, ReadableDatabase, ReadableTable, TableDefinition, TableError, WriteTransaction,
};

use crate::rows;

const STREAMS: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("streams");
const VALUES: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("values");
/// Folders of streams that are being made or deleted, by name: written before the first file is
/// made and before the first is deleted, so that no folder is ever deleted for being unknown.
const UNDER_WAY: TableDefinition<'static, &str, &str> = TableDefinition::new("under_way");
const MAKING: &str = "making";
const DELETING: &str = "deleting";
/// Rises when the files change their meaning.
const FORMAT: &[u8] = b"1";
const LAST_CREATED: &str = "last_created";

/// What one process has of a folder, until the last of its streams is dropped.
pub(crate) type Held = Arc<Folder>;

pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    rows: Database,
    /// Locked while the folder is held.
    _lock: File,
}

/// What a folder of a stream without a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnderWay {
    /// It was being made: nobody put a record there.
    Making,
    /// It was being deleted.
    Deleting,
}

pub(crate) fn failed(path: &Path) -> impl Fn(io::Error) -> StoreError {
    move |error| StoreError(format!("{}: {error}", path.display()))
}

/// The folder of a stream: two of one name differ in their creation.
pub(crate) fn folder_name(name: &StreamName, created_at_millis: u64) -> String {
    format!("{name}-{created_at_millis}")
}

/// Syncs the names in a folder.
pub(crate) fn sync_names(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Makes a folder, and those above it; their names are synced.
fn make(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let above = path.parent().filter(|above| !above.as_os_str().is_empty());
    let above = above.unwrap_or(Path::new("."));
    make(above)?;
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    sync_names(above)
}

/// Locks a folder for this process.
fn lock(path: &Path) -> Result<File, StoreError> {
    let file = path.join("lock");
    let opened = File::options().read(true).write(true).create(true).truncate(false).open(&file);
    let mut lock = opened.map_err(failed(&file))?;
    let mut holder = String::new();
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
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
    let is_ours = lock.read_to_string(&mut holder).is_ok()
        && holder.trim_end().chars().all(|digit| digit.is_ascii_digit());
    if !is_ours {
        let file = file.display();
        return Err(StoreError(format!("{file}: holds something else: use another folder")));
    }
    // What was read moved the place to write at.
    let write = lock.set_len(0).and_then(|()| lock.rewind());
    let write = write.and_then(|()| writeln!(lock, "{}", std::process::id()));
    write.map_err(failed(&file))?;
    Ok(lock)
}

/// Refuses streams without metadata: they are somebody else's, or their metadata was lost.
fn check_is_empty(streams: &Path) -> Result<(), StoreError> {
    use io::ErrorKind::{NotADirectory, NotFound};
    let first = match fs::read_dir(streams) {
        Err(error) if matches!(error.kind(), NotFound | NotADirectory) => return Ok(()),
        listed => listed.map_err(failed(streams))?.next(),
    };
    let Some(entry) = first else { return Ok(()) };
    let entry = entry.map_err(failed(streams))?.path();
    Err(StoreError(format!(
        "{}: is there without the metadata of its streams (meta.redb): use another folder, or put \
         the meta.redb that belongs to it back",
        entry.display()
    )))
}

impl Folder {
    pub(crate) fn open(path: PathBuf) -> Result<Self, StoreError> {
        let (streams, file) = (path.join("streams"), path.join("meta.redb"));
        // Before anything is made there: it may be no folder of ours.
        if !file.exists() {
            check_is_empty(&streams)?;
        }
        make(&streams).map_err(|error| {
            StoreError(format!("cannot make the folder {}: {error}", streams.display()))
        })?;
        let lock = lock(&path)?;
        let rows = Database::create(&file)
            .map_err(|error| StoreError(format!("{}: {error}", file.display())))?;
        let held = Self { path, rows, _lock: lock };
        match held.value("format")?.as_deref() {
            Some(FORMAT) => {}
            Some(_) => {
                let path = held.path.display();
                return Err(StoreError(format!(
                    "{path}: written by another version: use that one"
                )));
            }
            None => {
                check_is_empty(&streams)?;
                // With the format in it, the file has its name for good.
                sync_names(&held.path).map_err(failed(&held.path))?;
                held.keep_value("format", FORMAT)?;
            }
        }
        Ok(held)
    }

    pub(crate) fn streams(&self) -> PathBuf {
        self.path.join("streams")
    }

    fn failed(&self, error: impl fmt::Display) -> StoreError {
        StoreError(format!("{}: {error}", self.path.join("meta.redb").display()))
    }

    pub(crate) fn value(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let read = self.rows.begin_read().map_err(|error| self.failed(error))?;
        let values = match read.open_table(VALUES) {
            Ok(values) => values,
            Err(TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(error) => return Err(self.failed(error)),
        };
        let value = values.get(name).map_err(|error| self.failed(error))?;
        Ok(value.map(|value| value.value().to_vec()))
    }

    pub(crate) fn keep_value(&self, name: &str, value: &[u8]) -> Result<(), StoreError> {
        self.change(|change| {
            change.open_table(VALUES)?.insert(name, value)?;
            Ok(())
        })
    }

    /// Changes the tables, all or nothing.
    fn change<T>(
        &self,
        change: impl FnOnce(&WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let mut under_way = self.rows.begin_write().map_err(|error| self.failed(error))?;
        // Without it, the next open after a crash reads the whole file.
        under_way.set_quick_repair(true);
        let changed = change(&under_way).map_err(|error| self.failed(error))?;
        under_way.commit().map_err(|error| self.failed(error))?;
        Ok(changed)
    }

    pub(crate) fn last_created_at_millis(&self) -> Result<u64, StoreError> {
        let last = self.value(LAST_CREATED)?;
        let last = last.and_then(|bytes| Some(u64::from_le_bytes(bytes.try_into().ok()?)));
        Ok(last.unwrap_or(0))
    }

    pub(crate) fn rows(&self) -> Result<Vec<StreamRow>, StoreError> {
        let read = self.rows.begin_read().map_err(|error| self.failed(error))?;
        let streams = match read.open_table(STREAMS) {
            Ok(streams) => streams,
            Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
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

    /// Notes that this stream's folder is about to be made.
    pub(crate) fn note_making(&self, row: &StreamRow) -> Result<(), StoreError> {
        let folder = folder_name(&row.name, row.created_at_millis);
        self.change(|change| {
            change.open_table(UNDER_WAY)?.insert(folder.as_str(), MAKING)?;
            Ok(())
        })
    }

    /// Adds the row of a stream whose folder is made.
    pub(crate) fn add_row(&self, row: &StreamRow) -> Result<(), StoreError> {
        let folder = folder_name(&row.name, row.created_at_millis);
        self.change(|change| {
            let mut under_way = change.open_table(UNDER_WAY)?;
            under_way.remove(folder.as_str())?;
            let mut streams = change.open_table(STREAMS)?;
            let before = streams.insert(row.name.as_str(), rows::encode(row).as_slice())?;
            // Whoever makes one of this name has deleted the one before.
            if let Some(created) = before.and_then(|before| rows::created(before.value()))
                && created != row.created_at_millis
            {
                under_way.insert(folder_name(&row.name, created).as_str(), DELETING)?;
            }
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

    /// Replaces the row of a stream that is there.
    pub(crate) fn replace_row(&self, row: &StreamRow) -> Result<(), StoreError> {
        let is_there = self.change(|change| {
            let mut streams = change.open_table(STREAMS)?;
            let before = streams.get(row.name.as_str())?;
            let before = before.and_then(|before| rows::created(before.value()));
            let is_there = before == Some(row.created_at_millis);
            if is_there {
                streams.insert(row.name.as_str(), rows::encode(row).as_slice())?;
            }
            Ok(is_there)
        })?;
        let (name, created) = (&row.name, row.created_at_millis);
        let gone = || self.failed(format!("stream {name}, created at {created}, was deleted"));
        is_there.then_some(()).ok_or_else(gone)
    }

    /// Removes the row of a stream, and notes that its folder is about to be deleted.
    pub(crate) fn remove_row(&self, name: &StreamName, created: u64) -> Result<(), StoreError> {
        self.change(|change| {
            let mut streams = change.open_table(STREAMS)?;
            let before = streams.get(name.as_str())?;
            let before = before.and_then(|before| rows::created(before.value()));
            if before == Some(created) {
                streams.remove(name.as_str())?;
                let folder = folder_name(name, created);
                change.open_table(UNDER_WAY)?.insert(folder.as_str(), DELETING)?;
            }
            Ok(())
        })
    }

    /// The folders that were being made or deleted.
    pub(crate) fn under_way(&self) -> Result<BTreeMap<String, UnderWay>, StoreError> {
        let read = self.rows.begin_read().map_err(|error| self.failed(error))?;
        let table = match read.open_table(UNDER_WAY) {
            Ok(table) => table,
            Err(TableError::TableDoesNotExist(_)) => return Ok(BTreeMap::new()),
            Err(error) => return Err(self.failed(error)),
        };
        let mut found = BTreeMap::new();
        for entry in table.iter().map_err(|error| self.failed(error))? {
            let (folder, what) = entry.map_err(|error| self.failed(error))?;
            let what = match what.value() {
                MAKING => UnderWay::Making,
                _ => UnderWay::Deleting,
            };
            found.insert(folder.value().to_owned(), what);
        }
        Ok(found)
    }

    /// Forgets these notes: the folders are gone for good.
    pub(crate) fn end<'a>(
        &self,
        folders: impl IntoIterator<Item = &'a str>,
    ) -> Result<(), StoreError> {
        self.change(|change| {
            let mut under_way = change.open_table(UNDER_WAY)?;
            for folder in folders {
                under_way.remove(folder)?;
            }
            Ok(())
        })
    }
}
