//! Where an engine may keep its streams besides memory. This crate only says what that means; the
//! crate `kcl-stream-disk` does it with files.
//!
//! An engine without a store ([`crate::Engine::new`]) does nothing of this.
//!
//! **One record.** [`crate::Stream::put`] gives it its sequence number and its place in the shard's
//! log under the shard's lock, hidden from readers, and hands an [`Entry`] to the stream's
//! [`Journal`] under the same lock: the journal's order is the shard's. The journal writes and
//! syncs, then calls [`Entry::keep`] on a thread of its own: the record can be read, and the put
//! returns. So no reader has seen, and no client was told of, what a crash could take back.
//!
//! **One failure.** A sync fails: the journal drops the entry. Its shard is stopped, for good: puts
//! are refused, what was kept can be read on. Whether the bytes reached the disk is not known, so
//! the same numbers are never given to other records; whoever opens the store next finds them or
//! not. Nobody was told that they are there.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use kcl_core::protocol::{HashKeyRange, StreamName};

use crate::commit::Entry;
use crate::options::StreamOptions;
use crate::record::NewRecord;
use crate::sequence::ShardNumber;

/// Streams outside memory. Every call returns once the change would survive the end of the
/// process and of the machine; none of them is on the path of a record.
pub trait Store: Send + Sync {
    /// Everything that is kept. Called once, when the engine is opened.
    ///
    /// # Errors
    /// What is damaged, by name.
    fn load(&self) -> Result<Saved, StoreError>;

    /// Begins a stream. Streams of other names may be begun meanwhile.
    ///
    /// # Errors
    /// The store cannot be written; nothing was begun.
    fn create(&self, row: &StreamRow) -> Result<Arc<dyn Journal>, StoreError>;

    /// Replaces what is known of a stream, as a whole or not at all.
    ///
    /// # Errors
    /// The store has no such stream of this creation: it was deleted. The store cannot be written;
    /// which of the two rows is kept is not known.
    fn save(&self, row: &StreamRow) -> Result<(), StoreError>;

    /// Forgets the stream of this name and creation with its records. One that is not there is
    /// forgotten already.
    ///
    /// # Errors
    /// The store cannot be written; whether the stream is there when the store is opened again is
    /// not known.
    fn delete(&self, name: &StreamName, created_at_millis: u64) -> Result<(), StoreError>;
}

/// The records of one stream outside memory.
pub trait Journal: Send + Sync + fmt::Debug {
    /// Takes an entry in without waiting for anything; it is called under a shard's lock. Settles
    /// the entry ([`Entry::keep`], or by dropping it) on another thread, in the order of the calls.
    ///
    /// # Errors
    /// The entry itself: the journal takes no more, ever.
    fn append(&self, entry: Entry) -> Result<(), Entry>;

    /// True if so much waits to be written that puts should rather be tried again later.
    fn is_behind(&self) -> bool;

    /// Records that arrived at or before this (Unix milliseconds) are no longer needed.
    fn expire(&self, horizon_millis: u64);
}

/// Why a store cannot do what it was asked: the thing, and the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(pub String);

/// What a store has kept.
#[derive(Debug, Default)]
pub struct Saved {
    /// Streams, in any order.
    pub streams: Vec<SavedStream>,
    /// The highest creation time any stream ever had, also a deleted one (Unix milliseconds).
    pub last_created_at_millis: u64,
}

/// A stream that was kept.
#[derive(Debug)]
pub struct SavedStream {
    /// What is known of it.
    pub row: StreamRow,
    /// Its records, by shard. A shard may be missing that never took one.
    pub logs: BTreeMap<ShardNumber, SavedLog>,
    /// Takes its further records.
    pub journal: Arc<dyn Journal>,
}

/// The records of a shard that were kept.
#[derive(Debug, Default)]
pub struct SavedLog {
    /// Counter of the next record. The last record of `batches` has the one before.
    pub next: u64,
    /// When the last record arrived, kept or not (Unix milliseconds).
    pub last_arrival_millis: u64,
    /// Records with consecutive counters, oldest first.
    pub batches: Vec<SavedBatch>,
}

/// Records that arrived together.
#[derive(Debug)]
pub struct SavedBatch {
    /// When (Unix milliseconds).
    pub arrival_millis: u64,
    /// At least one.
    pub records: Vec<NewRecord>,
}

/// What is known of a stream besides its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamRow {
    /// Its name.
    pub name: StreamName,
    /// When it was created (Unix milliseconds).
    pub created_at_millis: u64,
    /// Its settings.
    pub options: StreamOptions,
    /// Records that arrived at or before this are gone, whatever the retention says now (Unix
    /// milliseconds).
    pub floor_millis: u64,
    /// Its shards in the order of their numbers; the open ones tile the hash space.
    pub shards: Vec<ShardRow>,
}

/// What is known of a shard besides its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardRow {
    /// Its number.
    pub number: ShardNumber,
    /// The hash keys it takes or took.
    pub range: HashKeyRange,
    /// The shards it came from.
    pub parents: Vec<ShardNumber>,
    /// When it was opened (Unix milliseconds).
    pub created_at_millis: u64,
    /// Its end; `None` while it is open.
    pub closed: Option<ClosedRow>,
}

/// The end of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClosedRow {
    /// When it was closed (Unix milliseconds).
    pub at_millis: u64,
    /// The counter after that of its last record.
    pub next: u64,
}
