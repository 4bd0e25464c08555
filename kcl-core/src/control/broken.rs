//! What a worker does that breaks a rule which no decision of `kcl-protocol` can break: each of
//! these does nothing unless its own rule is the one that is broken, and none of it is compiled
//! without the feature `mutants`.

use kcl_protocol::{CasOutcome, InboxEntry, Lease, LeaseKey, LeaseWrite, Mutant, force, moves};

use super::Control;
use super::ops::{Done, operation};
use crate::registration::Registration;
use crate::table::TableError;

impl Registration {
    /// A forced take goes by the fence that stands now.
    pub(super) async fn reread(&self, asked: Lease) -> Result<Lease, TableError> {
        if !self.rules.breaks(Mutant::ForceRereadsFence) {
            return Ok(asked);
        }
        let now = self.read_lease(&asked.key).await?;
        Ok(force::seen(&asked, now.as_ref(), self.rules).clone())
    }

    /// A take extends validity.
    pub(super) fn extend_validity(&self, take: &CasOutcome) {
        if self.rules.breaks(Mutant::TakeExtendsValidity) && take.is_won() {
            self.validity.set(self.clock.monotonic() + self.timing.own());
        }
    }

    /// A hand-over leaves the ordinal as it is.
    pub(super) async fn keep_ordinal(
        &self,
        key: &LeaseKey,
        write: LeaseWrite,
    ) -> Result<LeaseWrite, TableError> {
        if !self.rules.breaks(Mutant::HandOverKeepsOrdinal) {
            return Ok(write);
        }
        let ordinal = self.read_lease(key).await?.map(|lease| lease.ordinal);
        Ok(moves::keep_ordinal(write, ordinal.unwrap_or_default()))
    }
}

impl Control<'_> {
    /// The taker removes its revocation.
    pub(super) fn unmark(&mut self, asked: &Lease) {
        let view = self.registration.view();
        let donor = asked.owner.as_ref().and_then(|owner| view.workers.get(owner));
        let Some(donor) =
            donor.filter(|_| self.registration.rules.breaks(Mutant::MarkRemovedByTaker))
        else {
            return;
        };
        let is_mark = |entry: &InboxEntry| {
            matches!(entry, InboxEntry::Revoke { lease, fence, .. }
                if *lease == asked.key && *fence == asked.fence)
        };
        for id in donor.inbox.iter().filter(|(_, entry)| is_mark(entry)).map(|(id, _)| *id) {
            let write = force::unmark(&donor.id, id);
            self.operations.push(operation(&self.registration, |registration| async move {
                registration.write_worker(write).await?;
                Ok(Done::Nothing)
            }));
        }
    }
}
