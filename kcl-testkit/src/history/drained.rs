//! P1, to its end: what was put is not only delivered but done.

use std::collections::{BTreeMap, BTreeSet};

use kcl_core::event::EventKind;
use kcl_core::protocol::{Checkpoint, Lease, LeaseKey, Moment, Position, ShardId};

use super::{Entry, Violation, What, lineage};

/// Judges the rows of a fleet that has healed and drained: the checkpoint of every shard has
/// reached the last record put into it. With P4, which lets no checkpoint pass a record that is
/// not acked, this says that every call came to an end. Of a shard that is ended each record is
/// acked or in the dead letters, if the history has [`What::Acked`] entries: P4 hears of an end
/// only from whoever ends it, and that one may die before it is heard.
pub fn every_backlog_is_done(
    at: Moment,
    leases: &BTreeMap<LeaseKey, Lease>,
    history: &[Entry],
) -> Vec<Violation> {
    let mut put: BTreeMap<&ShardId, BTreeSet<Position>> = BTreeMap::new();
    let mut done: BTreeMap<ShardId, BTreeSet<Position>> = BTreeMap::new();
    let mut is_told = false;
    for entry in history {
        match &entry.what {
            What::Put { shard, positions } => put.entry(shard).or_default().extend(positions),
            // Nobody owes these.
            What::Trimmed { shard, positions } => {
                put.entry(shard).or_default().retain(|owed| !positions.contains(owed));
            }
            What::Acked { lease, positions, .. } => {
                is_told = true;
                done.entry(lease.shard()).or_default().extend(positions);
            }
            What::Event(event) => {
                if let EventKind::DeadLettered { lease, at, .. } = &event.kind {
                    done.entry(lease.shard()).or_default().insert(*at);
                }
            }
            _ => {}
        }
    }
    let open = |shard, owed: &BTreeSet<Position>| {
        let done = done.get(shard);
        owed.iter()
            .find(|at| done.is_none_or(|done| !done.contains(at)))
            .filter(|_| is_told)
            .copied()
    };
    let parents: BTreeSet<_> = lineage(history).into_values().flatten().collect();
    let mut violations = Vec::new();
    for (shard, owed) in put {
        let Some(last) = owed.last() else { continue };
        let row = leases.get(&LeaseKey::new(shard.as_str()));
        let what = match row.map(|row| row.checkpoint) {
            Some(Checkpoint::ShardEnd) => match open(shard, &owed) {
                Some(open) => format!("{shard} was ended, and {open} is not done"),
                None => continue,
            },
            Some(checkpoint) if checkpoint >= Checkpoint::At(*last) => continue,
            // The row of a shard that is done may be gone before its stream forgets it.
            None if parents.contains(shard) => continue,
            Some(checkpoint) => format!("{shard} is done up to {checkpoint}, not up to {last}"),
            None => format!("{shard} is done up to nothing: it has no lease"),
        };
        violations.push(Violation { property: "P1", at, what });
    }
    violations
}
