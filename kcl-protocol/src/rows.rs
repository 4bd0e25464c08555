//! The rows of a lease table. What each field means is in `docs/protocol.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use crate::hash_range::HashKeyRange;
use crate::ids::{EntryId, Fence, LeaseKey, Ordinal, ShardId, StreamName, StreamTag, WorkerId};
use crate::rules::{Mutant, Rules};
use crate::sequence::{Checkpoint, Position};
use crate::time::LeaseTiming;

/// Who may process a shard, and how far it has come.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    /// The row's key.
    pub key: LeaseKey,
    /// The worker that may process the shard; `None` while nobody does.
    pub owner: Option<WorkerId>,
    /// Rises by one with every ownership write.
    pub fence: Fence,
    /// The owner's count of checkpoint values; every ownership write sets it to 0.
    pub ordinal: Ordinal,
    /// How far the shard is done.
    pub checkpoint: Checkpoint,
    /// A checkpoint announced and not reached yet, with the application's state for it.
    pub prepared: Option<Prepared>,
    /// The shards this one came from: none, one (split) or two (merge).
    pub parents: BTreeSet<ShardId>,
    /// The shards that follow; known once the shard has ended.
    pub children: BTreeSet<ShardId>,
    /// The hash keys whose records are in this shard.
    pub range: HashKeyRange,
    /// Why the owner holds it without delivering, if so.
    pub parked: Option<Parked>,
    /// Ownership changes since the last checkpoint; many mean that the shard makes no progress.
    pub owner_switches: u64,
    /// Wall clock (Unix milliseconds) at which a listing first lacked the shard; for garbage
    /// collection alone.
    pub unlisted_since_millis: Option<u64>,
}

impl Lease {
    /// A lease that nobody has owned yet.
    pub fn unowned(key: LeaseKey, checkpoint: Checkpoint, range: HashKeyRange) -> Self {
        Self {
            key,
            owner: None,
            fence: Fence(0),
            ordinal: Ordinal(0),
            checkpoint,
            prepared: None,
            parents: BTreeSet::new(),
            children: BTreeSet::new(),
            range,
            parked: None,
            owner_switches: 0,
            unlisted_since_millis: None,
        }
    }
    /// True once the shard is finished; the row is then final and never owned again.
    pub fn is_ended(&self) -> bool {
        self.checkpoint.is_shard_end()
    }
}

/// The first phase of a checkpoint in two phases: where it will be, and what the application wants
/// to know there if another owner has to finish it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Prepared {
    /// Where.
    pub checkpoint: Checkpoint,
    /// The application's own; at most [`crate::limits::PREPARED_STATE_BYTES`].
    pub state: Bytes,
}

impl Prepared {
    /// What is left of a prepared checkpoint once the work is done up to `done`: reaching or
    /// passing it ends it.
    pub fn beyond(prepared: Option<Self>, done: Checkpoint, rules: Rules) -> Option<Self> {
        let erased = rules.breaks(Mutant::CheckpointErasesPrepared);
        prepared.filter(|prepared| prepared.checkpoint > done && !erased)
    }
}

/// A shard held but not delivered, because the error policy said so.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Parked {
    /// What went wrong, for people.
    pub reason: String,
    /// The record it went wrong at, if it was one.
    pub at: Option<Position>,
}

/// What a worker says of itself, and what others say of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WorkerState {
    /// Registered and heartbeating, as far as the row knows.
    Live,
    /// Made by another worker because a lease named this id and no row existed; cannot heartbeat.
    Missing,
    /// Declared dead by another worker. Final.
    Fenced,
    /// Left by itself, after all its leases were handed over or released. Final.
    Gone,
}

impl WorkerState {
    /// True of a state that never changes again: such a worker holds nothing.
    pub fn is_dead(self) -> bool {
        matches!(self, Self::Fenced | Self::Gone)
    }
}

/// Which streams a worker reads. Workers of one application need not read the same ones at any
/// moment: streams are added and removed while they run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Reads {
    /// The application's one stream, which its lease keys do not name.
    #[default]
    TheOne,
    /// These.
    Streams(BTreeSet<StreamTag>),
}

impl Reads {
    /// Does it read the stream of this lease?
    pub fn reads(&self, lease: &LeaseKey) -> bool {
        match (self, lease.stream_prefix()) {
            (Self::TheOne, _) => true,
            (Self::Streams(tags), Some(prefix)) => tags.contains(&StreamTag::of(prefix)),
            (Self::Streams(_), None) => false,
        }
    }
}

/// A worker's row: the one thing it writes to prove that it lives.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WorkerRow {
    /// The row's key.
    pub id: WorkerId,
    /// Rises by one with every heartbeat.
    pub heartbeat: u64,
    /// See [`WorkerState`].
    pub state: WorkerState,
    /// Leaving: gets no more leases.
    pub draining: bool,
    /// `D` of this worker.
    pub duration: Duration,
    /// `g` of this worker.
    pub grace: Duration,
    /// How many leases this worker holds that count as load.
    pub load: u32,
    /// The most leases this worker wants to hold.
    pub max_leases: u32,
    /// The streams it reads: it gets leases of no others.
    pub reads: Reads,
    /// What this worker holds, folded to a few bytes.
    pub digest: HeldDigest,
    /// Messages from other workers; removed by this worker alone.
    pub inbox: BTreeMap<EntryId, InboxEntry>,
    /// Set by others: compare what you hold with the lease rows.
    pub list: bool,
    /// Where hints reach this worker (`host:port`), if it listens.
    pub address: Option<String>,
}

