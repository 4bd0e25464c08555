//! The ownership writes, and the rules of moving a lease on purpose.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::holdings::Holdings;
use crate::ids::{EntryId, Fence, LeaseKey, ShardId, WorkerId};
use crate::limits::{ASK_PATIENCE, INBOX_ENTRIES};
use crate::rows::{InboxEntry, Lease, WorkerRow, WorkerState};
use crate::rules::Mutant;
use crate::sequence::Checkpoint;
use crate::time::LeaseTiming;
use crate::writes::{
    ConditionalWrite, LeaseChange, LeaseCondition, LeaseWrite, WorkerChange, WorkerCondition,
    WorkerWrite,
};

/// Takes a lease, as `seen`, whose owner is proven dead or that nobody owns, for the worker `to`:
/// oneself, or whoever the plan of a reconcile round names. Never extends validity.
pub fn take(seen: &Lease, to: &WorkerId, generation: u64) -> LeaseWrite {
    let owner = match &seen.owner {
        Some(owner) => LeaseCondition::OwnerIs(owner.clone()),
        None => LeaseCondition::Unowned,
    };
    LeaseWrite::Update {
        key: seen.key.clone(),
        when: vec![owner, LeaseCondition::FenceIs(seen.fence), LeaseCondition::NotEnded],
        change: vec![
            LeaseChange::Owner(Some(to.clone())),
            LeaseChange::Fence(seen.fence.next(generation)),
            LeaseChange::Parked(None),
        ],
    }
}

/// Raises the fence of a lease that names this worker at a spent one.
pub fn adopt(key: &LeaseKey, fence: Fence, me: &WorkerId, generation: u64) -> LeaseWrite {
    let_go(key, fence, me, generation, Some(me.clone()), None)
}

/// Hands a lease that is no longer held to another worker, with the final checkpoint in it.
pub fn hand_over(
    key: &LeaseKey,
    fence: Fence,
    me: &WorkerId,
    generation: u64,
    to: &WorkerId,
    checkpoint: Option<Checkpoint>,
) -> LeaseWrite {
    let_go(key, fence, me, generation, Some(to.clone()), checkpoint)
}

/// Releases a lease that is no longer held: nobody owns it afterwards.
pub fn release(
    key: &LeaseKey,
    fence: Fence,
    me: &WorkerId,
    generation: u64,
    checkpoint: Option<Checkpoint>,
) -> LeaseWrite {
    let_go(key, fence, me, generation, None, checkpoint)
}

fn let_go(
    key: &LeaseKey,
    fence: Fence,
    me: &WorkerId,
    generation: u64,
    to: Option<WorkerId>,
    checkpoint: Option<Checkpoint>,
) -> LeaseWrite {
    let mut change: Vec<_> = checkpoint.map(LeaseChange::Checkpoint).into_iter().collect();
    change.push(LeaseChange::Owner(to));
    change.push(LeaseChange::Fence(fence.next(generation)));
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
    generation: u64,
    children: &[Child],
) -> Vec<ConditionalWrite> {
    let ended = LeaseWrite::Update {
        key: key.clone(),
        when: vec![LeaseCondition::OwnerIs(me.clone()), LeaseCondition::FenceIs(fence)],
        change: vec![
            LeaseChange::Checkpoint(Checkpoint::ShardEnd),
            LeaseChange::Children(children.iter().map(|child| child.id.clone()).collect()),
            LeaseChange::Owner(None),
            LeaseChange::Fence(fence.next(generation)),
        ],
    };
    let started = children.iter().map(|child| {
        let mut lease =
            Lease::unowned(key.sibling(&child.id), Checkpoint::TrimHorizon, child.range);
        lease.parents.clone_from(&child.parents);
        LeaseWrite::Ensure(lease)
    });
    std::iter::once(ended).chain(started).map(ConditionalWrite::Lease).collect()
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

/// Revokes a lease whose owner did not answer an ask: an entry of its own, and only while the ask
/// still stands (the owner removes an ask once it has decided it).
pub fn revoke(
    owner: &WorkerId,
    ask: EntryId,
    id: EntryId,
    lease: &LeaseKey,
    fence: Fence,
    to: &WorkerId,
) -> WorkerWrite {
    WorkerWrite::Update {
        id: owner.clone(),
        when: vec![WorkerCondition::StateIs(WorkerState::Live), WorkerCondition::InboxHas(ask)],
        change: vec![WorkerChange::InboxPut(
            id,
            InboxEntry::Revoke { lease: lease.clone(), fence, to: to.clone() },
        )],
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

/// How long an ask may stay undecided before it is forced.
pub fn ask_patience(timing: LeaseTiming) -> Duration {
    ASK_PATIENCE + timing.heartbeat()
}

/// Who gets a lease that its owner gives up: the live worker with the smallest load that has room
/// and is not leaving; among equals the one the lease is closest to.
pub fn receiver<'a>(
    key: &LeaseKey,
    workers: impl Iterator<Item = &'a WorkerRow>,
    me: &WorkerId,
) -> Option<WorkerId> {
    workers
        .filter(|row| row.state == WorkerState::Live && !row.draining && row.id != *me)
        .filter(|row| row.load < row.max_leases)
        .min_by_key(|row| (row.load, std::cmp::Reverse(crate::hash::affinity(&row.id, key))))
        .map(|row| row.id.clone())
}
