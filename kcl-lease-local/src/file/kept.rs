//! The open file, which stays open and locked whatever becomes of the databases in it.

use std::io;
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError};

use redb::{BackendError, StorageBackend};

type Range = (Bound<u64>, Bound<u64>);

/// Storage that several databases use, one after the other. Each closes it; here that keeps the
/// file and its lock, so that no other process gets the file while it is opened anew. They go
/// with the last clone.
#[derive(Clone, Debug)]
pub(super) struct Kept(Arc<Handle>);

#[derive(Debug)]
struct Handle {
    storage: Box<dyn StorageBackend>,
    /// The next database asks for what the one before it was given.
    locked: Mutex<Vec<Range>>,
}

impl Kept {
    pub(super) fn new(storage: impl StorageBackend) -> Self {
        Self(Arc::new(Handle { storage: Box::new(storage), locked: Mutex::default() }))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // Without it the lock lasts while a process that is just being started has the file too.
        self.storage.close().ok();
    }
}

impl StorageBackend for Kept {
    fn len(&self) -> io::Result<u64> {
        self.0.storage.len()
    }

    fn read(&self, start: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.storage.read(start, out)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.storage.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.storage.sync_data()
    }

    fn write(&self, start: u64, data: &[u8]) -> io::Result<()> {
        self.0.storage.write(start, data)
    }

    fn try_lock_range(&self, from: Bound<u64>, to: Bound<u64>) -> Result<bool, BackendError> {
        let mut locked = self.0.locked.lock().unwrap_or_else(PoisonError::into_inner);
        if locked.contains(&(from, to)) {
            return Ok(true);
        }
        let is_ours = self.0.storage.try_lock_range(from, to)?;
        if is_ours {
            locked.push((from, to));
        }
        Ok(is_ours)
    }

    fn unlock_range(&self, from: Bound<u64>, to: Bound<u64>) -> Result<(), BackendError> {
        let mut locked = self.0.locked.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.storage.unlock_range(from, to)?;
        locked.retain(|range| *range != (from, to));
        Ok(())
    }
}
