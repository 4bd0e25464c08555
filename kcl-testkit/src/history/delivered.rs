//! P1: every record that was put is delivered at least once.

use std::collections::BTreeMap;

use kcl_core::event::EventKind;
use kcl_core::protocol::{Moment, Position, ShardId};

use super::{Entry, Violation, What};

/// Compares what was put with what processors were given, after the run has healed and drained. Of
/// a shard that the stream has dropped nobody owes what is left.
pub fn every_record_is_delivered(history: &[Entry]) -> Vec<Violation> {
    let mut put: BTreeMap<&ShardId, Vec<(Position, Moment)>> = BTreeMap::new();
    let mut settled: BTreeMap<ShardId, Vec<Position>> = BTreeMap::new();
    for entry in history {
        match &entry.what {
            What::Put { shard, positions } => {
                let of_shard = put.entry(shard).or_default();
                of_shard.extend(positions.iter().map(|position| (*position, entry.at)));
            }
            What::Trimmed { shard, positions } => {
                settled.entry(shard.clone()).or_default().extend(positions);
            }
            What::Given { lease, positions } => {
                settled.entry(lease.shard()).or_default().extend(positions);
            }
            What::Event(event) => {
                if let EventKind::ShardDropped { lease } = &event.kind {
                    put.remove(&lease.shard());
                }
            }
            _ => {}
        }
    }
    settled.values_mut().for_each(|positions| positions.sort_unstable());
    let mut violations = Vec::new();
    for (shard, mut records) in put {
        let settled = settled.get(shard).map(Vec::as_slice).unwrap_or_default();
        records.sort_unstable();
        let mut settled = settled.iter().peekable();
        records.retain(|(position, _)| {
            while settled.next_if(|before| *before < position).is_some() {}
            settled.peek() != Some(&position)
        });
        if let Some((first, at)) = records.first() {
            let what =
                format!("{} records of {shard} were never delivered, from {first}", records.len());
            violations.push(Violation { property: "P1", at: *at, what });
        }
    }
    violations
}
