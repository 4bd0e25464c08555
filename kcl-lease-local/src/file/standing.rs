//! The database in the file, opened anew after an error.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

use kcl_core::TableError;
use redb::Database;

use super::kept::Kept;
use super::open::{Refusal, open_kept, refused};

/// The file and the database in it. Once one read, write or sync of the file has failed, redb
/// refuses whatever comes after, and a disk that was full for a second would stay so for ever:
/// the next request opens the file anew first, as after a crash. That also settles whether a
/// commit that failed has applied, before anything is read again.
#[derive(Debug)]
pub(super) struct Standing {
    path: PathBuf,
    kept: Kept,
    /// None after an opening that failed.
    open: RwLock<Option<Open>>,
}

/// The database as it was opened last.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) id: String,
    pub(super) file: Database,
    has_failed: AtomicBool,
}

impl Open {
    fn new((id, file): (String, Database)) -> Self {
        Self { id, file, has_failed: AtomicBool::new(false) }
    }

    fn is_fit(&self) -> bool {
        !self.has_failed.load(Ordering::Acquire)
    }

    fn carry_out<T>(
        &self,
        request: impl FnOnce(&Self) -> Result<T, TableError>,
    ) -> Result<T, TableError> {
        let answer = catch_unwind(AssertUnwindSafe(|| request(self)));
        // redb's own errors come as one of these two; a panic may leave its locks poisoned.
        let is_fit = match &answer {
            Ok(Err(TableError::Unavailable(_) | TableError::Unknown(_))) | Err(_) => false,
            Ok(_) => true,
        };
        if !is_fit {
            self.has_failed.store(true, Ordering::Release);
        }
        answer.unwrap_or_else(|panic| resume_unwind(panic))
    }
}

impl Standing {
    /// Opens the lease table in a storage; `path` is what people call it.
    pub(super) fn new(path: PathBuf, kept: Kept) -> Result<Self, TableError> {
        let open = open_kept(&kept).map_err(|why| refused(&path, &why))?;
        Ok(Self { path, kept, open: RwLock::new(Some(Open::new(open))) })
    }

    /// Carries out a request, on a file that is opened anew where the one before it failed.
    pub(super) fn carry_out<T>(
        &self,
        request: impl FnOnce(&Open) -> Result<T, TableError>,
    ) -> Result<T, TableError> {
        {
            let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(open) = open.as_ref().filter(|open| open.is_fit()) {
                return open.carry_out(request);
            }
        }
        // Requests under way have ended once this is had: none of them touches the file again.
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        let fit = match open.take().filter(Open::is_fit) {
            Some(fit) => fit,
            None => self.open_anew()?,
        };
        open.insert(fit).carry_out(request)
    }

    fn open_anew(&self) -> Result<Open, TableError> {
        let open = open_kept(&self.kept).map_err(|why| match why {
            Refusal::Unreachable(what) => TableError::Unavailable(format!(
                "the lease table {}: it had an I/O error and cannot be opened again yet: {what}",
                self.path.display()
            )),
            why => refused(&self.path, &why),
        })?;
        Ok(Open::new(open))
    }
}
