//! P4: a prepared checkpoint is never lost between its preparation and a checkpoint that reaches
//! it.

use std::collections::{BTreeMap, BTreeSet};

use kcl_core::event::EventKind;
use kcl_core::protocol::{Checkpoint, Fence, LeaseKey, Position};

use super::{Entry, Violation, What};

/// What is known of a lease.
#[derive(Default)]
struct Known {
    /// Of the processor made last: what earlier ones are told late tells nothing.
    fence: Fence,
    /// Written, as the owner was told.
    stands: Option<Position>,
    /// Asked for since: may have been written although nobody was told.
    asked: BTreeSet<Position>,
}

impl Known {
    /// The row is gone, and what stood in it; an owner that has not noticed may still go by it.
    fn lose(&mut self) {
        self.asked.extend(self.stands.take());
    }
}

/// Judges what each processor found prepared as it was made: exactly the last one written, unless a
/// checkpoint has reached it, or another was asked for since; and always with its own state.
/// Histories without [`What::Found`] entries tell nothing here.
pub fn prepared_checkpoints_are_found_until_reached(history: &[Entry]) -> Vec<Violation> {
    let mut leases: BTreeMap<LeaseKey, Known> = BTreeMap::new();
    let mut violations = Vec::new();
    for entry in history {
        match &entry.what {
            What::Preparing { lease, position } => {
                leases.entry(lease.clone()).or_default().asked.insert(*position);
            }
            What::RowDeleted { lease } => leases.entry(lease.clone()).or_default().lose(),
            What::Event(event) => match &event.kind {
                EventKind::Prepared { lease, fence, at } => {
                    let known = leases.entry(lease.clone()).or_default();
                    if *fence >= known.fence {
                        known.stands = Some(*at);
                        known.asked.remove(at);
                    }
                }
                EventKind::LeaseRowDeleted { lease } => {
                    leases.entry(lease.clone()).or_default().lose();
                }
                _ => {}
            },
            What::Found { lease, fence, checkpoint, prepared } => {
                let known = leases.entry(lease.clone()).or_default();
                if *fence < known.fence {
                    // It slept through a take: it stops before it is given anything.
                    continue;
                }
                let beyond = |at: &Position| Checkpoint::At(*at) > *checkpoint;
                let found = prepared.as_ref().map(|prepared| prepared.checkpoint);
                let wanted = known.stands.filter(beyond).map(Checkpoint::At);
                let asked = known.asked.iter().any(|at| Some(Checkpoint::At(*at)) == found);
                let is_its_own = prepared.as_ref().is_none_or(|prepared| {
                    prepared.state.as_ref() == prepared.checkpoint.to_string().as_bytes()
                });
                if (found != wanted && !asked) || !is_its_own {
                    let what = format!(
                        "{lease} goes on at {checkpoint} with {prepared:?} prepared, not {wanted:?}"
                    );
                    violations.push(Violation { property: "P4", at: entry.at, what });
                }
                // Made anew under one fence, it may go on beyond what the row says so far: what
                // stands there stays until a checkpoint that is written reaches it.
                if let Some(Checkpoint::At(at)) = found {
                    known.stands = Some(at);
                }
                if *fence > known.fence {
                    (known.fence, known.asked) = (*fence, BTreeSet::new());
                }
            }
            _ => {}
        }
    }
    violations
}
