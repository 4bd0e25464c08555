//! What other workers ask of this one, and leases on their way out.

use kcl_protocol::moves::granted;
use kcl_protocol::{EntryId, Fence, InboxEntry, LeaseKey, WorkerId, WorkerRow};

use super::ops::{Claim, Done, LetGo, operation};
use super::{After, Control};
use crate::consumer::StopReason;
use crate::event::{EventKind, HoldReason};
use crate::table::TableError;

/// An ask this worker is deciding.
pub(super) struct AskInHand {
    leases: Vec<(LeaseKey, Fence)>,
    to: WorkerId,
    have: u32,
    /// Leases on their way, whose end is not known yet.
    remaining: usize,
    given: Vec<(LeaseKey, Fence)>,
}

impl Control<'_> {
    pub(super) fn read_inbox(&mut self, mine: &WorkerRow) {
        for (id, entry) in &mine.inbox {
            if self.in_hand.contains_key(id) || self.registration.decided(|set| set.contains(id)) {
                continue;
            }
            match entry {
                InboxEntry::Ask { leases, to, have } => self.take_ask(*id, leases, to, *have),
                InboxEntry::Grant { leases } => {
                    for (key, fence) in leases {
                        if self.registration.holdings(|held| held.fence(key) < Some(*fence)) {
                            self.claim(key, Claim::Read, HoldReason::HandedOver, None);
                        }
                    }
                    self.registration.decide(*id);
                }
                // The liveness loop ended the permit before it raised validity.
                InboxEntry::Revoke { lease, fence, to } => {
                    if self.consumers.fence(lease) == Some(*fence) {
                        self.after.insert(lease.clone(), After::Give(to.clone(), None));
                    }
                }
            }
        }
    }

    fn take_ask(&mut self, id: EntryId, leases: &[(LeaseKey, Fence)], to: &WorkerId, have: u32) {
        let ask = AskInHand {
            leases: leases.to_vec(),
            to: to.clone(),
            have,
            remaining: 0,
            given: Vec::new(),
        };
        self.in_hand.insert(id, ask);
        if let Some(row) = self.registration.view().workers.get(to) {
            self.decide_ask(id, Some(row));
            return;
        }
        let to = to.clone();
        self.operations.push(operation(&self.registration, |registration| async move {
            let row = match registration.read_worker(&to).await {
                // Nothing is given to whom nobody can read.
                Err(TableError::BadRow { .. }) => None,
                row => row?,
            };
            Ok(Done::Asker { ask: id, row })
        }));
    }

    pub(super) fn decide_ask(&mut self, id: EntryId, asker: Option<&WorkerRow>) {
        let Some(ask) = self.in_hand.get(&id) else { return };
        let (leases, have, to) = (ask.leases.clone(), ask.have, ask.to.clone());
        let free: Vec<_> = leases
            .into_iter()
            .filter(|(key, _)| !self.after.contains_key(key) && self.consumers.is_running(key))
            .collect();
        let granted = self.registration.holdings(|held| granted(&free, have, asker, held));
        if let Some(ask) = self.in_hand.get_mut(&id) {
            ask.remaining = granted.len();
        }
        for (key, _) in granted {
            self.after.insert(key.clone(), After::Give(to.clone(), Some(id)));
            self.consumers.stop(&key, StopReason::HandOver);
        }
        self.finish_ask(id);
    }

    /// Once every lease of an ask is settled, the asker is told and the entry may go.
    fn finish_ask(&mut self, id: EntryId) {
        if self.in_hand.get(&id).is_none_or(|ask| ask.remaining > 0) {
            return;
        }
        let Some(ask) = self.in_hand.remove(&id) else { return };
        self.registration.decide(id);
        if !ask.given.is_empty() {
            self.operations.push(operation(&self.registration, |registration| async move {
                registration.grant(&ask.to, ask.given).await?;
                Ok(Done::Nothing)
            }));
        }
    }

    pub(super) fn was_let_go(&mut self, key: LeaseKey, ask: Option<EntryId>, outcome: LetGo) {
        self.settle(&key, matches!(outcome, LetGo::Kept(..)));
        let given = match outcome {
            LetGo::Given(to, fence) => {
                self.registration.observe(EventKind::LeaseGiven { lease: key.clone(), fence, to });
                Some((key, fence))
            }
            LetGo::Gone => {
                self.registration.observe(EventKind::LeaseReleased { lease: key });
                None
            }
            LetGo::Kept(lease, permit) => {
                self.run_lease(lease, permit, HoldReason::Adopted, None);
                None
            }
        };
        let Some(id) = ask else { return };
        if let Some(ask) = self.in_hand.get_mut(&id) {
            ask.remaining = ask.remaining.saturating_sub(1);
            ask.given.extend(given);
        }
        self.finish_ask(id);
    }

    /// An ask whose lease did not come to be handed over (it ended, or was lost).
    pub(super) fn drop_from_ask(&mut self, after: Option<After>) {
        if let Some(After::Give(_, Some(id))) = after {
            if let Some(ask) = self.in_hand.get_mut(&id) {
                ask.remaining = ask.remaining.saturating_sub(1);
            }
            self.finish_ask(id);
        }
    }
}
