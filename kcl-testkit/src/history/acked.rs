//! P4: no checkpoint passes a record that was delivered and not acked.

use std::collections::{BTreeMap, BTreeSet};

use kcl_core::event::EventKind;
use kcl_core::protocol::{Checkpoint, Fence, LeaseKey, Position};

use super::{Entry, Violation, What};

/// Judges every checkpoint by what was delivered under its fence and what of that was acked.
/// Histories without [`What::Acked`] entries tell nothing here.
pub fn no_checkpoint_passes_an_unacked_record(history: &[Entry]) -> Vec<Violation> {
    if !history.iter().any(|entry| matches!(entry.what, What::Acked { .. })) {
        return Vec::new();
    }
    // Of each lease: the fence that delivers, and what it has out.
    let mut out: BTreeMap<LeaseKey, (Fence, BTreeSet<Position>)> = BTreeMap::new();
    let mut violations = Vec::new();
    for entry in history {
        match &entry.what {
            What::Given { lease, positions } => {
                if let Some((_, out)) = out.get_mut(lease) {
                    out.extend(positions);
                }
            }
            // Gone before it was delivered again: nobody can ack it any more.
            What::Trimmed { shard, positions } => {
                for (_, (_, out)) in out.iter_mut().filter(|(lease, _)| lease.shard() == *shard) {
                    out.retain(|position| !positions.contains(position));
                }
            }
            What::Acked { lease, fence, positions } => {
                if let Some((_, out)) = out.get_mut(lease).filter(|(of, _)| of == fence) {
                    for position in positions {
                        out.remove(position);
                    }
                }
            }
            What::Event(event) => match &event.kind {
                EventKind::ConsumerStarted { lease, fence, .. } => {
                    out.insert(lease.clone(), (*fence, BTreeSet::new()));
                }
                EventKind::DeadLettered { lease, fence, at } => {
                    if let Some((_, out)) = out.get_mut(lease).filter(|(of, _)| of == fence) {
                        out.remove(at);
                    }
                }
                EventKind::Checkpointed { lease, fence, checkpoint, .. } => {
                    let Some((_, out)) = out.get(lease).filter(|(of, _)| of == fence) else {
                        continue;
                    };
                    let unacked = out.first().filter(|first| match checkpoint {
                        Checkpoint::At(position) => *first <= position,
                        Checkpoint::ShardEnd => true,
                        _ => false,
                    });
                    if let Some(first) = unacked {
                        let what = format!(
                            "{lease} was checkpointed at {checkpoint}, past unacked {first}"
                        );
                        violations.push(Violation { property: "P4", at: entry.at, what });
                    }
                }
                _ => {}
            },
            _ => {}
        }
    }
    violations
}
