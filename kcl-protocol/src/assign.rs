//! Who should hold which lease: one plan that every worker computes alike from the same rows.

mod draft;
mod groups;
mod takers;

use crate::ids::{LeaseKey, WorkerId};
use crate::rows::Reads;

/// A live worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub id: WorkerId,
    /// Leaving: keeps nothing and gets nothing.
    pub draining: bool,
    /// The most leases it holds.
    pub capacity: u32,
    /// The streams it reads: it gets leases of no others.
    pub reads: Reads,
}

/// A lease that somebody should hold, now or once its parents have ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    /// Which lease.
    pub key: LeaseKey,
    /// Who holds it; `None`, or a worker that is no member, means nobody.
    pub owner: Option<WorkerId>,
    /// What it weighs; 1 if all count alike. Weights above `2^64 / leases` count as that.
    pub weight: u64,
    /// May it be held yet?
    pub readiness: Readiness,
}

/// May a lease be held?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Readiness {
    /// Yes.
    Ready,
    /// Not before its parents have ended: it is no load, does not move, and is reported.
    WaitsForParents,
}

/// A lease that should change hands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// Which lease.
    pub lease: LeaseKey,
    /// The live worker that holds it now, if one does.
    pub from: Option<WorkerId>,
    /// Who should hold it.
    pub to: WorkerId,
    /// Why.
    pub reason: MoveReason,
}

/// Why a lease should change hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MoveReason {
    /// Nobody holds it.
    Unowned,
    /// Its holder is leaving.
    HolderLeaves,
    /// Its holder has more leases than it has room for.
    HolderIsFull,
    /// Its holder has more than its share.
    Balance,
}

/// What should happen for the fleet to be balanced, and what that makes of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What nobody holds first, then what full workers give up, then what evens the rest out.
    pub moves: Vec<Move>,
    /// What the plan saw and what it leaves.
    pub report: Report,
}

/// What a plan saw and what it leaves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Every member, in the order of the ids.
    pub shares: Vec<Share>,
    /// What no worker is to hold, or not the one that should, in the order of the keys.
    pub unassigned: Vec<Unassigned>,
}

/// What one worker holds before and after a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// Which worker.
    pub worker: WorkerId,
    /// Before the plan.
    pub before: Amount,
    /// Once all of the plan is done.
    pub after: Amount,
}

/// How much a worker holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount {
    /// The sum of the weights.
    pub weight: u64,
    /// The number of leases.
    pub leases: usize,
}

/// A lease that a plan leaves without the holder it should have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unassigned {
    /// Which lease.
    pub lease: LeaseKey,
    /// Why.
    pub why: Why,
}

/// Why a plan leaves a lease without the holder it should have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// Nobody holds it and no worker has room.
    NoRoom,
    /// Its holder is leaving and no other worker has room: it will be released.
    HolderLeaves,
    /// Its holder has more leases than it has room for, and so have all others. It stays there: a
    /// shard that a crowded worker processes is better than one that nobody does.
    HolderIsFull,
    /// Its parents have not ended.
    WaitsForParents,
    /// No worker reads its stream: it waits for one that does.
    NobodyReads,
}

/// Plans the fewest moves after which loads differ by at most one lease, as far as the room of
/// each worker allows (with unequal weights: no single move would make two workers more even).
///
/// Deterministic, and independent of the order of its arguments. Ties go by rendezvous hash: a
/// worker gives away first what it is least close to, and among equally loaded workers the one
/// that is closest to a lease gets it. An even fleet yields no moves. Takes about `n log n` for
/// `n` leases, and looks at no more than [`TIES_WEIGHED`](crate::limits::TIES_WEIGHED) workers for
/// each lease that moves.
///
/// A lease goes only to workers that read its stream. Where not all read the same streams, those of
/// equal readers are planned together, those with the fewest readers first; what a worker holds of
/// them once that is done counts in all later ones. So every plan is made on those before it and
/// never the other way, and nothing moves in circles.
pub fn plan(members: &[Member], loads: &[Load]) -> Plan {
    groups::plan(members, loads)
}
