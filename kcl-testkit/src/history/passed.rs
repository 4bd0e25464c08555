//! P4 and P2: nobody goes on past a record that nobody is done with.

use std::collections::{BTreeMap, BTreeSet};

use kcl_core::event::EventKind;
use kcl_core::protocol::{Checkpoint, LeaseKey, Position, ShardId};

use super::{Entry, Violation, What, lineage};

/// Judges every place a consumer starts at, and when the first record of a child comes: each record
/// before it was acked under some fence, is in the dead letters, or was trimmed, alone or with its
/// whole shard. That tells what no event does: what a hand-over, a release or the end of a shard
/// wrote into the row.
///
/// Where a shard starts first, its application starts: what lies before it nobody owes, and what a
/// start by a timestamp passes over is not to be noted as put. A row that was deleted starts over
/// below, and passes nothing by that. Histories without [`What::Acked`] entries tell nothing here.
pub fn nobody_goes_on_past_an_open_record(history: &[Entry]) -> Vec<Violation> {
    if !history.iter().any(|entry| matches!(entry.what, What::Acked { .. })) {
        return Vec::new();
    }
    let lineage = lineage(history);
    let mut open: BTreeMap<ShardId, BTreeSet<Position>> = BTreeMap::new();
    let (mut started, mut given) = (BTreeSet::<LeaseKey>::new(), BTreeSet::new());
    let mut violations = Vec::new();
    for entry in history {
        let mut broken = |property, what: String| {
            violations.push(Violation { property, at: entry.at, what });
        };
        match &entry.what {
            What::Put { shard, positions } => {
                open.entry(shard.clone()).or_default().extend(positions);
            }
            What::Trimmed { shard, positions } => close(&mut open, shard, positions),
            What::Acked { lease, positions, .. } => close(&mut open, &lease.shard(), positions),
            What::Given { lease, .. } if given.insert(lease.shard()) => {
                let shard = lease.shard();
                for parent in lineage.get(&shard).into_iter().flatten() {
                    if let Some(first) = open.get(parent).and_then(BTreeSet::first) {
                        let what = format!("{shard} started before {first} of {parent} was done");
                        broken("P2", what);
                    }
                }
            }
            What::Event(event) => match &event.kind {
                EventKind::DeadLettered { lease, at, .. } => {
                    close(&mut open, &lease.shard(), std::slice::from_ref(at));
                }
                EventKind::ShardDropped { lease } => drop(open.remove(&lease.shard())),
                EventKind::ConsumerStarted { lease, checkpoint, .. } => {
                    let open = open.entry(lease.shard()).or_default();
                    let passes = |record: &Position| Checkpoint::At(*record) <= *checkpoint;
                    if started.insert(lease.clone()) {
                        open.retain(|record| !passes(record));
                    }
                    if let Some(first) = open.first().filter(|first| passes(first)) {
                        let what = format!("{lease} started at {checkpoint}, past open {first}");
                        broken("P4", what);
                    }
                }
                _ => {}
            },
            _ => {}
        }
    }
    violations
}

fn close(
    open: &mut BTreeMap<ShardId, BTreeSet<Position>>,
    shard: &ShardId,
    positions: &[Position],
) {
    if let Some(open) = open.get_mut(shard) {
        for position in positions {
            open.remove(position);
        }
    }
}
