//! Asking other workers for leases, and what happens when they do not answer.

use std::collections::BTreeMap;

use kcl_protocol::force::{self, ask_patience};
use kcl_protocol::moves;
use kcl_protocol::{EntryId, InboxEntry, Lease, LeaseKey, Moment, WorkerId};

use super::ops::{Claim, Done, operation};
use super::{Control, Timer};
use crate::event::{EventKind, HoldReason};
use crate::hints::Hint;

/// An ask that its donor has not decided yet.
pub(super) struct OpenAsk {
    donor: WorkerId,
    /// What is still missing, as it was seen when it was asked for: a forced take is conditioned
    /// on this fence, never on one read later.
    open: BTreeMap<LeaseKey, Lease>,
    /// When the donor's row took it.
    sent_at: Option<Moment>,
    next_read: Moment,
    forced: bool,
}

impl Control<'_> {
    pub(super) fn ask(&mut self, donor: WorkerId, leases: Vec<Lease>) {
        let id = self.registration.random.entry_id();
        let counted = self.settings.config.weight.is_none();
        let have = if counted { self.registration.holdings(|held| held.load()) } else { 0 };
        let entry = InboxEntry::Ask {
            leases: leases.iter().map(|lease| (lease.key.clone(), lease.fence)).collect(),
            to: self.registration.me.clone(),
            have,
        };
        self.registration.observe(EventKind::Asked { donor: donor.clone(), leases: leases.len() });
        let open = leases.into_iter().map(|lease| (lease.key.clone(), lease)).collect();
        let ask = OpenAsk {
            donor: donor.clone(),
            open,
            sent_at: None,
            next_read: self.now(),
            forced: false,
        };
        self.asks.insert(id, ask);
        self.operations.push(operation(&self.registration, |registration| async move {
            let sent = registration.write_worker(moves::send(&donor, id, entry)).await?;
            if sent {
                registration.hint(&donor, Hint::Inbox);
            }
            Ok(Done::Asked { ask: id, sent })
        }));
    }

    pub(super) fn asked(&mut self, id: EntryId, sent: bool) {
        let now = self.now();
        let next_read = now + self.heartbeat();
        if !sent {
            self.asks.remove(&id);
        } else if let Some(ask) = self.asks.get_mut(&id) {
            ask.sent_at = Some(now);
            ask.next_read = next_read;
        }
    }

    /// Whom this lease was asked of.
    pub(super) fn donor_of(&self, key: &LeaseKey) -> Option<WorkerId> {
        self.asks.values().find(|ask| ask.open.contains_key(key)).map(|ask| ask.donor.clone())
    }

    /// An asked lease as it was when it was asked for.
    pub(super) fn seen_at_ask(&self, key: &LeaseKey) -> Option<&Lease> {
        self.asks.values().find_map(|ask| ask.open.get(key))
    }

    /// A lease that was asked for was read; `won` if it is held now.
    pub(super) fn resolve_asked(&mut self, key: &LeaseKey, won: bool) {
        if won {
            self.asks.retain(|_, ask| {
                ask.open.remove(key);
                !ask.open.is_empty()
            });
        }
    }

    pub(super) fn tend_asks(&mut self) {
        let ids: Vec<_> = self.asks.keys().copied().collect();
        ids.into_iter().for_each(|id| self.tend_ask(id));
    }

    fn tend_ask(&mut self, id: EntryId) {
        let (now, heartbeat) = (self.now(), self.heartbeat());
        let view = self.registration.view();
        let Some(ask) = self.asks.get_mut(&id) else { return };
        let Some(sent_at) = ask.sent_at else { return };
        let donor = view.workers.get(&ask.donor);
        let is_dead = donor.is_some_and(|row| row.state.is_dead());
        // The donor removes an ask once it has decided it, and a dead one never will.
        let is_decided =
            view.scanned_at > sent_at && donor.is_none_or(|row| !row.inbox.contains_key(&id));
        let late = now.since(sent_at) >= ask_patience(self.registration.timing);
        let open: Vec<_> = ask.open.keys().cloned().collect();
        if ask.forced {
            if is_dead {
                self.asks.remove(&id);
            }
            return;
        }
        let read = now >= ask.next_read;
        ask.next_read = if read { now + heartbeat } else { ask.next_read };
        ask.forced = late && !is_decided;
        let (force, from) = (ask.forced, ask.donor.clone());
        if is_decided || is_dead {
            self.asks.remove(&id);
        }
        if force && !is_dead {
            open.iter().for_each(|key| self.revoke(id, key));
        } else if read || is_decided {
            for key in open {
                self.claim(&key, Claim::Read, HoldReason::HandedOver, Some(from.clone()));
            }
        }
    }

    fn revoke(&mut self, ask_id: EntryId, key: &LeaseKey) {
        let Some(ask) = self.asks.get(&ask_id) else { return };
        let Some(lease) = ask.open.get(key) else { return };
        let id = self.registration.random.entry_id();
        let (me, rules) = (&self.registration.me, self.registration.rules);
        let write = force::revoke(&ask.donor, ask_id, id, key, lease.fence, me, rules);
        let (key, donor) = (key.clone(), ask.donor.clone());
        self.operations.push(operation(&self.registration, |registration| async move {
            let stands = registration.write_worker(write).await?;
            let stands_since = stands.then(|| registration.clock.monotonic());
            registration.hint(&donor, Hint::Inbox);
            Ok(Done::Revoked { ask: ask_id, key, stands_since })
        }));
    }

    pub(super) fn revoked(&mut self, id: EntryId, key: LeaseKey, stands_since: Option<Moment>) {
        let Some(ask) = self.asks.get_mut(&id) else { return };
        let timing = self.registration.view().workers.get(&ask.donor).map(|row| row.timing());
        let (Some(since), Some(timing)) = (stands_since, timing) else {
            // The donor decided meanwhile, or is no more: what it gave shows in the row.
            let donor = ask.donor.clone();
            ask.open.remove(&key);
            if ask.open.is_empty() {
                self.asks.remove(&id);
            }
            self.claim(&key, Claim::Read, HoldReason::HandedOver, Some(donor));
            return;
        };
        let due = force::due(since, timing, self.registration.rules);
        self.timers.entry(due).or_default().push(Timer::Force(id, key));
    }

    /// The revocation has stood for the owner's `D_take`: it has stopped, or seen it.
    pub(super) fn force_take(&mut self, id: EntryId, key: &LeaseKey) {
        let Some(ask) = self.asks.get_mut(&id) else { return };
        let Some(seen) = ask.open.remove(key) else { return };
        let from = Some(ask.donor.clone());
        if ask.open.is_empty() {
            self.asks.remove(&id);
        }
        #[cfg(feature = "mutants")]
        self.unmark(&seen);
        self.claim(key, Claim::Take(seen), HoldReason::Forced, from);
    }
}
