//! P1, to its end: what was put is not only delivered but done.

use std::collections::{BTreeMap, BTreeSet};

use kcl_core::event::EventKind;
use kcl_core::protocol::{Checkpoint, Lease, LeaseKey, Moment, Position, ShardId};

use super::{Entry, Violation, What, lineage};

/// Judges the rows of a fleet that has healed and drained: the checkpoint of every shard has
/// reached the last record put into it, and if the history has [`What::Acked`] entries, each record
/// is acked or in the dead letters: P4 hears of a checkpoint only from whoever writes it, and that
/// one may die before it is heard. Where a shard starts first, its application starts: what lies
/// before it nobody owes. What a start by a timestamp passes over is not to be noted as put.
pub fn every_backlog_is_done(
    at: Moment,
    leases: &BTreeMap<LeaseKey, Lease>,
    history: &[Entry],
) -> Vec<Violation> {
    let mut put: BTreeMap<&ShardId, BTreeSet<Position>> = BTreeMap::new();
    let mut done: BTreeMap<ShardId, BTreeSet<Position>> = BTreeMap::new();
    let (mut started, mut is_told) = (BTreeSet::new(), false);
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
            What::Event(event) => match &event.kind {
                EventKind::DeadLettered { lease, at, .. } => {
                    done.entry(lease.shard()).or_default().insert(*at);
                }
                EventKind::ConsumerStarted { lease, checkpoint, .. }
                    if started.insert(lease.clone()) =>
                {
                    let passes = |record: &&Position| Checkpoint::At(**record) <= *checkpoint;
                    let owed = put.get(&lease.shard()).into_iter().flatten();
                    let passed: Vec<_> = owed.filter(passes).copied().collect();
                    done.entry(lease.shard()).or_default().extend(passed);
                }
                _ => {}
            },
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
            Some(checkpoint) if checkpoint >= Checkpoint::At(*last) => match open(shard, &owed) {
                Some(open) if checkpoint.is_shard_end() => {
                    format!("{shard} was ended, and {open} is not done")
                }
                Some(open) => format!("{shard} is done up to {checkpoint}, and {open} is not"),
                None => continue,
            },
            // The row of a shard that is done may be gone before its stream forgets it.
            None if parents.contains(shard) => continue,
            Some(checkpoint) => format!("{shard} is done up to {checkpoint}, not up to {last}"),
            None => format!("{shard} is done up to nothing: it has no lease"),
        };
        violations.push(Violation { property: "P1", at, what });
    }
    violations
}
