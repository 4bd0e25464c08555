//! Parents before children.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{LeaseKey, ShardId};
use crate::rows::Lease;

/// May this shard be processed now? It is not finished, and every parent is: a parent's row reads
/// `SHARD_END`, or there is no such row and the stream has dropped the shard too.
///
/// Only a listing made after the shard itself can tell that: shard ids rise with time, so it must
/// show this shard or a later one. A merge may give a child its row (made by the parent that ended
/// first) while the other parent, itself a child, has none yet; an older listing lacks it as well.
pub fn startable(
    lease: &Lease,
    leases: &BTreeMap<LeaseKey, Lease>,
    listed: &BTreeSet<ShardId>,
) -> bool {
    let listing_is_newer = listed.last().is_some_and(|last| *last >= lease.key.shard());
    let has_ended = |parent: &ShardId| match leases.get(&lease.key.sibling(parent)) {
        Some(row) => row.is_ended(),
        None => listing_is_newer && !listed.contains(parent),
    };
    !lease.is_ended() && lease.parents.iter().all(has_ended)
}
