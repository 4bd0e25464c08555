//! What a source has done.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What a source and all its readers have done since it was built. Only rises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceCounters {
    /// Answers with or without records: pages by polling, events by fan-out.
    pub reads: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of their data and keys.
    pub bytes: u64,
    /// Requests of any kind refused for the rate, and subscriptions refused or ended since another
    /// one stands.
    pub throttled: u64,
    /// Of these, reads of records (polling).
    pub throttled_reads: u64,
    /// Places lost to age (polling).
    pub expired: u64,
    /// Places taken up again: iterators after a lost one, subscriptions after the first.
    pub reopened: u64,
    /// Subscriptions given up since their reader was not asked for long (fan-out).
    pub stalled: u64,
}

#[derive(Debug, Default)]
struct Cells {
    reads: AtomicU64,
    records: AtomicU64,
    bytes: AtomicU64,
    throttled: AtomicU64,
    throttled_reads: AtomicU64,
    expired: AtomicU64,
    reopened: AtomicU64,
    stalled: AtomicU64,
}

/// Where the readers of a source count.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counting(Arc<Cells>);

impl Counting {
    pub fn read(&self, records: usize, bytes: usize) {
        self.0.reads.fetch_add(1, Relaxed);
        self.0.records.fetch_add(records as u64, Relaxed);
        self.0.bytes.fetch_add(bytes as u64, Relaxed);
    }
    pub fn throttled(&self) {
        self.0.throttled.fetch_add(1, Relaxed);
    }
    pub fn throttled_read(&self) {
        self.throttled();
        self.0.throttled_reads.fetch_add(1, Relaxed);
    }
    pub fn expired(&self) {
        self.0.expired.fetch_add(1, Relaxed);
    }
    pub fn reopened(&self) {
        self.0.reopened.fetch_add(1, Relaxed);
    }
    pub fn stalled(&self) {
        self.0.stalled.fetch_add(1, Relaxed);
    }
    pub fn so_far(&self) -> SourceCounters {
        let cells = &*self.0;
        SourceCounters {
            reads: cells.reads.load(Relaxed),
            records: cells.records.load(Relaxed),
            bytes: cells.bytes.load(Relaxed),
            throttled: cells.throttled.load(Relaxed),
            throttled_reads: cells.throttled_reads.load(Relaxed),
            expired: cells.expired.load(Relaxed),
            reopened: cells.reopened.load(Relaxed),
            stalled: cells.stalled.load(Relaxed),
        }
    }
}
