//! P4: checkpoints only rise, never pass what was delivered, and no later fence starts below one.

use std::collections::BTreeMap;

use kcl_core::event::EventKind;
use kcl_core::protocol::{Checkpoint, Fence, LeaseKey, Position};

use super::{Entry, Violation, What};

/// Judges every checkpoint written and every place a consumer started at: not below what a former
/// owner told of, nor below what stood in the row as it came to the consumer's fence.
pub fn checkpoints_only_rise(history: &[Entry]) -> Vec<Violation> {
    let mut written: BTreeMap<LeaseKey, (Fence, Checkpoint)> = BTreeMap::new();
    let mut delivered: BTreeMap<LeaseKey, Position> = BTreeMap::new();
    let mut latest: BTreeMap<LeaseKey, Fence> = BTreeMap::new();
    // What was written under such a fence went with the row; its writer may hear of it later.
    let mut deleted: BTreeMap<LeaseKey, Fence> = BTreeMap::new();
    let mut violations = starts_below_rows(history);
    for entry in history {
        let event = match &entry.what {
            What::Given { lease, positions } => {
                if let Some(last) = positions.last() {
                    let highest = delivered.entry(lease.clone()).or_insert(*last);
                    *highest = (*highest).max(*last);
                }
                continue;
            }
            What::Event(event) => event,
            What::RowDeleted { lease } => {
                written.remove(lease);
                deleted.extend(latest.get(lease).map(|fence| (lease.clone(), *fence)));
                continue;
            }
            _ => continue,
        };
        let mut broken = |what: String| {
            violations.push(Violation { property: "P4", at: entry.at, what });
        };
        match &event.kind {
            EventKind::Checkpointed { lease, fence, checkpoint, .. } => {
                // A later fence may already have gone on from the row: its own start is checked.
                if let Some((former, before)) = written.get(lease)
                    && former == fence
                    && checkpoint < before
                {
                    broken(format!("{lease} went back from {before} to {checkpoint}"));
                }
                if let Checkpoint::At(position) = checkpoint
                    && delivered.get(lease) < Some(position)
                {
                    broken(format!("{lease} was checkpointed at {position}, never delivered"));
                }
                let newest = written.get(lease).is_none_or(|(former, _)| former <= fence);
                if newest && deleted.get(lease).is_none_or(|gone| gone < fence) {
                    written.insert(lease.clone(), (*fence, *checkpoint));
                }
            }
            EventKind::ConsumerStarted { lease, fence, checkpoint } => {
                // Of whom slept through a take it is heard late.
                let known = latest.entry(lease.clone()).or_insert(*fence);
                *known = (*known).max(*fence);
                if let Some((former, before)) = written.get(lease)
                    && former < fence
                    && checkpoint < before
                {
                    broken(format!("{lease} started at {checkpoint} after {before} was written"));
                }
            }
            _ => {}
        }
    }
    violations
}

/// Starts below what stood in the row as it came to their fence: a hand-over's checkpoint, say, of
/// which nobody tells.
fn starts_below_rows(history: &[Entry]) -> Vec<Violation> {
    let mut stood: BTreeMap<(&LeaseKey, Fence), Checkpoint> = BTreeMap::new();
    let mut violations = Vec::new();
    for entry in history {
        match &entry.what {
            What::RowWritten { lease, after, .. } => {
                stood.entry((lease, after.fence)).or_insert(after.checkpoint);
            }
            What::Event(event) => {
                if let EventKind::ConsumerStarted { lease, fence, checkpoint } = &event.kind
                    && let Some(stood) = stood.get(&(lease, *fence))
                    && checkpoint < stood
                {
                    let what = format!("{lease} started at {checkpoint}, and its row said {stood}");
                    violations.push(Violation { property: "P4", at: entry.at, what });
                }
            }
            _ => {}
        }
    }
    violations
}
