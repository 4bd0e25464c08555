//! What must hold at the end of a run.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kcl_core::event::EventKind;
use kcl_core::protocol::hash_audit::audit;
use kcl_core::protocol::{
    Checkpoint, Lease, LeaseKey, Moment, Position, Row, WorkerRow, WorkerState,
};
use kcl_core::{DeadLetter, LeaseTable, Scan};
use kcl_lease_local::MemoryLeaseTable;

use super::habits::Acking;
use super::processor::committed;
use super::world::World;
use crate::history::{Entry, Violation, What, check_safety, every_record_is_delivered, moves};

/// Once healed, the fleet is watched this long: nothing may move.
const QUIET: Duration = Duration::from_secs(20);

impl World {
    /// After the faults stopped: nothing lost, every open shard held, the fleet even and at rest.
    pub(super) async fn judge(&mut self, end: Moment) {
        let history = self.recorder.history();
        self.violations.extend(check_safety(&history));
        self.violations.extend(every_record_is_delivered(&history));
        let mut broken = |property, what| {
            self.violations.push(Violation { property, at: end, what });
        };
        let since = Moment(end.0.saturating_sub(QUIET));
        let moved = moves(&history, since, end);
        if moved > 0 {
            broken("P7", format!("{moved} leases changed hands in the last {QUIET:?}"));
        }
        let rows = self.table.scan(Scan::Coordination).await.unwrap_or_default();
        let workers = rows.into_iter().filter_map(Row::into_worker);
        let live: BTreeMap<_, WorkerRow> = workers
            .filter(|row| row.state == WorkerState::Live)
            .map(|row| (row.id.clone(), row))
            .collect();
        let rows = self.table.scan(Scan::Leases).await.unwrap_or_default();
        let leases: BTreeMap<LeaseKey, Lease> = rows
            .into_iter()
            .filter_map(Row::into_lease)
            .map(|lease| (lease.key.clone(), lease))
            .collect();
        let shards = self.yard.source.list_shards().await.unwrap_or_default();
        let mut loads: BTreeMap<_, usize> = live.keys().map(|id| (id.clone(), 0)).collect();
        for shard in shards.iter().filter(|shard| shard.is_open) {
            let lease = leases.get(&LeaseKey::new(shard.id.as_str()));
            let owner = lease.and_then(|lease| lease.owner.as_ref());
            match owner.and_then(|owner| loads.get_mut(owner)) {
                Some(load) => {
                    *load += usize::from(lease.is_some_and(|lease| lease.parked.is_none()))
                }
                None => broken("P6", format!("nobody alive holds the open shard {}", shard.id)),
            }
        }
        let spread =
            loads.values().max().zip(loads.values().min()).map_or(0, |(max, min)| max - min);
        if spread > 1 {
            broken("P6", format!("loads differ by {spread}: {loads:?}"));
        }
        let listed = shards.iter().map(|shard| shard.id.clone()).collect();
        for fault in audit(&leases, &listed) {
            broken("P8", format!("{} is covered {} times", fault.range, fault.cover));
        }
        for what in letters_missing(&history, &self.yard.dead_letters.drain()) {
            broken("P1", what);
        }
        if self.yard.habits.acking == Acking::WithEffects {
            for what in sums_amiss(&history, &leases, &self.table) {
                broken("P5", what);
            }
        }
    }
}

/// Records that a worker gave up on and that are not among the dead letters.
fn letters_missing(history: &[Entry], letters: &[DeadLetter]) -> Vec<String> {
    let kept: BTreeSet<_> =
        letters.iter().map(|letter| (letter.shard.clone(), letter.record.position)).collect();
    let given_up = history.iter().filter_map(|entry| match &entry.what {
        What::Event(event) => match &event.kind {
            EventKind::DeadLettered { lease, at, .. } => Some((lease.shard(), *at)),
            _ => None,
        },
        _ => None,
    });
    let missing = given_up.filter(|letter| !kept.contains(letter));
    missing.map(|(shard, at)| format!("{at} of {shard} is in no dead letter")).collect()
}

/// Leases whose committed sum is not the number of records up to their checkpoint: an effect was
/// lost, or applied twice.
fn sums_amiss(
    history: &[Entry],
    leases: &BTreeMap<LeaseKey, Lease>,
    table: &MemoryLeaseTable,
) -> Vec<String> {
    let mut put: BTreeMap<LeaseKey, BTreeSet<Position>> = BTreeMap::new();
    // Whoever starts over counts again; what is gone or given up on has no effect.
    let mut without = BTreeSet::new();
    for entry in history {
        match &entry.what {
            What::Put { shard, position } => {
                put.entry(LeaseKey::new(shard.as_str())).or_default().insert(*position);
            }
            What::RowDeleted { lease } => drop(without.insert(lease.clone())),
            What::Trimmed { shard, .. } => drop(without.insert(LeaseKey::new(shard.as_str()))),
            What::Event(event) => {
                if let EventKind::DeadLettered { lease, .. } = &event.kind {
                    without.insert(lease.clone());
                }
            }
            _ => {}
        }
    }
    let mut amiss = Vec::new();
    for (key, lease) in leases.iter().filter(|(key, _)| !without.contains(*key)) {
        let records = put.get(key);
        let done = match lease.checkpoint {
            Checkpoint::ShardEnd => records.map_or(0, BTreeSet::len),
            Checkpoint::At(position) => {
                records.map_or(0, |records| records.range(..=position).count())
            }
            _ => 0,
        } as u64;
        let sum = committed(table, key);
        if sum != done {
            amiss.push(format!("effects of {key} sum to {sum}, but {done} records are done"));
        }
    }
    amiss
}
