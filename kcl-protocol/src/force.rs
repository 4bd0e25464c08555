//! Taking a lease from an owner that does not answer an ask: revoke, wait, take.

use std::time::Duration;

use crate::ids::{EntryId, Fence, LeaseKey, WorkerId};
use crate::limits::ASK_PATIENCE;
use crate::rows::{InboxEntry, Lease, WorkerState};
use crate::rules::{Mutant, Rules};
use crate::time::{LeaseTiming, Moment};
use crate::writes::{WorkerChange, WorkerCondition, WorkerWrite};

/// How long an ask may stay undecided before it is forced.
pub fn ask_patience(timing: LeaseTiming) -> Duration {
    ASK_PATIENCE + timing.heartbeat()
}

/// Revokes a lease whose owner did not answer an ask: an entry of its own, and only while the ask
/// still stands (the owner removes an ask once it has decided it).
pub fn revoke(
    owner: &WorkerId,
    ask: EntryId,
    id: EntryId,
    lease: &LeaseKey,
    fence: Fence,
    to: &WorkerId,
    rules: Rules,
) -> WorkerWrite {
    let id = if rules.breaks(Mutant::MarkInAsk) { ask } else { id };
    WorkerWrite::Update {
        id: owner.clone(),
        when: vec![WorkerCondition::StateIs(WorkerState::Live), WorkerCondition::InboxHas(ask)],
        change: vec![WorkerChange::InboxPut(
            id,
            InboxEntry::Revoke { lease: lease.clone(), fence, to: to.clone() },
        )],
    }
}

/// When a lease may be taken whose revocation has stood in its owner's row since `stands_since`:
/// after the owner's own `D_take` it has seen it, or is no longer valid.
pub fn due(stands_since: Moment, owner: LeaseTiming, rules: Rules) -> Moment {
    if rules.breaks(Mutant::ForceWithoutWait) { stands_since } else { stands_since + owner.take() }
}

/// The row a forced take is conditioned on: as it was when the lease was asked for. `now` is what
/// a later read shows, and is never used.
pub fn seen<'a>(asked: &'a Lease, now: Option<&'a Lease>, rules: Rules) -> &'a Lease {
    match now {
        Some(now) if rules.breaks(Mutant::ForceRereadsFence) && now.owner == asked.owner => now,
        _ => asked,
    }
}

/// Removes a revocation from another worker's inbox, which no worker may do.
#[cfg(feature = "mutants")]
pub fn unmark(owner: &WorkerId, id: EntryId) -> WorkerWrite {
    let change = vec![WorkerChange::InboxRemove(id)];
    WorkerWrite::Update { id: owner.clone(), when: Vec::new(), change }
}
