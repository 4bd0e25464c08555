//! Streams in a folder.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kcl_core::protocol::StreamName;
use kcl_stream_local::{Journal, Saved, SavedStream, Store, StoreError, StreamRow};

use crate::folder::{Folder, Held, UnderWay, failed, folder_name, sync_names};
use crate::journal::DiskJournal;
use crate::limits::SEGMENT_BYTES;
use crate::recover::{Recovered, recover};
use crate::writer::Writer;

/// Called before a sync of this file or folder.
pub type BeforeSync = Arc<dyn Fn(&Path) -> io::Result<()> + Send + std::marker::Sync>;

/// How a folder is used.
#[derive(Clone)]
pub struct DiskOptions {
    /// Bytes after which a segment is followed by another. Default 64 MiB.
    pub segment_bytes: u64,
    /// Asked before every sync of a stream's files and folders; an error stands for one of the
    /// disk. For tests. Default: none.
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
        sync_names(path)
    }
}

impl DiskStore {
    /// Opens a folder, which is made if need be.
    ///
    /// # Errors
    /// Another process has it; it cannot be written; it holds something else, such as a folder
    /// `streams` without the metadata of its streams. Nothing is deleted then.
    pub fn open(path: impl Into<PathBuf>, options: DiskOptions) -> Result<Self, StoreError> {
        Ok(Self { held: Arc::new(Folder::open(path.into())?), options })
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

    fn sync(&self) -> Sync {
        Sync(self.options.before_sync.clone())
    }

    fn writer(&self, row: &StreamRow, recovered: &mut Recovered) -> Result<Writer, StoreError> {
        let folder = self.held.streams().join(folder_name(&row.name, row.created_at_millis));
        let sync = self.sync();
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

    /// Deletes the folders that a crash left half made or half deleted. Any other without a row may
    /// be younger than the metadata, or somebody else's: it is never deleted.
    fn remove_leftovers(&self, rows: &[StreamRow]) -> Result<(), StoreError> {
        let folder_of = |row: &StreamRow| folder_name(&row.name, row.created_at_millis);
        let known: BTreeSet<String> = rows.iter().map(folder_of).collect();
        let under_way = self.held.under_way()?;
        let folder = self.held.streams();
        for entry in fs::read_dir(&folder).map_err(failed(&folder))? {
            let entry = entry.map_err(failed(&folder))?;
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_str().unwrap_or_default();
            if known.contains(name) {
                continue;
            }
            let is_leftover = match under_way.get(name) {
                Some(UnderWay::Deleting) => true,
                Some(UnderWay::Making) => !holds_records(&path, name, &self.sync())?,
                None => false,
            };
            if !is_leftover {
                return Err(StoreError(format!(
                    "{}: the metadata (meta.redb) knows no such stream: move it elsewhere, or put \
                     the meta.redb that belongs to it back",
                    path.display()
                )));
            }
            tracing::warn!(folder = %path.display(), "deleted what a crash left of a stream");
            remove(&path)?;
        }
        if under_way.is_empty() {
            return Ok(());
        }
        sync_names(&folder).map_err(failed(&folder))?;
        self.held.end(under_way.keys().map(String::as_str))
    }
}

/// A stream of which the metadata knows no more than that it was being made, and which has records,
/// was made: the metadata is older.
fn holds_records(folder: &Path, name: &str, sync: &Sync) -> Result<bool, StoreError> {
    let created = name.rsplit_once('-').and_then(|(_, created)| created.parse().ok());
    let recovered = recover(folder, created.unwrap_or(0), sync)?;
    Ok(recovered.logs.values().any(|log| log.next > 1))
}

/// Deletes a stream's folder, and nothing that is none of its files.
fn remove(folder: &Path) -> Result<(), StoreError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(failed(folder))?,
    };
    for entry in entries {
        let path = entry.map_err(failed(folder))?.path();
        let kind = path.extension().and_then(|kind| kind.to_str());
        if !matches!(kind, Some("seg" | "tmp")) {
            let path = path.display();
            return Err(StoreError(format!("{path}: is no segment: move it elsewhere")));
        }
        fs::remove_file(&path).map_err(failed(&path))?;
    }
    fs::remove_dir(folder).map_err(failed(folder))
}

impl Store for DiskStore {
    fn load(&self) -> Result<Saved, StoreError> {
        let rows = self.held.rows()?;
        self.remove_leftovers(&rows)?;
        let last_created_at_millis = self.held.last_created_at_millis()?;
        let mut saved = Saved { last_created_at_millis, ..Saved::default() };
        for row in rows {
            let folder = folder_name(&row.name, row.created_at_millis);
            let folder = self.held.streams().join(folder);
            let mut recovered = recover(&folder, row.created_at_millis, &self.sync())?;
            let writer = self.writer(&row, &mut recovered)?;
            let journal = self.journal(&row, writer)?;
            saved.streams.push(SavedStream { row, logs: recovered.logs, journal });
        }
        Ok(saved)
    }

    fn create(&self, row: &StreamRow) -> Result<Arc<dyn Journal>, StoreError> {
        let folder = self.held.streams();
        let own = folder.join(folder_name(&row.name, row.created_at_millis));
        self.held.note_making(row)?;
        fs::create_dir(&own).map_err(failed(&own))?;
        let writer = self.writer(row, &mut Recovered::default())?;
        self.sync().folder(&folder).map_err(failed(&folder))?;
        let journal = self.journal(row, writer)?;
        self.held.add_row(row)?;
        Ok(journal)
    }

    fn save(&self, row: &StreamRow) -> Result<(), StoreError> {
        self.held.replace_row(row)
    }

    fn delete(&self, name: &StreamName, created_at_millis: u64) -> Result<(), StoreError> {
        self.held.remove_row(name, created_at_millis)?;
        let (folder, own) = (self.held.streams(), folder_name(name, created_at_millis));
        let removed = remove(&folder.join(&own))
            .and_then(|()| self.sync().folder(&folder).map_err(failed(&folder)))
            .and_then(|()| self.held.end([own.as_str()]));
        // It is deleted all the same: the next start goes on with what is left.
        if let Err(error) = removed {
            tracing::warn!(%error, "files of a deleted stream stay until the next start");
        }
        Ok(())
    }
}
