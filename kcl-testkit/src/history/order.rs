//! P2: records come in order per shard, and parents before children.

use std::collections::BTreeMap;

use kcl_core::protocol::{Position, ShardId};

use super::{Entry, Violation, What, lineage};

/// Within a shard a record that was not delivered before follows every earlier delivery: a
/// redelivery may start again further back, but nothing new is skipped over. A child's first
/// record comes after every record of its parents was delivered.
pub fn records_come_in_order(history: &[Entry]) -> Vec<Violation> {
    let lineage = lineage(history);
    let mut put: BTreeMap<ShardId, Vec<Position>> = BTreeMap::new();
    let mut highest: BTreeMap<ShardId, Position> = BTreeMap::new();
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
        let (Some(first), Some(last)) = (positions.first(), positions.last()) else { continue };
        let seen = highest.get(&shard).copied();
        // What lies between the highest delivered so far and the start of this batch.
        let put = put.get(&shard).map(Vec::as_slice).unwrap_or_default();
        let before = &put[..put.partition_point(|record| record < first)];
        let skipped = before.last().filter(|record| Some(**record) > seen);
        if let Some(skipped) = skipped {
            broken(format!("{shard} went on at {first} although {skipped} was not delivered"));
        }
        let top = seen.map_or(*last, |seen| seen.max(*last));
        highest.insert(shard, top);
    }
    violations
}
