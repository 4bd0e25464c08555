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
    let mut order = Order { lineage: lineage(history), ..Order::default() };
    let mut violations = Vec::new();
    for entry in history {
        if let What::Given { lease, positions } = &entry.what {
            let broken = |what| Violation { property: "P2", at: entry.at, what };
            violations.extend(order.given(lease, positions).into_iter().map(broken));
        } else {
            order.note(&entry.what);
        }
    }
    violations
}

/// How far every shard and every reader of one has come.
#[derive(Default)]
struct Order {
    lineage: BTreeMap<ShardId, Vec<ShardId>>,
    put: BTreeMap<ShardId, Vec<Position>>,
    /// The highest record that anybody was given.
    highest: BTreeMap<ShardId, Position>,
    /// Who reads a lease, by the fence, and up to where that one was given records.
    reached: BTreeMap<LeaseKey, (Fence, Checkpoint)>,
}

impl Order {
    fn note(&mut self, what: &What) {
        match what {
            What::Put { shard, positions } => {
                let put = self.put.entry(shard.clone()).or_default();
                let follow = put.last() < positions.first() && positions.is_sorted();
                put.extend(positions);
                if !follow {
                    put.sort_unstable();
                }
            }
            What::Trimmed { shard, positions } => {
                let put = self.put.entry(shard.clone()).or_default();
                put.retain(|position| !positions.contains(position));
            }
            What::Event(event) => {
                if let EventKind::ConsumerStarted { lease, fence, checkpoint } = &event.kind
                    // Of whom slept through a take it is heard late.
                    && self.reached.get(lease).is_none_or(|(known, _)| known <= fence)
                {
                    self.reached.insert(lease.clone(), (*fence, *checkpoint));
                }
            }
            _ => {}
        }
    }

    /// What is wrong with this batch.
    fn given(&mut self, lease: &LeaseKey, positions: &[Position]) -> Vec<String> {
        let shard = lease.shard();
        let mut broken = Vec::new();
        if !self.highest.contains_key(&shard) {
            for parent in self.lineage.get(&shard).into_iter().flatten() {
                let last = self.put.get(parent).and_then(|put| put.last());
                if last > self.highest.get(parent) {
                    broken.push(format!("{shard} started before its parent {parent} was done"));
                }
            }
        }
        if !positions.is_sorted_by(|a, b| a < b) {
            broken.push(format!("a batch of {shard} is not in order"));
        }
        let (Some(first), Some(last)) = (positions.first(), positions.last()) else {
            return broken;
        };
        let after = self.after(lease);
        let put = self.put.get(&shard).map(Vec::as_slice).unwrap_or_default();
        let due = &put[..put.partition_point(|record| record <= last)];
        let due = match after {
            // Where these lead the first batch tells.
            Checkpoint::AtTimestamp(_) | Checkpoint::Latest => {
                &due[due.partition_point(|record| record < first)..]
            }
            place => &due[due.partition_point(|record| Checkpoint::At(*record) <= place)..],
        };
        if let Some(skipped) = due.iter().find(|record| positions.binary_search(record).is_err()) {
            let place = format!("{shard} went on to {last} after {after}");
            broken.push(format!("{place}, although {skipped} was not delivered"));
        }
        if let Some((_, reached)) = self.reached.get_mut(lease) {
            *reached = Checkpoint::At(*last).max(*reached);
        }
        let top = self.highest.get(&shard).map_or(*last, |seen| *last.max(seen));
        self.highest.insert(shard, top);
        broken
    }

    /// After which place every record of this lease is due: no later than what is new.
    fn after(&self, lease: &LeaseKey) -> Checkpoint {
        let seen = self.highest.get(&lease.shard()).map(|seen| Checkpoint::At(*seen));
        let reached = self.reached.get(lease).map(|(_, reached)| *reached);
        match (reached, seen) {
            (Some(Checkpoint::AtTimestamp(_) | Checkpoint::Latest), Some(seen)) => seen,
            (Some(reached), Some(seen)) => reached.min(seen),
            (reached, seen) => reached.or(seen).unwrap_or(Checkpoint::TrimHorizon),
        }
    }
}
