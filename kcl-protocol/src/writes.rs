//! Conditional writes: what a lease table must be able to do, as values.
//!
//! A write names one row, the conditions under which it applies, and the changes. A store either
//! renders both in its own language or calls [`ConditionalWrite::apply`] under a lock; the two must
//! agree, which the conformance suite of `kcl-testkit` checks.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::ids::{EntryId, Fence, LeaseKey, Ordinal, ShardId, StreamName, WorkerId};
use crate::rows::{
    HeldDigest, InboxEntry, Lease, Parked, Prepared, Reads, Row, RowKey, StreamRow, TableRow,
    WorkerRow, WorkerState,
};
use crate::sequence::Checkpoint;

/// A write of one row, applied only if all its conditions hold.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ConditionalWrite {
    /// Of the table's own row.
    Table(TableWrite),
    /// Of a stream's row.
    Stream(StreamWrite),
    /// Of a worker's row.
    Worker(WorkerWrite),
    /// Of a lease's row.
    Lease(LeaseWrite),
}

/// What a conditional write came to. Losing is a value, not an error.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CasOutcome {
    /// The conditions held; the row as it is now (`None` after a deletion). For several writes,
    /// the row of the first.
    Won(Option<Row>),
    /// A condition failed and nothing changed; the row as it stands (`None` if there is none).
    /// For several writes, the row of the first that failed.
    Lost(Option<Row>),
}

impl CasOutcome {
    /// True if the write applied.
    pub fn is_won(&self) -> bool {
        matches!(self, Self::Won(_))
    }
    /// The row it left or found.
    pub fn row(&self) -> Option<&Row> {
        match self {
            Self::Won(row) | Self::Lost(row) => row.as_ref(),
        }
    }
}

/// A write of the table row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TableWrite {
    /// Puts the row if there is none.
    Create(TableRow),
    /// Raises the recorded maxima to at least these; needs the row.
    RaiseMaxima {
        /// A lease duration in use.
        duration: Duration,
        /// A grace in use.
        grace: Duration,
    },
    /// Starts the round after `seen`, if the counter still stands there.
    NextRound {
        /// The round that stood still.
        seen: u64,
    },
    /// Starts a new generation for a reset, if it is still at `seen`: until
    /// [`TableWrite::EndReset`] nobody registers.
    BeginReset {
        /// The generation to leave.
        seen: u64,
    },
    /// The reset of this generation is done.
    EndReset {
        /// The generation it began.
        generation: u64,
    },
    /// Accepts the table under a (new) id and starts a new generation, if it is still at `seen`.
    NextGeneration {
        /// The generation to leave.
        seen: u64,
        /// The table's id as the store reports it now.
        table_id: String,
    },
}

/// A write of a stream row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StreamWrite {
    /// Puts the row if there is none: the first to decide the start position decides for all.
    Create(StreamRow),
    /// Notes that the leases of the first sync exist; needs the row.
    FirstSyncDone(StreamName),
    /// Replaces the start position and reopens the first sync (an operator's reset); needs the row.
    Restart(StreamRow),
}

/// A write of a worker row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum WorkerWrite {
    /// Puts the row if there is none.
    Create(WorkerRow),
    /// Changes the row if it exists and every condition holds.
    Update {
        /// Which worker.
        id: WorkerId,
        /// All must hold.
        when: Vec<WorkerCondition>,
        /// Applied in order.
        change: Vec<WorkerChange>,
    },
    /// Removes the row if it exists and every condition holds.
    Delete {
        /// Which worker.
        id: WorkerId,
        /// All must hold.
        when: Vec<WorkerCondition>,
    },
}

/// A condition on a worker row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum WorkerCondition {
    /// The state is this one.
    StateIs(WorkerState),
    /// Not yet fenced or gone.
    StateIsNotDead,
    /// The heartbeat count is this one.
    HeartbeatIs(u64),
    /// The inbox holds fewer entries than this.
    InboxBelow(usize),
    /// The inbox holds this entry.
    InboxHas(EntryId),
}

/// A change of a worker row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum WorkerChange {
    /// One more heartbeat.
    Beat,
    /// The new state.
    State(WorkerState),
    /// Leaving or not.
    Draining(bool),
    /// How much it carries.
    Load(u32),
    /// Which streams it reads.
    Reads(Reads),
    /// What it holds.
    Digest(HeldDigest),
    /// Puts an entry, over one of the same id.
    InboxPut(EntryId, InboxEntry),
    /// Removes an entry; none of that id is no error.
    InboxRemove(EntryId),
    /// Whether it should compare what it holds with the rows.
    List(bool),
    /// Where hints reach it.
    Address(Option<String>),
}

/// A write of a lease row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LeaseWrite {
    /// Puts the row if there is none.
    Create(Lease),
    /// Puts the row, or leaves the one that exists as it is: every attribute if absent. Always
    /// wins; the row in the answer is the one that stands.
    Ensure(Lease),
    /// Changes the row if it exists and every condition holds.
    Update {
        /// Which lease.
        key: LeaseKey,
        /// All must hold.
        when: Vec<LeaseCondition>,
        /// Applied in order.
        change: Vec<LeaseChange>,
    },
    /// Removes the row if it exists and every condition holds.
    Delete {
        /// Which lease.
        key: LeaseKey,
        /// All must hold.
        when: Vec<LeaseCondition>,
    },
}

