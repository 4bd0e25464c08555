//! P5: an effect with a lower fence than one accepted is rejected, and each applies once.

use std::collections::{BTreeMap, BTreeSet};

use kcl_core::protocol::{Fence, LeaseKey};

use super::{Entry, Violation, What};

/// Judges every application of effects, in the order in which the table applied them.
pub fn effects_apply_once_and_never_below_an_accepted_fence(history: &[Entry]) -> Vec<Violation> {
    let mut highest: BTreeMap<LeaseKey, Fence> = BTreeMap::new();
    let mut applied = BTreeSet::new();
    let mut violations = Vec::new();
    for entry in history {
        let What::Effects { lease, fence, ordinal } = &entry.what else { continue };
        let mut broken = |what: String| {
            violations.push(Violation { property: "P5", at: entry.at, what });
        };
        let top = highest.entry(lease.clone()).or_insert(*fence);
        if *fence < *top {
            broken(format!("an effect of {lease} at fence {fence} applied after one at {top}"));
        }
        *top = (*top).max(*fence);
        if !applied.insert((lease.clone(), *fence, *ordinal)) {
            broken(format!("an effect of {lease} at fence {fence} applied twice"));
        }
    }
    violations
}
