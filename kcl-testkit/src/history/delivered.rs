//! P1: every record that was put is delivered at least once.

use std::collections::{BTreeMap, BTreeSet};

use kcl_core::protocol::{Moment, Position, ShardId};

use super::{Entry, Violation, What};

/// Compares what was put with what processors were given, after the run has healed and drained.
pub fn every_record_is_delivered(history: &[Entry]) -> Vec<Violation> {
    let mut missing: BTreeMap<ShardId, BTreeMap<Position, Moment>> = BTreeMap::new();
    let mut given: BTreeMap<ShardId, BTreeSet<Position>> = BTreeMap::new();
    for entry in history {
        match &entry.what {
            What::Put { shard, position } => {
                missing.entry(shard.clone()).or_default().insert(*position, entry.at);
            }
            What::Trimmed { shard, positions } => {
                given.entry(shard.clone()).or_default().extend(positions);
            }
            What::Given { lease, positions } => {
                given.entry(lease.shard()).or_default().extend(positions);
            }
            _ => {}
        }
    }
    let mut violations = Vec::new();
    for (shard, records) in missing {
        let given = given.get(&shard);
        let lost: Vec<_> = records
            .iter()
            .filter(|(position, _)| !given.is_some_and(|given| given.contains(position)))
            .collect();
        if let Some((first, at)) = lost.first() {
            let what =
                format!("{} records of {shard} were never delivered, from {first}", lost.len());
            violations.push(Violation { property: "P1", at: **at, what });
        }
    }
    violations
}
