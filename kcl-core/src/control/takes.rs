//! Taking leases: at the start, after a death, and whatever a scan finds without an owner.

use std::collections::{BTreeMap, BTreeSet};

use kcl_protocol::assign::{Load, Readiness, plan};
use kcl_protocol::lineage::startable_under;
use kcl_protocol::moves::{is_free, started};
use kcl_protocol::watch::put_missing;
use kcl_protocol::{Lease, LeaseKey, WorkerId};

use super::ops::{Claim, Done, operation};
use super::{Again, Control, ScanFor};
use crate::event::{EventKind, HoldReason};
use crate::permit::Permit;

impl Control<'_> {
    /// True once the first scan was answered.
    pub(super) fn is_started(&self) -> bool {
        self.balance.started
    }

    /// Scans the leases; at most one scan for one purpose at a time, and one more after it if it
    /// was asked for meanwhile.
    pub(super) fn scan(&mut self, purpose: ScanFor) {
        if let Some(again) = self.scans.get_mut(&purpose) {
            *again = Again::Yes;
            return;
        }
        self.scans.insert(purpose, Again::No);
        let patience = self.heartbeat();
        self.operations.push(operation(&self.registration, |registration| async move {
            if matches!(purpose, ScanFor::Start | ScanFor::Leave) {
                // Others may have registered since the last look: a plan without them would take
                // what is theirs, or give to others what a replacement has come for.
                registration.look_at_workers().await;
            }
            while !registration.view().scanned {
                registration.clock.sleep(patience / 8).await;
            }
            let leases = registration.scan_leases().await?;
            Ok(Done::Scanned { purpose, leases })
        }));
    }

    pub(super) fn scanned(&mut self, purpose: ScanFor, leases: BTreeMap<LeaseKey, Lease>) {
        if self.scans.remove(&purpose) == Some(Again::Yes) {
            self.scan(purpose);
        }
        self.find_missing_owners(&leases);
        if self.leaving.is_some() {
            if matches!(purpose, ScanFor::Leave) {
                self.plan_leaving(&leases);
            }
            return;
        }
        match purpose {
            ScanFor::Start => {
                self.balance.started = true;
                let dead = self.registration.view();
                let dead = dead.workers.values().filter(|row| row.state.is_dead());
                self.handled_dead.extend(dead.map(|row| row.id.clone()));
                self.take_share(&leases, HoldReason::Started);
                self.consider_balance(&leases);
            }
            ScanFor::StartRest => self.take_rest(&leases, HoldReason::Started),
            ScanFor::Takeover => self.take_share(&leases, HoldReason::OwnerDied),
            ScanFor::TakeoverRest => self.take_rest(&leases, HoldReason::OwnerDied),
            ScanFor::AfterBan if self.orphans(&leases).len() <= self.room() => {
                self.take_rest(&leases, HoldReason::Reconciled);
            }
            ScanFor::AfterBan | ScanFor::Assign => self.assign_orphans(&leases),
            ScanFor::Balance => self.consider_balance(&leases),
            ScanFor::Compare => self.compare(&leases),
            ScanFor::Reconcile => self.reconcile_first(&leases),
            ScanFor::ReconcileAgain => self.reconcile_again(&leases),
            ScanFor::Leave => {}
        }
    }

    /// Leases that may start and whose owner is dead, or that nobody owns.
    pub(super) fn orphans<'l>(&self, leases: &'l BTreeMap<LeaseKey, Lease>) -> Vec<&'l Lease> {
        let view = self.registration.view();
        let rules = self.registration.rules;
        let is_free = |lease: &&Lease| is_free(lease, |owner| view.workers.get(owner), rules);
        let may_start = self.may_start(leases);
        let ready = leases.values().filter(is_free).filter(|lease| may_start(lease));
        ready.filter(|lease| !self.banned.contains_key(&lease.key)).collect()
    }

    /// Tells which leases may be processed now, by one look at what the streams last listed.
    fn may_start<'l>(
        &self,
        leases: &'l BTreeMap<LeaseKey, Lease>,
    ) -> impl Fn(&Lease) -> bool + use<'_, 'l> {
        let listed = self.streams.listed();
        let of_none = BTreeSet::new();
        let rules = self.registration.rules;
        move |lease| {
            let stream = lease.key.stream_prefix().unwrap_or_default();
            let listed = listed.get(stream).unwrap_or(&of_none);
            startable_under(lease, leases, listed, rules)
        }
    }

    /// Every lease that counts for balance, now or once its parents have ended, with its owner if
    /// that one lives.
    pub(super) fn loads(&self, leases: &BTreeMap<LeaseKey, Lease>) -> Vec<Load> {
        let view = self.registration.view();
        let lives =
            |owner: &&WorkerId| view.workers.get(*owner).is_some_and(|row| !row.state.is_dead());
        let may_start = self.may_start(leases);
        let counts = |lease: &&Lease| lease.parked.is_none() && !lease.is_ended();
        let load = |lease: &Lease| Load {
            key: lease.key.clone(),
            owner: lease.owner.as_ref().filter(lives).cloned(),
            weight: self.settings.config.weigh(lease),
            readiness: if may_start(lease) { Readiness::Ready } else { Readiness::WaitsForParents },
        };
        leases.values().filter(counts).map(load).collect()
    }

    /// The loads, and the parked leases among these orphans: no load, but somebody must hold them.
    pub(super) fn loads_with<'l>(
        &self,
        leases: &BTreeMap<LeaseKey, Lease>,
        orphans: impl Iterator<Item = &'l Lease>,
    ) -> Vec<Load> {
        let mut loads = self.loads(leases);
        loads.extend(orphans.filter(|lease| lease.parked.is_some()).map(|lease| Load {
            key: lease.key.clone(),
            owner: None,
            weight: 1,
            readiness: Readiness::Ready,
        }));
        loads
    }

    /// Takes what the plan gives to this worker of the leases that nobody owns.
    pub(super) fn take_share(&mut self, leases: &BTreeMap<LeaseKey, Lease>, reason: HoldReason) {
        let orphans: BTreeMap<_, _> =
            self.orphans(leases).into_iter().map(|lease| (lease.key.clone(), lease)).collect();
        if orphans.is_empty() {
            return;
        }
        let plan = plan(&self.members(), &self.loads_with(leases, orphans.values().copied()));
        for step in plan.moves {
            if step.to == self.registration.me
                && let Some(lease) = orphans.get(&step.lease)
            {
                self.take((*lease).clone(), reason);
            }
        }
    }

    /// Takes whatever nobody has taken, as far as this worker has room.
    pub(super) fn take_rest(&mut self, leases: &BTreeMap<LeaseKey, Lease>, reason: HoldReason) {
        let mine = |lease: &&Lease| self.streams.find(&lease.key).is_some();
        let rest: Vec<_> =
            self.orphans(leases).into_iter().filter(mine).take(self.room()).cloned().collect();
        rest.into_iter().for_each(|lease| self.take(lease, reason));
    }

    /// How many leases more this worker may hold.
    fn room(&self) -> usize {
        let held = self.registration.holdings(|held| held.len());
        (self.settings.config.max_leases as usize).saturating_sub(held)
    }

    pub(super) fn take(&mut self, lease: Lease, reason: HoldReason) {
        let (key, from) = (lease.key.clone(), lease.owner.clone());
        self.claim(&key, Claim::Take(lease), reason, from);
    }

    /// Claims a lease unless something else is being done with it.
    pub(super) fn claim(
        &mut self,
        key: &LeaseKey,
        first: Claim,
        reason: HoldReason,
        from: Option<WorkerId>,
    ) {
        if self.consumers.is_running(key) && self.registration.holdings(|h| h.fence(key).is_some())
        {
            return;
        }
        if let Some(again) = self.busy.get_mut(key) {
            *again = Again::Yes;
            return;
        }
        self.busy.insert(key.clone(), Again::No);
        let key = key.clone();
        let slots = std::sync::Arc::clone(&self.settings.slots);
        self.operations.push(operation(&self.registration, |registration| async move {
            let _slot = slots.acquire().await;
            let won = registration.claim(&key, first).await?;
            Ok(Done::Claimed { key, reason, from, won })
        }));
    }

    pub(super) fn claimed(
        &mut self,
        key: LeaseKey,
        reason: HoldReason,
        from: Option<WorkerId>,
        won: Option<(Lease, Permit)>,
    ) {
        let rules = self.registration.rules;
        let won = won.map(|(row, permit)| (started(row, self.seen_at_ask(&key), rules), permit));
        let from = from.or_else(|| self.donor_of(&key));
        self.resolve_asked(&key, won.is_some());
        self.settle(&key, won.is_some());
        if let Some((lease, permit)) = won {
            self.run_lease(lease, permit, reason, from);
        }
    }

    /// A lease names a worker that has no row: make one, and watch it as any other. Absent is
    /// never dead.
    fn find_missing_owners(&mut self, leases: &BTreeMap<LeaseKey, Lease>) {
        let view = self.registration.view();
        let owners: BTreeSet<_> = leases.values().filter_map(|lease| lease.owner.clone()).collect();
        for owner in owners.into_iter().filter(|owner| !view.workers.contains_key(owner)) {
            self.registration.observe(EventKind::OwnerMissing { worker: owner.clone() });
            let heartbeat = self.registration.random.next() >> 1;
            let table = &view.table;
            let put = put_missing(&owner, heartbeat, table.max_duration, table.max_grace);
            self.operations.push(operation(&self.registration, |registration| async move {
                registration.write_worker(put).await?;
                Ok(Done::Nothing)
            }));
        }
    }
}
