//! The ownership writes, and the rules of moving a lease on purpose.

use std::collections::BTreeSet;

use crate::holdings::Holdings;
use crate::ids::{EntryId, Fence, LeaseKey, ShardId, WorkerId};
use crate::limits::INBOX_ENTRIES;
use crate::rows::{InboxEntry, Lease, Prepared, WorkerRow, WorkerState};
use crate::rules::{Mutant, Rules};
use crate::sequence::Checkpoint;
use crate::writes::{
    ConditionalWrite, LeaseChange, LeaseCondition, LeaseWrite, WorkerChange, WorkerCondition,
    WorkerWrite,
};

/// What an ownership write depends on beside the lease. A generation alone stands for the rules as
/// they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// The table's generation.
    pub generation: u64,
    /// The rules it follows.
    pub rules: Rules,
}

impl From<u64> for Terms {
    fn from(generation: u64) -> Self {
        Self { generation, rules: Rules::ALL }
    }
}

/// Takes a lease, as `seen`, whose owner is proven dead or that nobody owns, for the worker `to`:
/// oneself, or whoever the plan of a reconcile round names. Never extends validity.
pub fn take(seen: &Lease, to: &WorkerId, terms: impl Into<Terms>) -> LeaseWrite {
    let Terms { generation, rules } = terms.into();
    let owner = match &seen.owner {
        Some(owner) => LeaseCondition::OwnerIs(owner.clone()),
        None => LeaseCondition::Unowned,
    };
    let mut when = vec![owner, LeaseCondition::NotEnded];
    if !rules.breaks(Mutant::TakeByOwnerAlone) {
        when.push(LeaseCondition::FenceIs(seen.fence));
    }
    LeaseWrite::Update {
        key: seen.key.clone(),
        when,
        change: vec![
            LeaseChange::Owner(Some(to.clone())),
            LeaseChange::Fence(seen.fence.next(generation)),
            LeaseChange::Parked(None),
        ],
    }
}

/// Raises the fence of a lease that names this worker at a spent one.
pub fn adopt(key: &LeaseKey, fence: Fence, me: &WorkerId, terms: impl Into<Terms>) -> LeaseWrite {
    let_go(key, fence, me, terms.into(), Some(me.clone()), None)
}

/// How far the work has come when a lease is let go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Final {
    /// Everything up to here is done.
    pub checkpoint: Checkpoint,
    /// A prepared checkpoint beyond it, for the next owner.
    pub prepared: Option<Prepared>,
}

impl From<Checkpoint> for Final {
    fn from(checkpoint: Checkpoint) -> Self {
        Self { checkpoint, prepared: None }
    }
}

/// Hands a lease that is no longer held to another worker, with the final checkpoint in it. Without
/// one, the row keeps its own and what is prepared.
pub fn hand_over(
    key: &LeaseKey,
    fence: Fence,
    me: &WorkerId,
    terms: impl Into<Terms>,
    to: &WorkerId,
    done: Option<Final>,
) -> LeaseWrite {
    let_go(key, fence, me, terms.into(), Some(to.clone()), done)
}

/// Releases a lease that is no longer held: nobody owns it afterwards.
pub fn release(
    key: &LeaseKey,
    fence: Fence,
    me: &WorkerId,
    terms: impl Into<Terms>,
    done: Option<Final>,
) -> LeaseWrite {
    let_go(key, fence, me, terms.into(), None, done)
}

fn let_go(
    key: &LeaseKey,
    fence: Fence,
    me: &WorkerId,
    terms: Terms,
    to: Option<WorkerId>,
    done: Option<Final>,
) -> LeaseWrite {
    let mut change = Vec::new();
    if let Some(Final { checkpoint, prepared }) = done {
        change.push(LeaseChange::Checkpoint(checkpoint));
        change.push(LeaseChange::Prepared(prepared));
    }
    change.push(LeaseChange::Owner(to));
    change.push(LeaseChange::Fence(fence.next(terms.generation)));
    LeaseWrite::Update {
        key: key.clone(),
        when: vec![LeaseCondition::OwnerIs(me.clone()), LeaseCondition::FenceIs(fence)],
        change,
    }
}

/// A shard that follows one that ended, as the stream names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Child {
    /// Its id.
    pub id: ShardId,
    /// All its parents.
    pub parents: BTreeSet<ShardId>,
    /// The hash keys whose records it takes.
    pub range: crate::hash_range::HashKeyRange,
}

/// Ends a shard and makes sure that its children have leases, in one transaction.
pub fn end(
    key: &LeaseKey,
    fence: Fence,
    me: &WorkerId,
    terms: impl Into<Terms>,
    children: &[Child],
) -> Vec<ConditionalWrite> {
    let Terms { generation, rules } = terms.into();
    let mut change = vec![
        LeaseChange::Checkpoint(Checkpoint::ShardEnd),
        LeaseChange::Prepared(None),
        // The consumer may have come to the end before it could write that it was resumed.
        LeaseChange::Parked(None),
        LeaseChange::Children(children.iter().map(|child| child.id.clone()).collect()),
        LeaseChange::Owner(None),
    ];
    if !rules.breaks(Mutant::EndKeepsFence) {
        change.push(LeaseChange::Fence(fence.next(generation)));
    }
    let ended = LeaseWrite::Update {
        key: key.clone(),
        when: vec![LeaseCondition::OwnerIs(me.clone()), LeaseCondition::FenceIs(fence)],
        change,
    };
    let started = children.iter().map(|child| {
        let mut lease =
            Lease::unowned(key.sibling(&child.id), Checkpoint::TrimHorizon, child.range);
        lease.parents.clone_from(&child.parents);
        LeaseWrite::Ensure(lease)
    });
    std::iter::once(ended).chain(started).map(ConditionalWrite::Lease).collect()
}

