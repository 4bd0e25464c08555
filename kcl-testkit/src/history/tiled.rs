//! P8: leases and pending children tile the hash key space.

use std::collections::{BTreeMap, BTreeSet};

use kcl_core::Shard;
use kcl_core::event::EventKind;
use kcl_core::protocol::hash_audit::audit;
use kcl_core::protocol::{Lease, LeaseKey, Moment, ShardId};

use super::{Entry, Violation, What, lineage};

/// Judges the leases of a fleet by the listing of its stream: no hole, and no key twice.
pub fn leases_tile_the_hash_space(
    at: Moment,
    leases: &BTreeMap<LeaseKey, Lease>,
    shards: &[Shard],
) -> Vec<Violation> {
    let listed = shards.iter().map(|shard| shard.id.clone()).collect();
    let faults = audit(leases, &listed).into_iter();
    let words = faults.map(|fault| format!("{} is covered {} times", fault.range, fault.cover));
    words.map(|what| Violation { property: "P8", at, what }).collect()
}

/// At no moment is a shard ended and a child of it without a lease: a sync would mend that, if the
/// parent is listed by then. A shard that the stream has dropped ends with what is left of its
/// children. Histories without [`What::RowWritten`] entries tell nothing here.
pub fn no_shard_ends_before_its_children_have_leases(history: &[Entry]) -> Vec<Violation> {
    let mut made: BTreeMap<ShardId, Moment> = BTreeMap::new();
    let (mut ended, mut dropped) = (Vec::new(), BTreeSet::new());
    for entry in history {
        match &entry.what {
            What::RowWritten { lease, before, after } => {
                if before.is_none() {
                    made.entry(lease.shard()).or_insert(entry.at);
                }
                if after.checkpoint.is_shard_end() {
                    ended.push((lease.shard(), entry.at));
                }
            }
            What::Event(event) => {
                if let EventKind::ShardDropped { lease } = &event.kind {
                    dropped.insert(lease.shard());
                }
            }
            _ => {}
        }
    }
    ended.retain(|(shard, _)| !dropped.contains(shard));
    let lineage = lineage(history);
    let mut violations = Vec::new();
    for (parent, at) in ended {
        let children = lineage.iter().filter(|(_, parents)| parents.contains(&parent));
        // What one request writes is noted at one moment, in any order.
        let late = children.filter(|(child, _)| made.get(*child).is_none_or(|made| *made > at));
        violations.extend(late.map(|(child, _)| {
            let what = format!("{parent} had ended before {child} had a lease");
            Violation { property: "P8", at, what }
        }));
    }
    violations
}