impl WorkerRow {
    /// The row of a worker that registers.
    pub fn live(id: WorkerId, timing: LeaseTiming) -> Self {
        Self {
            id,
            heartbeat: 1,
            state: WorkerState::Live,
            draining: false,
            duration: timing.duration,
            grace: timing.grace,
            load: 0,
            max_leases: u32::MAX,
            reads: Reads::default(),
            digest: HeldDigest::default(),
            inbox: BTreeMap::new(),
            list: false,
            address: None,
        }
    }
    /// The durations by which this worker is to be judged: its own, not the judge's.
    pub fn timing(&self) -> LeaseTiming {
        LeaseTiming::new(self.duration, self.grace)
    }
}

/// A fingerprint of a set of held leases: their number and the exclusive-or of a hash of each
/// (lease, fence). Equal sets have equal digests whatever the order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeldDigest {
    /// How many leases.
    pub count: u32,
    /// Exclusive-or of [`crate::hash::of_lease`] over them.
    pub hashes: u64,
}

impl HeldDigest {
    /// Adds a lease that is not in the set yet.
    pub fn add(&mut self, key: &LeaseKey, fence: Fence) {
        self.count += 1;
        self.hashes ^= crate::hash::of_lease(key, fence);
    }
}

/// A message in a worker's inbox.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum InboxEntry {
    /// `to` asks for these leases, each at the fence it saw, and holds `have` itself.
    Ask {
        /// At most 16, all owned by the receiver when they were asked for.
        leases: Vec<(LeaseKey, Fence)>,
        /// Who asks.
        to: WorkerId,
        /// How many leases the asker holds.
        have: u32,
    },
    /// The lease will be taken by `to` whatever the receiver does: stop it before the next
    /// heartbeat extends validity.
    Revoke {
        /// Which lease.
        lease: LeaseKey,
        /// Under which fence.
        fence: Fence,
        /// Who takes it.
        to: WorkerId,
    },
    /// These leases were handed to the receiver, at these fences.
    Grant {
        /// Each with the fence it has now.
        leases: Vec<(LeaseKey, Fence)>,
    },
}

/// The one row that describes the table itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TableRow {
    /// The table's id as the store reports it; another one later means a copy or a restore.
    pub table_id: String,
    /// Raised when the rows may be older than the world: fences restart above all old ones.
    pub generation: u64,
    /// Version of the layout of the rows.
    pub schema: u32,
    /// Largest lease duration any worker of this table ever used.
    pub max_duration: Duration,
    /// Largest grace any worker of this table ever used.
    pub max_grace: Duration,
    /// A reset is under way, or was broken off: nobody may register.
    pub resetting: bool,
    /// Counts rounds of reconciliation.
    pub round: u64,
    /// Key with which workers sign the hints they send each other.
    pub hint_key: u128,
}

impl TableRow {
    /// The layout this code reads and writes.
    pub const SCHEMA: u32 = 1;
}

/// What the application decided about a stream, once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StreamRow {
    /// The row's key.
    pub name: StreamName,
    /// When the stream was created (Unix milliseconds): a re-created stream is another stream.
    pub created_at_millis: u64,
    /// Where leases of the first sync start. `Latest` is resolved before it is stored.
    pub start: StreamStart,
    /// Leases of the first sync exist; all later ones start at the trim horizon.
    pub first_sync_done: bool,
}

/// The resolved start position of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StreamStart {
    /// The oldest record retained.
    TrimHorizon,
    /// The first record that arrived at or after this time (Unix milliseconds).
    AtTimestamp(u64),
    /// After the given position of each shard; shards not named start at the trim horizon.
    After(BTreeMap<ShardId, Position>),
}

/// Any row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Row {
    /// See [`TableRow`].
    Table(TableRow),
    /// See [`StreamRow`].
    Stream(StreamRow),
    /// See [`WorkerRow`].
    Worker(WorkerRow),
    /// See [`Lease`].
    Lease(Lease),
}

/// The key of any row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RowKey {
    /// The one table row.
    Table,
    /// A stream's row.
    Stream(StreamName),
    /// A worker's row.
    Worker(WorkerId),
    /// A lease's row.
    Lease(LeaseKey),
}

impl fmt::Display for RowKey {
    /// As the rows are keyed on DynamoDB, so that whoever reads of one finds it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table => f.write_str("TABLE"),
            Self::Stream(name) => write!(f, "STREAM#{name}"),
            Self::Worker(id) => write!(f, "WORKER#{id}"),
            Self::Lease(key) => write!(f, "{key}"),
        }
    }
}

impl Row {
    /// The key this row is stored under.
    pub fn key(&self) -> RowKey {
        match self {
            Self::Table(_) => RowKey::Table,
            Self::Stream(row) => RowKey::Stream(row.name.clone()),
            Self::Worker(row) => RowKey::Worker(row.id.clone()),
            Self::Lease(row) => RowKey::Lease(row.key.clone()),
        }
    }
    /// The lease, if it is one.
    pub fn into_lease(self) -> Option<Lease> {
        if let Self::Lease(lease) = self { Some(lease) } else { None }
    }
    /// The worker row, if it is one.
    pub fn into_worker(self) -> Option<WorkerRow> {
        if let Self::Worker(worker) = self { Some(worker) } else { None }
    }
}
