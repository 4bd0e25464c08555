//! P3: no two workers deliver one shard at the same time, and none delivers outside its validity.

use std::collections::BTreeMap;

use kcl_core::event::EventKind;
use kcl_core::protocol::{Fence, LeaseKey, WorkerId};

use super::{Entry, Violation, events};

/// Batches of one lease never overlap, unless the earlier one's worker had lost its validity by
/// its own clock (it is cancelled at its next poll, and polls no more); and each starts within its
/// worker's validity.
pub fn no_two_workers_deliver_one_shard(history: &[Entry]) -> Vec<Violation> {
    let mut running: BTreeMap<LeaseKey, (WorkerId, Fence)> = BTreeMap::new();
    let mut fences: BTreeMap<LeaseKey, Fence> = BTreeMap::new();
    let mut violations = Vec::new();
    for (at, event) in events(history) {
        let mut broken = |what: String| {
            violations.push(Violation { property: "P3", at, what });
        };
        match &event.kind {
            EventKind::BatchStarted { lease, fence, valid_until, .. } => {
                if event.at >= *valid_until {
                    broken(format!(
                        "{} started a batch of {lease} past its validity",
                        event.worker
                    ));
                }
                if let Some((other, held)) = running.get(lease)
                    && *held >= *fence
                    && *other != event.worker
                {
                    broken(format!(
                        "{} started a batch of {lease} at fence {fence} while {other} ran one at {held}",
                        event.worker
                    ));
                }
                let highest = fences.entry(lease.clone()).or_insert(*fence);
                if fence < highest {
                    broken(format!(
                        "{} started a batch of {lease} at fence {fence} after one at {highest}",
                        event.worker
                    ));
                }
                *highest = (*highest).max(*fence);
                running.insert(lease.clone(), (event.worker.clone(), *fence));
            }
            EventKind::BatchEnded { lease, fence, .. } => {
                if running.get(lease) == Some(&(event.worker.clone(), *fence)) {
                    running.remove(lease);
                }
            }
            _ => {}
        }
    }
    violations
}