/// A condition on a lease row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LeaseCondition {
    /// This worker owns it.
    OwnerIs(WorkerId),
    /// Nobody owns it.
    Unowned,
    /// The fence is this one.
    FenceIs(Fence),
    /// The ordinal is at most this one.
    OrdinalAtMost(Ordinal),
    /// The ordinal is below this one.
    OrdinalBelow(Ordinal),
    /// The shard is finished.
    Ended,
    /// The shard is not finished.
    NotEnded,
}

/// A change of a lease row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LeaseChange {
    /// The new owner, or none; counts one more switch if it is another one.
    Owner(Option<WorkerId>),
    /// The new fence; also sets the ordinal to 0, as every ownership write does.
    Fence(Fence),
    /// The ordinal of the checkpoint.
    Ordinal(Ordinal),
    /// The new checkpoint; also resets the count of owner switches.
    Checkpoint(Checkpoint),
    /// The prepared checkpoint, or none.
    Prepared(Option<Prepared>),
    /// The shards that follow.
    Children(BTreeSet<ShardId>),
    /// Parked, or no longer.
    Parked(Option<Parked>),
    /// Wall clock of the first listing that lacked the shard, or none.
    UnlistedSince(Option<u64>),
}

impl ConditionalWrite {
    /// The row this write is about.
    pub fn key(&self) -> RowKey {
        match self {
            Self::Table(_) => RowKey::Table,
            Self::Stream(StreamWrite::Create(row) | StreamWrite::Restart(row)) => {
                RowKey::Stream(row.name.clone())
            }
            Self::Stream(StreamWrite::FirstSyncDone(name)) => RowKey::Stream(name.clone()),
            Self::Worker(WorkerWrite::Create(row)) => RowKey::Worker(row.id.clone()),
            Self::Worker(WorkerWrite::Update { id, .. } | WorkerWrite::Delete { id, .. }) => {
                RowKey::Worker(id.clone())
            }
            Self::Lease(LeaseWrite::Create(row) | LeaseWrite::Ensure(row)) => {
                RowKey::Lease(row.key.clone())
            }
            Self::Lease(LeaseWrite::Update { key, .. } | LeaseWrite::Delete { key, .. }) => {
                RowKey::Lease(key.clone())
            }
        }
    }

    /// What the write makes of the row that stands under its key: `Ok` with the row to store
    /// (`None`: remove it), or `Err` if a condition fails.
    pub fn apply(&self, row: Option<&Row>) -> Result<Option<Row>, ConditionFailed> {
        match (self, row) {
            (Self::Table(write), None) => write.apply(None),
            (Self::Table(write), Some(Row::Table(row))) => write.apply(Some(row)),
            (Self::Stream(write), None) => write.apply(None),
            (Self::Stream(write), Some(Row::Stream(row))) => write.apply(Some(row)),
            (Self::Worker(write), None) => write.apply(None),
            (Self::Worker(write), Some(Row::Worker(row))) => write.apply(Some(row)),
            (Self::Lease(write), None) => write.apply(None),
            (Self::Lease(write), Some(Row::Lease(row))) => write.apply(Some(row)),
            _ => Err(ConditionFailed),
        }
    }
}

/// A condition of a write does not hold; nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConditionFailed;

type Applied = Result<Option<Row>, ConditionFailed>;

fn create(existing: bool, row: Row) -> Applied {
    if existing { Err(ConditionFailed) } else { Ok(Some(row)) }
}

impl TableWrite {
    fn apply(&self, row: Option<&TableRow>) -> Applied {
        if let Self::Create(new) = self {
            return create(row.is_some(), Row::Table(new.clone()));
        }
        let mut row = row.ok_or(ConditionFailed)?.clone();
        match self {
            Self::Create(_) => {}
            Self::RaiseMaxima { duration, grace } => {
                row.max_duration = row.max_duration.max(*duration);
                row.max_grace = row.max_grace.max(*grace);
            }
            Self::NextRound { seen } if row.round == *seen => row.round += 1,
            Self::NextGeneration { seen, table_id } if row.generation == *seen => {
                row.generation += 1;
                row.table_id.clone_from(table_id);
            }
            Self::BeginReset { seen } if row.generation == *seen => {
                row.generation += 1;
                row.resetting = true;
            }
            Self::EndReset { generation } if row.generation == *generation => {
                row.resetting = false;
            }
            Self::NextRound { .. }
            | Self::NextGeneration { .. }
            | Self::BeginReset { .. }
            | Self::EndReset { .. } => return Err(ConditionFailed),
        }
        Ok(Some(Row::Table(row)))
    }
}

