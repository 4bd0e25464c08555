//! Rounds of reconciliation: once a minute one worker compares the rows with the stream, and with
//! what the others say they hold. Whoever wins the compare-and-set on the round does it; two at
//! once do no harm, and nobody leads.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kcl_protocol::assign::plan;
use kcl_protocol::moves;
use kcl_protocol::{
    CasOutcome, ConditionalWrite, Fence, Lease, LeaseKey, LeaseWrite, Moment, Row, TableWrite,
    WorkerId, WorkerRow,
};
use kcl_protocol::{hash_audit, reconcile};

use super::ops::{Done, operation};
use super::{Control, ScanFor, Timer};
use crate::event::{EventKind, HoldReason};
use crate::registration::{Registration, View};

/// When this worker starts a round if nobody else does.
pub(super) struct Rounds {
    every: Duration,
    jitter: Duration,
    round: u64,
    since: Moment,
    /// Owners that disagreed with the rows in the first of two reads.
    suspects: BTreeSet<WorkerId>,
    /// Since when this worker has seen others dead.
    dead_since: BTreeMap<WorkerId, Moment>,
}

impl Rounds {
    pub(super) fn new(registration: &Registration, every: Duration) -> Self {
        let view = registration.view();
        Self {
            every,
            jitter: registration.random.up_to(every / 4),
            round: view.table.round,
            since: view.round_since,
            suspects: BTreeSet::new(),
            dead_since: BTreeMap::new(),
        }
    }
}

