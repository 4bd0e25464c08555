//! What must hold at the end of a run.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kcl_core::event::EventKind;
use kcl_core::protocol::hash_audit::audit;
use kcl_core::protocol::{Lease, LeaseKey, Moment, Position, Row, ShardId, WorkerRow, WorkerState};
use kcl_core::{DeadLetter, LeaseTable, Scan};

use super::work::End;
use super::world::World;
use crate::history::{Entry, Violation, What, check_safety, every_record_is_delivered, moves};

/// Once healed, the fleet is watched this long: nothing may move.
const QUIET: Duration = Duration::from_secs(20);

impl World {
    /// After the faults stopped: nothing lost, every open shard held, the fleet even and at rest.
    /// Gives back the history that was judged.
    pub(super) async fn judge(&mut self, end: Moment) -> Vec<Entry> {
        let history = self.recorder.take();
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
        let letters = self.yard.dead_letters.drain();
        for what in letters_missing(&history, &letters) {
            broken("P1", what);
        }
        let mut put = self.producer.take_put();
        if !put.is_empty() {
            let trimmed = trimmed(&history);
            put.retain(|put| !trimmed.contains(&(put.shard.clone(), put.position)));
        }
        let end = End {
            put: &put,
            dead_letters: &letters,
            table: &self.table,
            leases: &leases,
            history: &history,
        };
        for (property, what) in self.yard.work.judge(&end) {
            broken(property, what);
        }
        history
    }
}

/// Records that retention passed before they were read: nobody owes them.
fn trimmed(history: &[Entry]) -> BTreeSet<(ShardId, Position)> {
    let trimmed = history.iter().filter_map(|entry| match &entry.what {
        What::Trimmed { shard, positions } => Some((shard, positions)),
        _ => None,
    });
    let each = |(shard, positions): (&ShardId, &Vec<Position>)| -> Vec<_> {
        positions.iter().map(|position| (shard.clone(), *position)).collect()
    };
    trimmed.flat_map(each).collect()
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
