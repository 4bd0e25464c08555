//! What a round of reconciliation finds in one scan of the rows.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::ids::{LeaseKey, ShardId, WorkerId};
use crate::limits::{DEAD_WORKER_KEPT, ENDED_LEASE_KEPT};
use crate::rows::{HeldDigest, Lease, Reads, WorkerRow, WorkerState};
use crate::sequence::Checkpoint;
use crate::writes::{
    ConditionalWrite, LeaseChange, LeaseCondition, LeaseWrite, WorkerCondition, WorkerWrite,
};

/// Does a live worker say that it holds something else than its rows say? Only believed if two
/// reads, `2H` apart, both show it: a move may be under way.
pub fn disagrees(row: &WorkerRow, leases: &BTreeMap<LeaseKey, Lease>) -> bool {
    let mut digest = HeldDigest::default();
    let owned = leases.values().filter(|lease| lease.owner.as_ref() == Some(&row.id));
    owned.for_each(|lease| digest.add(&lease.key, lease.fence));
    row.state == WorkerState::Live && digest != row.digest
}

/// Does this worker have to see to a stream that others of the fleet do not read, whoever wins the
/// round? Of the live workers that read such a stream it is the one with the smallest id.
pub fn sees_to_a_stream(me: &WorkerId, workers: &BTreeMap<WorkerId, WorkerRow>) -> bool {
    let live: Vec<_> =
        workers.values().filter(|row| row.state == WorkerState::Live && !row.draining).collect();
    let Some(Reads::Streams(mine)) = workers.get(me).map(|row| &row.reads) else { return false };
    mine.iter().any(|tag| {
        let reads =
            |row: &&&WorkerRow| matches!(&row.reads, Reads::Streams(tags) if tags.contains(tag));
        let readers = live.iter().filter(reads).count();
        readers < live.len() && live.iter().find(reads).is_some_and(|first| first.id == *me)
    })
}

/// Rows of dead workers that have been dead for an hour and that no lease names.
pub fn forgettable(
    workers: &BTreeMap<WorkerId, WorkerRow>,
    leases: &BTreeMap<LeaseKey, Lease>,
    dead_for: impl Fn(&WorkerId) -> Duration,
) -> Vec<ConditionalWrite> {
    let named: BTreeSet<_> = leases.values().filter_map(|lease| lease.owner.as_ref()).collect();
    workers
        .values()
        .filter(|row| row.state.is_dead() && !named.contains(&row.id))
        .filter(|row| dead_for(&row.id) >= DEAD_WORKER_KEPT)
        .map(|row| {
            let when = vec![WorkerCondition::StateIs(row.state)];
            ConditionalWrite::Worker(WorkerWrite::Delete { id: row.id.clone(), when })
        })
        .collect()
}

/// Writes that mark finished shards as gone from the listing, and remove the leases of those gone
/// for an hour whose children are all past their first checkpoint. `listed` must be a complete
/// listing; wall clock in Unix milliseconds.
pub fn finished(
    leases: &BTreeMap<LeaseKey, Lease>,
    listed: impl Fn(&LeaseKey) -> bool,
    wall_millis: u64,
) -> Vec<ConditionalWrite> {
    let ended = leases.values().filter(|lease| lease.is_ended());
    let write = |lease: &Lease| match (listed(&lease.key), lease.unlisted_since_millis) {
        (false, None) => Some(mark(lease, Some(wall_millis))),
        (true, Some(_)) => Some(mark(lease, None)),
        (false, Some(since)) if is_over(since, wall_millis) && children_started(lease, leases) => {
            Some(LeaseWrite::Delete { key: lease.key.clone(), when: vec![LeaseCondition::Ended] })
        }
        _ => None,
    };
    ended.filter_map(write).map(ConditionalWrite::Lease).collect()
}

fn is_over(since_millis: u64, wall_millis: u64) -> bool {
    u128::from(wall_millis.saturating_sub(since_millis)) >= ENDED_LEASE_KEPT.as_millis()
}

fn mark(lease: &Lease, since: Option<u64>) -> LeaseWrite {
    LeaseWrite::Update {
        key: lease.key.clone(),
        when: vec![LeaseCondition::Ended],
        change: vec![LeaseChange::UnlistedSince(since)],
    }
}

/// A child without a row was removed in turn, so it had finished.
fn children_started(lease: &Lease, leases: &BTreeMap<LeaseKey, Lease>) -> bool {
    let started = |child: &ShardId| {
        leases
            .get(&lease.key.sibling(child))
            .is_none_or(|row| matches!(row.checkpoint, Checkpoint::At(_) | Checkpoint::ShardEnd))
    };
    lease.children.iter().all(started)
}
