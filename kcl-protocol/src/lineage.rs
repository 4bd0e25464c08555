//! Parents before children.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{LeaseKey, ShardId};
use crate::rows::Lease;
use crate::rules::{Mutant, Rules};

/// May this shard be processed now? It is not finished, and every parent is: a parent's row reads
/// `SHARD_END`, or there is no such row and the stream has dropped the shard too.
///
/// Only a listing that shows the shard itself can tell that: none shows a child without those of
/// its parents that the stream still has. A merge may give a child its row (made by the parent that
/// ended first) while the other parent, itself a child, has none yet; a listing that lags lacks
/// both.
pub fn startable(
    lease: &Lease,
    leases: &BTreeMap<LeaseKey, Lease>,
    listed: &BTreeSet<ShardId>,
) -> bool {
    startable_under(lease, leases, listed, Rules::ALL)
}

/// As [`startable`], under other rules.
pub fn startable_under(
    lease: &Lease,
    leases: &BTreeMap<LeaseKey, Lease>,
    listed: &BTreeSet<ShardId>,
    rules: Rules,
) -> bool {
    let shows_the_shard =
        listed.contains(&lease.key.shard()) || rules.breaks(Mutant::AbsentParentHasEnded);
    let has_ended = |parent: &ShardId| match leases.get(&lease.key.sibling(parent)) {
        Some(row) => row.is_ended(),
        None => shows_the_shard && !listed.contains(parent),
    };
    !lease.is_ended() && all_ended(&lease.parents, has_ended, rules)
}

/// A child starts only after every one of its parents.
pub fn all_ended(
    parents: &BTreeSet<ShardId>,
    has_ended: impl Fn(&ShardId) -> bool,
    rules: Rules,
) -> bool {
    let enough = rules.breaks(Mutant::ChildAfterOneParent) && parents.iter().any(&has_ended);
    enough || parents.iter().all(has_ended)
}