impl Control<'_> {
    pub(super) fn observe_round(&mut self, view: &View) {
        if view.table.round != self.reconcile.round {
            self.reconcile.round = view.table.round;
            self.reconcile.since = view.round_since;
            self.reconcile.jitter = self.registration.random.up_to(self.reconcile.every / 4);
            // Whoever won it may not read all that this worker does.
            if self.is_started()
                && self.leaving.is_none()
                && reconcile::sees_to_a_stream(&self.registration.me, &view.workers)
            {
                self.scan(ScanFor::Reconcile);
            }
        }
    }

    pub(super) fn tend_rounds(&mut self) {
        let rounds = &mut self.reconcile;
        let still = self.registration.clock.monotonic().since(rounds.since);
        let is_due = still >= rounds.every + rounds.jitter;
        if !is_due || !self.balance.started || self.leaving.is_some() {
            return;
        }
        // If nobody's try succeeds, as in an outage, the counter stands still from now on again.
        rounds.since = self.registration.clock.monotonic();
        let seen = rounds.round;
        self.operations.push(operation(&self.registration, |registration| async move {
            let write = ConditionalWrite::Table(TableWrite::NextRound { seen });
            match registration.table.write(&write).await {
                Ok(outcome) if outcome.is_won() => {
                    registration.observe(EventKind::RoundWon { round: seen + 1 });
                    let leases = registration.scan_leases().await?;
                    Ok(Done::Scanned { purpose: ScanFor::Reconcile, leases })
                }
                Err(error) if !error.is_transient() => Err(error),
                // Lost, or unknown: whoever won does the round, or the counter stands still again.
                Ok(_) | Err(_) => Ok(Done::Nothing),
            }
        }));
    }

    pub(super) fn reconcile_first(&mut self, leases: &BTreeMap<LeaseKey, Lease>) {
        self.sync_streams();
        if !self.registration.sees_all() {
            // Rows that are old would be told that they disagree.
            return;
        }
        let view = self.registration.view();
        let now = self.now();
        let wall = self.registration.clock.wall_millis();
        let rounds = &self.reconcile;
        let dead_for =
            |id: &WorkerId| rounds.dead_since.get(id).map_or(Duration::ZERO, |at| now.since(*at));
        let mut writes = reconcile::forgettable(&view.workers, leases, dead_for);
        if self.streams.are_listed() {
            let read = leases.iter().filter(|(key, _)| self.streams.find(key).is_some());
            let read = read.map(|(key, lease)| (key.clone(), lease.clone())).collect();
            writes.extend(reconcile::finished(&read, |key| self.streams.lists(key), wall));
        }
        writes.into_iter().for_each(|write| self.write_finding(write));
        let disagreeing = view.workers.values().filter(|row| reconcile::disagrees(row, leases));
        self.reconcile.suspects = disagreeing.map(|row| row.id.clone()).collect();
        self.audit(leases);
        self.at(self.heartbeat() * 2, Timer::Scan(ScanFor::ReconcileAgain));
    }

    /// The hash key space of each stream must be covered, each key once.
    fn audit(&self, leases: &BTreeMap<LeaseKey, Lease>) {
        for stream in self.streams.all() {
            let of_stream = leases.iter().filter(|(key, _)| stream.has(key));
            let of_stream: BTreeMap<_, _> =
                of_stream.map(|(key, lease)| (key.clone(), lease.clone())).collect();
            for fault in hash_audit::audit(&of_stream, &stream.listed()) {
                self.registration.observe(EventKind::HashRangeFault { fault });
            }
        }
    }

    /// Remembers since when each dead worker has been seen dead.
    pub(super) fn note_dead(&mut self, view: &View) {
        let now = self.now();
        let since = &mut self.reconcile.dead_since;
        since.retain(|id, _| view.workers.contains_key(id));
        for row in view.workers.values().filter(|row| row.state.is_dead()) {
            since.entry(row.id.clone()).or_insert(now);
        }
    }

    /// Seen twice, `2H` apart: the owner really holds something else than its rows say.
    pub(super) fn reconcile_again(&mut self, leases: &BTreeMap<LeaseKey, Lease>) {
        let suspects = std::mem::take(&mut self.reconcile.suspects);
        if !self.registration.sees_all() {
            return;
        }
        let view = self.registration.view();
        let disagrees = |row: &&WorkerRow| reconcile::disagrees(row, leases);
        let all_agree = !view.workers.values().any(|row| reconcile::disagrees(row, leases));
        if all_agree {
            self.remake_deleted(leases);
        } else if self.streams.have_deleted() {
            // Whoever still holds such a lease is told below; look again once it has let go.
            self.at(self.heartbeat() * 2, Timer::Scan(ScanFor::ReconcileAgain));
            let disagree = view.workers.values().filter(|row| reconcile::disagrees(row, leases));
            self.reconcile.suspects = disagree.map(|row| row.id.clone()).collect();
        }
        let rows = view.workers.values().filter(|row| suspects.contains(&row.id));
        for worker in rows.filter(disagrees).map(|row| row.id.clone()) {
            self.registration.observe(EventKind::Disagrees { worker: worker.clone() });
            self.operations.push(operation(&self.registration, |registration| async move {
                registration.write_worker(moves::send_list(&worker)).await?;
                Ok(Done::Nothing)
            }));
        }
    }

    /// Makes lease rows anew that somebody deleted. Every live worker agrees with the rows, so none
    /// of them still processes such a shard; whoever takes it gets a fence of the new generation,
    /// above all old ones.
    fn remake_deleted(&mut self, leases: &BTreeMap<LeaseKey, Lease>) {
        let deleted = self.streams.take_deleted(leases);
        if deleted.is_empty() {
            return;
        }
        for lease in &deleted {
            self.registration.observe(EventKind::LeaseRowDeleted { lease: lease.key.clone() });
        }
        let table = self.registration.view().table;
        self.operations.push(operation(&self.registration, |registration| async move {
            let raise = TableWrite::NextGeneration {
                seen: table.generation,
                table_id: table.table_id.clone(),
            };
            let raised = registration.table.write(&ConditionalWrite::Table(raise)).await;
            let Ok(CasOutcome::Won(Some(Row::Table(table)))) = raised else {
                // The next round finds the rows missing again.
                return Ok(Done::Nothing);
            };
            for mut lease in deleted {
                // Whoever stood still here would make rows that others made and lost meanwhile.
                if !registration.validity.is_current() {
                    break;
                }
                // In the row itself: a taker may not know of the new generation yet.
                lease.fence = Fence(0).next(table.generation);
                let create = ConditionalWrite::Lease(LeaseWrite::Create(lease));
                if let Err(error) = registration.table.write(&create).await
                    && !error.is_transient()
                {
                    return Err(error);
                }
            }
            Ok(Done::Remade)
        }));
    }

    fn write_finding(&mut self, write: ConditionalWrite) {
        self.operations.push(operation(&self.registration, |registration| async move {
            match registration.table.write(&write).await {
                Err(error) if !error.is_transient() => Err(error),
                // The next round finds it again.
                _ => Ok(Done::Nothing),
            }
        }));
    }

    /// Gives every lease that nobody owns to whom the plan names.
    pub(super) fn assign_orphans(&mut self, leases: &BTreeMap<LeaseKey, Lease>) {
        self.take_share(leases, HoldReason::Reconciled);
        let orphans: BTreeMap<_, _> =
            self.orphans(leases).into_iter().map(|lease| (&lease.key, lease)).collect();
        let plan = plan(&self.members(), &self.loads_with(leases, orphans.values().copied()));
        tracing::debug!(unassigned = ?plan.report.unassigned, "planned for the fleet");
        let others = plan.moves.into_iter().filter(|step| step.to != self.registration.me);
        let given: Vec<(Lease, WorkerId)> = others
            .filter_map(|step| orphans.get(&step.lease).map(|lease| ((*lease).clone(), step.to)))
            .collect();
        for (lease, to) in given {
            self.assign(&lease, to);
        }
    }

    fn assign(&mut self, lease: &Lease, to: WorkerId) {
        let key = lease.key.clone();
        let fence = lease.fence.next(self.registration.generation());
        self.registration.spend(&key, lease.fence);
        let write: LeaseWrite = moves::take(lease, &to, self.registration.terms());
        self.operations.push(operation(&self.registration, |registration| async move {
            match registration.table.write(&ConditionalWrite::Lease(write)).await {
                Ok(outcome) if outcome.is_won() => {
                    registration.grant(&to, vec![(key, fence)]).await?
                }
                Err(error) if !error.is_transient() => return Err(error),
                Ok(_) | Err(_) => {}
            }
            Ok(Done::Nothing)
        }));
    }

    /// What the rows give this worker it claims; what they do not, it drops.
    pub(super) fn compare(&mut self, leases: &BTreeMap<LeaseKey, Lease>) {
        let me = self.registration.me.clone();
        let mine = leases.values().filter(|lease| lease.owner.as_ref() == Some(&me));
        let claims: Vec<_> = mine
            .filter(|lease| {
                self.registration.holdings(|held| held.fence(&lease.key)) != Some(lease.fence)
            })
            .map(|lease| lease.key.clone())
            .collect();
        for key in
            claims.into_iter().filter(|key| !self.consumers.is_running(key)).collect::<Vec<_>>()
        {
            self.claim(&key, super::Claim::Read, HoldReason::Adopted, None);
        }
        let held: Vec<_> = self
            .registration
            .holdings(|held| held.iter().map(|(key, fence)| (key.clone(), fence)).collect());
        for (key, fence) in held {
            let row = leases.get(&key);
            let is_mine =
                row.is_some_and(|row| row.owner.as_ref() == Some(&me) && row.fence >= fence);
            if !is_mine && !self.busy.contains_key(&key) {
                self.registration.spend(&key, fence);
            }
        }
    }
}
