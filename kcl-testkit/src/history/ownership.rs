//! P5 for leases, and P7's count: a fence has one holder, so every change of owner has a new one.

use std::collections::BTreeMap;

use kcl_core::event::EventKind;
use kcl_core::protocol::{Fence, LeaseKey, Moment, WorkerId};

use super::{Entry, Violation, events};

/// No two workers hold a lease at one fence. That a later one is higher the rows show, where they
/// are recorded; elsewhere it is the table's part, which refuses a write at any other: the
/// conformance suites hold it to that.
pub fn no_fence_has_two_holders(history: &[Entry]) -> Vec<Violation> {
    let mut held: BTreeMap<(LeaseKey, Fence), WorkerId> = BTreeMap::new();
    let mut violations = Vec::new();
    for (at, event) in events(history) {
        let EventKind::LeaseHeld { lease, fence, .. } = &event.kind else { continue };
        let holder = held.entry((lease.clone(), *fence)).or_insert_with(|| event.worker.clone());
        if *holder != event.worker {
            let what = format!("{holder} and {} both held {lease} at fence {fence}", event.worker);
            violations.push(Violation { property: "P5", at, what });
        }
    }
    violations
}

/// Leases that came to a worker between two moments: a quiet fleet has none.
pub fn moves(history: &[Entry], from: Moment, to: Moment) -> usize {
    let in_time = events(history).filter(|(at, _)| (from..to).contains(at));
    in_time.filter(|(_, event)| matches!(event.kind, EventKind::LeaseHeld { .. })).count()
}
