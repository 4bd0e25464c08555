//! How many requests were sent, by kind.

use std::sync::atomic::{AtomicU64, Ordering};

/// Kinds of request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Read,
    ScanPage,
    Put,
    Update,
    Delete,
    Transaction,
    Control,
}

#[derive(Debug, Default)]
pub(crate) struct Counters([AtomicU64; 7]);

impl Counters {
    pub fn add(&self, kind: Kind) {
        self.0[kind as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub fn snapshot(&self) -> RequestCounts {
        let count = |kind: Kind| self.0[kind as usize].load(Ordering::Relaxed);
        RequestCounts {
            reads: count(Kind::Read),
            scan_pages: count(Kind::ScanPage),
            puts: count(Kind::Put),
            updates: count(Kind::Update),
            deletes: count(Kind::Delete),
            transactions: count(Kind::Transaction),
            control: count(Kind::Control),
        }
    }
}

/// Requests sent since a table value was made, whatever was answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestCounts {
    /// Strongly consistent reads of one row.
    pub reads: u64,
    /// Pages of scans.
    pub scan_pages: u64,
    /// Rows put, or not put because one stood there.
    pub puts: u64,
    /// Conditional updates.
    pub updates: u64,
    /// Conditional deletions.
    pub deletes: u64,
    /// Transactions, each of one or more writes.
    pub transactions: u64,
    /// Requests about a table itself: describe, create, tag.
    pub control: u64,
}

impl RequestCounts {
    /// Requests that may change rows.
    pub fn writes(&self) -> u64 {
        self.puts + self.updates + self.deletes + self.transactions
    }
    /// All requests.
    pub fn total(&self) -> u64 {
        self.reads + self.scan_pages + self.writes() + self.control
    }
}
