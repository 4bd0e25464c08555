//! P8: leases and pending children tile the hash key space.

use std::collections::BTreeMap;

use kcl_core::Shard;
use kcl_core::protocol::hash_audit::audit;
use kcl_core::protocol::{Lease, LeaseKey, Moment};

use super::Violation;

/// Judges the leases of a fleet by the listing of its stream: no hole, and no key twice.
pub fn leases_tile_the_hash_space(
    at: Moment,
    leases: &BTreeMap<LeaseKey, Lease>,
    shards: &[Shard],
) -> Vec<Violation> {
    let listed = shards.iter().map(|shard| shard.id.clone()).collect();
    let faults = audit(leases, &listed).into_iter();
    let words = faults.map(|fault| format!("{} is covered {} times", fault.range, fault.cover));
    words.map(|what| Violation { property: "P8", at, what }).collect()
}
