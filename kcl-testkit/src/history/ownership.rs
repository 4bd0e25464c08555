//! P5 for leases, and P7's count: every change of owner has a fence above all earlier ones.

use std::collections::BTreeMap;

use kcl_core::event::EventKind;
use kcl_core::protocol::{Fence, LeaseKey, Moment, WorkerId};

use super::{Entry, Violation, events};

/// No lease is held twice at one fence, and a later holder has the higher one.
pub fn every_ownership_has_a_higher_fence(history: &[Entry]) -> Vec<Violation> {
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
