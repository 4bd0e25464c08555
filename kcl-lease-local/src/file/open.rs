//! Opening the file. What stands there is checked before a byte of it is written: a damaged or
//! foreign file stays as it was found.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::{fmt, fs};

use kcl_core::TableError;
use redb::backends::FileBackend;
use redb::{
    Builder, Database, DatabaseError, ReadableDatabase, StorageBackend, StorageError,
    TableDefinition, TableHandle,
};

use super::ROWS;
use super::kept::Kept;
use super::overlay::Overlay;

const ABOUT: TableDefinition<'_, &str, &str> = TableDefinition::new("kcl_about");
/// The layout of the file, row codec included.
const FORMAT: &str = "3";
/// The first bytes of every redb file.
const MAGIC: [u8; 9] = [b'r', b'e', b'd', b'b', 0x1A, 0x0A, 0xA9, 0x0D, 0x0A];
/// Bytes of the file that the check keeps in memory at once: far more than its deepest path.
const CHECK_CACHE_BYTES: usize = 16 << 20;

/// Why a file is not opened, and what to do.
#[derive(Debug)]
pub(super) enum Refusal {
    InUse,
    ReadOnly,
    Empty,
    Foreign(String),
    Damaged(String),
    Unreachable(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse => f.write_str(
                "it is open already, in this process or another; share one FileLeaseTable, stop \
                 the other process, or give another path",
            ),
            Self::ReadOnly => {
                f.write_str("it cannot be written; make it writable, or give another path")
            }
            Self::Empty => f.write_str(
                "it is empty; if it was a lease table, restore it from a backup, else remove it: \
                 a new one is made where no file is",
            ),
            Self::Foreign(what) => write!(
                f,
                "it is not a lease table: {what}; give another path, or, if it was one, restore \
                 it from a backup"
            ),
            Self::Damaged(what) => write!(
                f,
                "it is damaged: {what}; it was left as it is. Restore it from a backup, or move \
                 it away to begin with an empty table, from each stream's start position"
            ),
            Self::Unreachable(what) => write!(f, "{what}; check the path and its folder"),
        }
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Self::ReadOnly,
            ErrorKind::IsADirectory => Self::Foreign("it is a folder".into()),
            ErrorKind::InvalidData | ErrorKind::UnexpectedEof => Self::Damaged(error.to_string()),
            _ => Self::Unreachable(error.to_string()),
        }
    }
}

impl From<DatabaseError> for Refusal {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::DatabaseAlreadyOpen => Self::InUse,
            DatabaseError::Storage(error) => error.into(),
            DatabaseError::UpgradeRequired(version) => {
                Self::Foreign(format!("its redb format is version {version}"))
            }
            error => Self::Unreachable(error.to_string()),
        }
    }
}

impl From<StorageError> for Refusal {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Io(error) => error.into(),
            StorageError::Corrupted(what) => Self::Damaged(what),
            error => Self::Unreachable(error.to_string()),
        }
    }
}

impl From<redb::TableError> for Refusal {
    fn from(error: redb::TableError) -> Self {
        match error {
            redb::TableError::Storage(error) => error.into(),
            error => Self::Foreign(error.to_string()),
        }
    }
}

/// A refusal as the caller gets it.
pub(super) fn refused(path: &Path, why: &Refusal) -> TableError {
    TableError::Refused(format!("the lease table {}: {why}", path.display()))
}

/// The file at a path, which is made where there is none. Nothing in it was looked at yet.
pub(super) fn find_or_make(path: &Path) -> Result<Kept, Refusal> {
    match fs::metadata(path) {
        Ok(found) => check_kind(&found)?,
        Err(error) if error.kind() == ErrorKind::NotFound => make(path)?,
        Err(error) => return Err(error.into()),
    }
    let file = File::options().read(true).write(true).open(path)?;
    Ok(Kept::new(FileBackend::new(file)?))
}

/// Opens the lease table in a file. Returns its id with it.
pub(super) fn open_kept(kept: &Kept) -> Result<(String, Database), Refusal> {
    check(kept)?;
    let file = Builder::new().create_with_backend(kept.clone())?;
    Ok((identify(&file)?, file))
}

/// Makes the file beside its place and then puts it there: whoever finds it finds it whole.
fn make(path: &Path) -> Result<(), Refusal> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(format!(".{}.new", uuid::Uuid::new_v4()));
    let fresh = PathBuf::from(fresh);
    let placed = fill(&fresh).and_then(|()| place(&fresh, path));
    // Gone already where it was renamed.
    fs::remove_file(&fresh).ok();
    placed
}

fn fill(fresh: &Path) -> Result<(), Refusal> {
    let file = Database::create(fresh)?;
    let failed = |error: redb::Error| Refusal::Unreachable(error.to_string());
    let mut change = file.begin_write().map_err(|error| failed(error.into()))?;
    change.set_quick_repair(true);
    {
        let mut about = change.open_table(ABOUT)?;
        about.insert("format", FORMAT)?;
        about.insert("id", uuid::Uuid::new_v4().to_string().as_str())?;
        change.open_table(ROWS)?;
    }
    change.commit().map_err(|error| failed(error.into()))?;
    Ok(file.close()?)
}

fn place(fresh: &Path, path: &Path) -> Result<(), Refusal> {
    match fs::hard_link(fresh, path) {
        Ok(()) => {}
        // Another process was first: its file is opened.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        // A file system without links.
        Err(_) => fs::rename(fresh, path)?,
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    // The name must outlast a power cut as the content does; some systems cannot sync a folder.
    File::open(folder.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all()).ok();
    Ok(())
}

fn check_kind(found: &Metadata) -> Result<(), Refusal> {
    if !found.is_file() {
        let what = if found.is_dir() { "a folder" } else { "no plain file" };
        return Err(Refusal::Foreign(format!("it is {what}")));
    }
    if found.permissions().readonly() {
        return Err(Refusal::ReadOnly);
    }
    Ok(())
}

/// Reads the whole file, without changing it: every page has its checksum, and it is a lease table.
fn check(kept: &Kept) -> Result<(), Refusal> {
    let length = kept.len()?;
    if length == 0 {
        return Err(Refusal::Empty);
    }
    let mut magic = [0; MAGIC.len()];
    if length >= MAGIC.len() as u64 {
        kept.read(0, &mut magic)?;
    }
    if magic != MAGIC {
        return Err(Refusal::Foreign("it is no redb file".into()));
    }
    let file = Builder::new()
        .set_check_integrity_on_open(true)
        .set_cache_size(CHECK_CACHE_BYTES)
        .create_with_backend(Overlay::new(kept.clone())?)?;
    identify(&file)?;
    Ok(file.close()?)
}

/// The id in the file.
fn identify(file: &Database) -> Result<String, Refusal> {
    let view = file.begin_read().map_err(|error| Refusal::Unreachable(error.to_string()))?;
    let about = match view.open_table(ABOUT) {
        Err(redb::TableError::TableDoesNotExist(_)) => {
            let tables: Vec<_> = view.list_tables()?.map(|table| table.name().to_owned()).collect();
            return Err(Refusal::Foreign(format!("a redb file with the tables {tables:?}")));
        }
        about => about?,
    };
    let text = |key: &str| -> Result<String, Refusal> {
        let value = about.get(key)?.map(|value| value.value().to_owned());
        value.ok_or_else(|| Refusal::Foreign(format!("a redb file that names no {key}")))
    };
    let format = text("format")?;
    if format != FORMAT {
        return Err(Refusal::Foreign(format!(
            "its format is {format}, this version's is {FORMAT}"
        )));
    }
    view.open_table(ROWS)?;
    text("id")
}
