//! P6: once faults are over, every open shard is held and the fleet is even.

use std::collections::{BTreeMap, BTreeSet};

use kcl_core::Shard;
use kcl_core::protocol::{Lease, LeaseKey, Moment, WorkerId, WorkerRow, WorkerState};

use super::Violation;

/// Judges the rows of a fleet that has healed: each open shard is held by a worker that lives, if
/// only parked, and no two of these differ by more than one running lease.
pub fn every_open_shard_is_held_evenly(
    at: Moment,
    workers: &[WorkerRow],
    leases: &BTreeMap<LeaseKey, Lease>,
    shards: &[Shard],
) -> Vec<Violation> {
    let live = workers.iter().filter(|row| row.state == WorkerState::Live);
    let mut loads: BTreeMap<_, usize> = live.map(|row| (row.id.clone(), 0)).collect();
    let mut broken = Vec::new();
    for shard in shards.iter().filter(|shard| shard.is_open) {
        let lease = leases.get(&LeaseKey::new(shard.id.as_str()));
        let owner = lease.and_then(|lease| lease.owner.as_ref());
        match owner.and_then(|owner| loads.get_mut(owner)) {
            Some(load) => *load += usize::from(lease.is_some_and(|lease| lease.parked.is_none())),
            None => broken.push(format!("nobody alive holds the open shard {}", shard.id)),
        }
    }
    let spread = loads.values().max().zip(loads.values().min()).map_or(0, |(max, min)| max - min);
    if spread > 1 {
        broken.push(format!("loads differ by {spread}: {loads:?}"));
    }
    broken.into_iter().map(|what| Violation { property: "P6", at, what }).collect()
}

/// Judges the rows of a fleet that has healed by the places in it, each with the id under which its
/// worker registered: every worker has a row and goes on by it, and nobody else has one.
pub fn every_place_has_a_live_worker(
    at: Moment,
    workers: &[WorkerRow],
    places: &BTreeMap<String, Option<WorkerId>>,
) -> Vec<Violation> {
    let is_live = |row: &&WorkerRow| row.state == WorkerState::Live && !row.draining;
    let mut others: BTreeSet<_> = workers.iter().filter(is_live).map(|row| &row.id).collect();
    let mut broken = Vec::new();
    for (place, worker) in places {
        match worker {
            Some(worker) if others.remove(worker) => {}
            Some(worker) => broken.push(format!("{worker} of {place} has no live row")),
            None => broken.push(format!("{place} has no worker that registered")),
        }
    }
    broken.extend(others.into_iter().map(|other| format!("{other} is live and has no place")));
    broken.into_iter().map(|what| Violation { property: "P6", at, what }).collect()
}
