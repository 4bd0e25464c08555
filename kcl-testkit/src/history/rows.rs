//! P4, P5 and P8 on the rows themselves: what a write does to a lease is judged whether or not
//! anybody tells of it, or ever hears of it.

use std::collections::BTreeMap;

use kcl_core::protocol::{Fence, LeaseKey};

use super::{Entry, Standing, Violation, What};

/// In the row of a lease the fence never falls, rises with every change of the owner, and does not
/// start over in a row that is made anew; the checkpoint never falls; what has ended is final, and
/// nothing else is deleted but by hand, or by a reset, which is not to be noted.
pub fn rows_change_as_they_may(history: &[Entry]) -> Vec<Violation> {
    let mut highest: BTreeMap<&LeaseKey, Fence> = BTreeMap::new();
    let mut violations = Vec::new();
    for entry in history {
        let told = |lease: &LeaseKey, (property, what): (&'static str, String)| Violation {
            property,
            at: entry.at,
            what: format!("the row of {lease} {what}"),
        };
        let (lease, before, after) = match &entry.what {
            What::RowWritten { lease, before, after } => (lease, before, after),
            What::RowCollected { lease, before } if !before.checkpoint.is_shard_end() => {
                let amiss = ("P1", format!("was deleted by a worker, at {before}"));
                violations.push(told(lease, amiss));
                continue;
            }
            _ => continue,
        };
        let former = highest.get(lease).copied();
        let amiss = match before {
            Some(before) => amiss(before, after),
            None => made_anew(former, after),
        };
        violations.extend(amiss.map(|amiss| told(lease, amiss)));
        // Under the fence that a row is made at nobody acts: whoever takes it raises that first.
        if before.is_some() {
            highest.insert(lease, former.unwrap_or(after.fence).max(after.fence));
        }
    }
    violations
}

/// What is wrong with a row that was changed, and the promise that it breaks.
fn amiss(before: &Standing, after: &Standing) -> Option<(&'static str, String)> {
    let told = |property, why: &str| Some((property, format!("{why}: from {before} to {after}")));
    let is_moved = before.owner != after.owner;
    if before.checkpoint.is_shard_end() && before != after {
        return told("P8", "had ended, and was changed");
    }
    if after.fence < before.fence {
        return told("P5", "went back to an earlier fence");
    }
    if is_moved && after.fence == before.fence {
        return told("P5", "changed its owner and not its fence");
    }
    if after.checkpoint < before.checkpoint {
        return told("P4", "went back to an earlier checkpoint");
    }
    None
}

/// A row that was deleted may start over, but not at a fence that somebody may still act under.
fn made_anew(former: Option<Fence>, after: &Standing) -> Option<(&'static str, String)> {
    let former = former.filter(|former| after.fence <= *former)?;
    Some(("P5", format!("was made anew after fence {former} had stood in it: {after}")))
}