/// How the writes of an end go to the table: all in one transaction, so that no child is ever
/// without a row.
pub fn transactions(writes: Vec<ConditionalWrite>, rules: Rules) -> Vec<Vec<ConditionalWrite>> {
    if rules.breaks(Mutant::EndInTwoWrites) {
        return writes.into_iter().map(|write| vec![write]).collect();
    }
    vec![writes]
}

/// May anybody take this lease, as far as owners go? Nobody owns it, or its owner is *proven* dead.
/// `row_of` gives the row of a worker as a strong read showed it; absent is never dead.
pub fn is_free<'a>(
    lease: &Lease,
    row_of: impl Fn(&WorkerId) -> Option<&'a WorkerRow>,
    rules: Rules,
) -> bool {
    lease.owner.as_ref().is_none_or(|owner| match row_of(owner) {
        Some(row) => row.state.is_dead() || rules.breaks(Mutant::LiveLeaseTaken),
        None => rules.breaks(Mutant::AbsentIsDead),
    })
}

/// The row a new owner starts from: that of its own write's reply, or of a strong read. `earlier`
/// is what it knew before, and is never used.
pub fn started(row: Lease, earlier: Option<&Lease>, rules: Rules) -> Lease {
    match earlier {
        Some(earlier) if rules.breaks(Mutant::CachedCheckpoint) => {
            Lease { checkpoint: earlier.checkpoint, ..row }
        }
        _ => row,
    }
}

/// A hand-over that leaves the ordinal as it was.
#[cfg(feature = "mutants")]
pub fn keep_ordinal(mut write: LeaseWrite, ordinal: crate::ids::Ordinal) -> LeaseWrite {
    if let LeaseWrite::Update { change, .. } = &mut write {
        change.push(LeaseChange::Ordinal(ordinal));
    }
    write
}

/// What the row says after a write that ends, releases or hands over was sent at `fence` and its
/// outcome is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Settled {
    /// It applied, or the lease left this worker in another way.
    Gone,
    /// The row still names this worker: adopt it, which kills the write if it still arrives.
    StillMine,
}

/// Judges a strong read after a write whose reply was lost.
pub fn settled(row: Option<&Lease>, me: &WorkerId) -> Settled {
    match row {
        Some(row) if row.owner.as_ref() == Some(me) && !row.is_ended() => Settled::StillMine,
        _ => Settled::Gone,
    }
}

/// Puts an entry into a live worker's inbox, unless it is full.
pub fn send(to: &WorkerId, id: EntryId, entry: InboxEntry) -> WorkerWrite {
    WorkerWrite::Update {
        id: to.clone(),
        when: vec![
            WorkerCondition::StateIs(WorkerState::Live),
            WorkerCondition::InboxBelow(INBOX_ENTRIES),
        ],
        change: vec![WorkerChange::InboxPut(id, entry)],
    }
}

/// Tells a live worker to compare what it holds with the rows.
pub fn send_list(to: &WorkerId) -> WorkerWrite {
    WorkerWrite::Update {
        id: to.clone(),
        when: vec![WorkerCondition::StateIs(WorkerState::Live)],
        change: vec![WorkerChange::List(true)],
    }
}

/// Which leases of an ask its receiver gives: those it holds at the fence asked for, while it
/// stays at least two ahead of the asker, and only to a live worker that is not leaving.
pub fn granted(
    leases: &[(LeaseKey, Fence)],
    have: u32,
    to: Option<&WorkerRow>,
    holdings: &Holdings,
) -> Vec<(LeaseKey, Fence)> {
    if !to.is_some_and(|row| row.state == WorkerState::Live && !row.draining) {
        return Vec::new();
    }
    let any_fence = holdings.rules().breaks(Mutant::AskAtAnyFence);
    let (mut mine, mut theirs) = (u64::from(holdings.load()), u64::from(have));
    let mut given = Vec::new();
    for (key, fence) in leases {
        let held = holdings.fence(key).filter(|held| held == fence || any_fence);
        if let Some(held) = held
            && mine >= theirs + 2
        {
            given.push((key.clone(), held));
            mine -= 1;
            theirs += 1;
        }
    }
    given
}

/// Who gets a lease that its owner gives up: the live worker with the smallest load that reads its
/// stream, has room and is not leaving; among equals the one the lease is closest to.
pub fn receiver<'a>(
    key: &LeaseKey,
    workers: impl Iterator<Item = &'a WorkerRow>,
    me: &WorkerId,
) -> Option<WorkerId> {
    workers
        .filter(|row| row.state == WorkerState::Live && !row.draining && row.id != *me)
        .filter(|row| row.load < row.max_leases && row.reads.reads(key))
        .min_by_key(|row| (row.load, std::cmp::Reverse(crate::hash::affinity(&row.id, key))))
        .map(|row| row.id.clone())
}
