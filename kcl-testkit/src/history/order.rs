//! P2: records come in order per shard, and parents before children.

use std::collections::BTreeMap;

use kcl_core::event::EventKind;
use kcl_core::protocol::{Checkpoint, Fence, LeaseKey, Position, ShardId};

use super::{Entry, Violation, What, lineage};

/// Within a shard each batch has every record from the end of the one before: one that fails may
/// come again from further back, and whoever takes the lease starts right after its checkpoint, but
/// nothing new is skipped over. A child's first record comes after every record of its parents was
/// delivered.
pub fn records_come_in_order(history: &[Entry]) -> Vec<Violation> {
    let lineage = lineage(history);
    let mut put: BTreeMap<ShardId, Vec<Position>> = BTreeMap::new();
    let mut highest: BTreeMap<ShardId, Position> = BTreeMap::new();
    let mut reached: BTreeMap<LeaseKey, (Fence, Checkpoint)> = BTreeMap::new();
    let mut violations = Vec::new();
    for entry in history {
        let (lease, positions) = match &entry.what {
            What::Put { shard, positions } => {
                let put = put.entry(shard.clone()).or_default();
                let follow = put.last() < positions.first() && positions.is_sorted();
                put.extend(positions);
                if !follow {
                    put.sort_unstable();
                }
                continue;
            }
            What::Trimmed { shard, positions } => {
                let put = put.entry(shard.clone()).or_default();
                put.retain(|position| !positions.contains(position));
                continue;
            }
            What::Event(event) => {
                if let EventKind::ConsumerStarted { lease, fence, checkpoint } = &event.kind
                    // Of whom slept through a take it is heard late.
                    && reached.get(lease).is_none_or(|(known, _)| known <= fence)
                {
                    reached.insert(lease.clone(), (*fence, *checkpoint));
                }
                continue;
            }
            What::Given { lease, positions } => (lease, positions),
            _ => continue,
        };
        let shard = lease.shard();
        let mut broken = |what: String| {
            violations.push(Violation { property: "P2", at: entry.at, what });
        };
        if !highest.contains_key(&shard) {
            for parent in lineage.get(&shard).into_iter().flatten() {
                let last = put.get(parent).and_then(|put| put.last());
                if last > highest.get(parent) {
                    broken(format!("{shard} started before its parent {parent} was done"));
                }
            }
        }
        if !positions.is_sorted_by(|a, b| a < b) {
            broken(format!("a batch of {shard} is not in order"));
        }
        let Some(last) = positions.last() else { continue };
        let seen =
            highest.get(&shard).map_or(Checkpoint::TrimHorizon, |seen| Checkpoint::At(*seen));
        let is_place = |checkpoint: &Checkpoint| {
            !matches!(checkpoint, Checkpoint::AtTimestamp(_) | Checkpoint::Latest)
        };
        let from = reached.get(lease).map(|(_, reached)| *reached).filter(is_place);
        let after = from.map_or(seen, |from| seen.min(from));
        let put = put.get(&shard).map(Vec::as_slice).unwrap_or_default();
        let due = &put[..put.partition_point(|record| record <= last)];
        let due = &due[due.partition_point(|record| Checkpoint::At(*record) <= after)..];
        if let Some(skipped) = due.iter().find(|record| positions.binary_search(record).is_err()) {
            let place = format!("{shard} went on to {last} after {after}");
            broken(format!("{place}, although {skipped} was not delivered"));
        }
        if let Some((_, reached)) = reached.get_mut(lease) {
            *reached = Checkpoint::At(*last).max(*reached);
        }
        let top = highest.get(&shard).map_or(*last, |seen| *last.max(seen));
        highest.insert(shard, top);
    }
    violations
}