impl StreamWrite {
    fn apply(&self, row: Option<&StreamRow>) -> Applied {
        match self {
            Self::Create(new) => create(row.is_some(), Row::Stream(new.clone())),
            Self::FirstSyncDone(_) => {
                let mut row = row.ok_or(ConditionFailed)?.clone();
                row.first_sync_done = true;
                Ok(Some(Row::Stream(row)))
            }
            Self::Restart(new) => {
                row.ok_or(ConditionFailed)?;
                Ok(Some(Row::Stream(new.clone())))
            }
        }
    }
}

impl WorkerCondition {
    fn holds(&self, row: &WorkerRow) -> bool {
        match self {
            Self::StateIs(state) => row.state == *state,
            Self::StateIsNotDead => !row.state.is_dead(),
            Self::HeartbeatIs(count) => row.heartbeat == *count,
            Self::InboxBelow(bound) => row.inbox.len() < *bound,
            Self::InboxHas(id) => row.inbox.contains_key(id),
        }
    }
}

impl WorkerWrite {
    fn apply(&self, row: Option<&WorkerRow>) -> Applied {
        match self {
            Self::Create(new) => create(row.is_some(), Row::Worker(new.clone())),
            Self::Update { when, change, .. } => {
                let mut row = checked(row, |row| when.iter().all(|c| c.holds(row)))?.clone();
                change.iter().for_each(|change| change.apply(&mut row));
                Ok(Some(Row::Worker(row)))
            }
            Self::Delete { when, .. } => {
                checked(row, |row| when.iter().all(|c| c.holds(row))).map(|_| None)
            }
        }
    }
}

impl WorkerChange {
    fn apply(&self, row: &mut WorkerRow) {
        match self {
            Self::Beat => row.heartbeat += 1,
            Self::State(state) => row.state = *state,
            Self::Draining(draining) => row.draining = *draining,
            Self::Load(load) => row.load = *load,
            Self::Reads(reads) => row.reads.clone_from(reads),
            Self::Digest(digest) => row.digest = *digest,
            Self::InboxPut(id, entry) => drop(row.inbox.insert(*id, entry.clone())),
            Self::InboxRemove(id) => drop(row.inbox.remove(id)),
            Self::List(list) => row.list = *list,
            Self::Address(address) => row.address.clone_from(address),
        }
    }
}

impl LeaseCondition {
    fn holds(&self, row: &Lease) -> bool {
        match self {
            Self::OwnerIs(owner) => row.owner.as_ref() == Some(owner),
            Self::Unowned => row.owner.is_none(),
            Self::FenceIs(fence) => row.fence == *fence,
            Self::OrdinalAtMost(ordinal) => row.ordinal <= *ordinal,
            Self::OrdinalBelow(ordinal) => row.ordinal < *ordinal,
            Self::Ended => row.is_ended(),
            Self::NotEnded => !row.is_ended(),
        }
    }
}

impl LeaseWrite {
    fn apply(&self, row: Option<&Lease>) -> Applied {
        match self {
            Self::Create(new) => create(row.is_some(), Row::Lease(new.clone())),
            Self::Ensure(new) => Ok(Some(Row::Lease(row.unwrap_or(new).clone()))),
            Self::Update { when, change, .. } => {
                let mut row = checked(row, |row| when.iter().all(|c| c.holds(row)))?.clone();
                change.iter().for_each(|change| change.apply(&mut row));
                Ok(Some(Row::Lease(row)))
            }
            Self::Delete { when, .. } => {
                checked(row, |row| when.iter().all(|c| c.holds(row))).map(|_| None)
            }
        }
    }
}

impl LeaseChange {
    fn apply(&self, row: &mut Lease) {
        match self {
            Self::Owner(owner) => {
                row.owner_switches += u64::from(row.owner != *owner);
                row.owner.clone_from(owner);
            }
            Self::Fence(fence) => {
                row.fence = *fence;
                row.ordinal = Ordinal(0);
            }
            Self::Ordinal(ordinal) => row.ordinal = *ordinal,
            Self::Checkpoint(checkpoint) => {
                row.checkpoint = *checkpoint;
                row.owner_switches = 0;
            }
            Self::Prepared(prepared) => row.prepared.clone_from(prepared),
            Self::Children(children) => row.children.clone_from(children),
            Self::Parked(parked) => row.parked.clone_from(parked),
            Self::UnlistedSince(since) => row.unlisted_since_millis = *since,
        }
    }
}

fn checked<T>(row: Option<&T>, holds: impl Fn(&T) -> bool) -> Result<&T, ConditionFailed> {
    row.filter(|row| holds(row)).ok_or(ConditionFailed)
}

/// Applies a group of writes to the rows `read` finds: all or none, in order. `Err` carries the
/// index of the first write whose condition fails.
pub fn apply_all(
    writes: &[ConditionalWrite],
    read: impl Fn(&RowKey) -> Option<Row>,
) -> Result<Vec<(RowKey, Option<Row>)>, usize> {
    writes
        .iter()
        .enumerate()
        .map(|(index, write)| {
            let key = write.key();
            let row = write.apply(read(&key).as_ref()).map_err(|ConditionFailed| index)?;
            Ok((key, row))
        })
        .collect()
}
