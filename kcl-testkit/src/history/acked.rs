//! P4: no checkpoint passes a record that was delivered and not acked.

use std::collections::{BTreeMap, BTreeSet};

use kcl_core::ExitReason;
use kcl_core::event::EventKind;
use kcl_core::protocol::{Checkpoint, Fence, LeaseKey, Position};

use super::{Entry, Violation, What};

/// Judges every checkpoint, and how far every consumer says it came as it stops, by what was
/// delivered under its fence and what of that was acked. The end of a shard is committed only after
/// a consumer came to it with nothing out, or once the stream has dropped the shard.
/// Histories without [`What::Acked`] entries tell nothing here.
pub fn no_checkpoint_passes_an_unacked_record(history: &[Entry]) -> Vec<Violation> {
    if !history.iter().any(|entry| matches!(entry.what, What::Acked { .. })) {
        return Vec::new();
    }
    let mut out = Out::default();
    let mut violations = Vec::new();
    for entry in history {
        let broken = match &entry.what {
            What::Event(event) => out.hear(&event.kind),
            other => {
                out.note(other);
                None
            }
        };
        violations.extend(broken.map(|what| Violation { property: "P4", at: entry.at, what }));
    }
    violations
}

/// What is delivered and not acked.
#[derive(Default)]
struct Out {
    /// Of each lease: the fence that delivers, and what it has out.
    leases: BTreeMap<LeaseKey, (Fence, BTreeSet<Position>)>,
    /// Leases of which a consumer came to the end.
    ended: BTreeSet<LeaseKey>,
    /// Leases whose row was deleted since a consumer started: it may come back at any fence.
    deleted: BTreeSet<LeaseKey>,
}

impl Out {
    fn of(&mut self, lease: &LeaseKey, fence: Fence) -> Option<&mut BTreeSet<Position>> {
        self.leases.get_mut(lease).filter(|(of, _)| *of == fence).map(|(_, out)| out)
    }

    fn note(&mut self, what: &What) {
        match what {
            What::Given { lease, positions } => {
                if let Some((_, out)) = self.leases.get_mut(lease) {
                    out.extend(positions);
                }
            }
            // Gone before it was delivered again: nobody can ack it any more.
            What::Trimmed { shard, positions } => {
                let of_shard = |(lease, _): &(&LeaseKey, _)| lease.shard() == *shard;
                for (_, (_, out)) in self.leases.iter_mut().filter(of_shard) {
                    out.retain(|position| !positions.contains(position));
                }
            }
            What::Acked { lease, fence, positions } => {
                if let Some(out) = self.of(lease, *fence) {
                    for position in positions {
                        out.remove(position);
                    }
                }
            }
            What::RowDeleted { lease } => drop(self.deleted.insert(lease.clone())),
            _ => {}
        }
    }

    /// What is amiss with this event.
    fn hear(&mut self, event: &EventKind) -> Option<String> {
        match event {
            EventKind::ConsumerStarted { lease, fence, .. } => {
                let starts_over = self.deleted.remove(lease);
                let known = self.leases.get(lease);
                // Of whom slept through a take it is heard late: it is given nothing.
                if starts_over || known.is_none_or(|(known, _)| known <= fence) {
                    self.leases.insert(lease.clone(), (*fence, BTreeSet::new()));
                }
            }
            EventKind::DeadLettered { lease, fence, at } => {
                self.of(lease, *fence)?.remove(at);
            }
            EventKind::Checkpointed { lease, fence, checkpoint, .. } => {
                let first = self.passed(lease, *fence, *checkpoint)?;
                return Some(format!(
                    "{lease} was checkpointed at {checkpoint}, past unacked {first}"
                ));
            }
            EventKind::ConsumerStopped { lease, fence, acked, reason } => {
                let is_end = *reason == ExitReason::Ended { children: Vec::new() }.word();
                if is_end {
                    self.ended.insert(lease.clone());
                }
                let up_to = if is_end { Checkpoint::ShardEnd } else { *acked };
                let first = self.passed(lease, *fence, up_to)?;
                return Some(format!(
                    "{lease} stopped ({reason}) at {up_to}, past unacked {first}"
                ));
            }
            EventKind::ShardDropped { lease } => {
                self.ended.insert(lease.clone());
            }
            EventKind::ShardEnded { lease } if !self.ended.contains(lease) => {
                return Some(format!("{lease} was ended, and no consumer came to its end"));
            }
            _ => {}
        }
        None
    }

    /// The first record that is out and lies at or below this checkpoint.
    fn passed(&mut self, lease: &LeaseKey, fence: Fence, at: Checkpoint) -> Option<Position> {
        let first = *self.of(lease, fence)?.first()?;
        (Checkpoint::At(first) <= at).then_some(first)
    }
}
