//! Did the machine itself stand still? Sleeps a little, again and again, and notes how much later
//! than due it woke.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kcl_core::{Clock, SystemClock};
use tokio::task::JoinHandle;

use crate::limits::STALL_LOOK;

/// Looks until dropped.
pub(crate) struct Stalls {
    /// Nanoseconds.
    longest: Arc<AtomicU64>,
    looking: JoinHandle<()>,
}

impl Stalls {
    pub fn start() -> Self {
        let longest = Arc::new(AtomicU64::new(0));
        let noted = Arc::clone(&longest);
        let looking = tokio::spawn(async move {
            loop {
                let due = SystemClock.monotonic() + STALL_LOOK;
                SystemClock.sleep_until(due).await;
                let late = SystemClock.monotonic().since(due).as_nanos();
                noted.fetch_max(u64::try_from(late).unwrap_or(u64::MAX), Ordering::Relaxed);
            }
        });
        Self { longest, looking }
    }

    /// The longest since this was last asked.
    pub fn take(&self) -> Duration {
        Duration::from_nanos(self.longest.swap(0, Ordering::Relaxed))
    }
}

impl Drop for Stalls {
    fn drop(&mut self) {
        self.looking.abort();
    }
}
