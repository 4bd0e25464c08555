//! Runs of one seed, one after the other.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, PoisonError};

/// Seeds that are being run in this process.
static RUNNING: Mutex<BTreeSet<u64>> = Mutex::new(BTreeSet::new());
static OVER: Condvar = Condvar::new();

/// While this lives, nobody else in this process runs the seed: its workers would have the same
/// ids, by which hints find a worker within a process, and the two fleets would hear each other.
pub(super) struct Alone(u64);

impl Alone {
    /// Waits until nobody runs the seed.
    pub(super) fn with(seed: u64) -> Self {
        let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        let mut running = OVER
            .wait_while(running, |running| running.contains(&seed))
            .unwrap_or_else(PoisonError::into_inner);
        running.insert(seed);
        Self(seed)
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        RUNNING.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
        OVER.notify_all();
    }
}
