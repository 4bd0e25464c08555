//! Parents before children.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{LeaseKey, ShardId};
use crate::rows::Lease;

/// May this shard be processed now? It is not finished, and every parent is: a parent's row reads
/// `SHARD_END`, or there is no such row and the stream does not list the shard any more either.
pub fn startable(
    lease: &Lease,
    leases: &BTreeMap<LeaseKey, Lease>,
    listed: &BTreeSet<ShardId>,
) -> bool {
    let has_ended = |parent: &ShardId| match leases.get(&lease.key.sibling(parent)) {
        Some(row) => row.is_ended(),
        None => !listed.contains(parent),
    };
    !lease.is_ended() && lease.parents.iter().all(has_ended)
}
