//! Balance: every worker computes the same plan and carries out only the moves to itself.

use std::collections::BTreeMap;

use kcl_protocol::assign::{Move, MoveReason, plan};
use kcl_protocol::limits::LEASES_PER_ASK;
use kcl_protocol::{Lease, LeaseKey, Moment, WorkerId, WorkerState};

use super::{After, Control, ScanFor};
use crate::consumer::StopReason;
use crate::limits::{ROOM_EVERY, WEIGHED_EVERY};

/// What the worker knows of the fleet's balance.
#[derive(Default)]
pub(super) struct Balance {
    /// The first scan was answered.
    pub(super) started: bool,
    /// Moves to this worker, and since when every plan has said the same.
    proposed: Option<(Vec<Move>, Moment)>,
    looked_at: Moment,
}

impl Control<'_> {
    pub(super) fn tend_balance(&mut self) {
        let now = self.now();
        let idle = self.busy.is_empty() && self.asks.is_empty() && self.leaving.is_none();
        let rested = now.since(self.balance.looked_at) >= self.heartbeat();
        if self.is_started()
            && idle
            && rested
            && (self.is_above_its_room(now) || self.may_receive(now))
        {
            self.balance.looked_at = now;
            self.scan(ScanFor::Balance);
        }
    }

    /// After a reshard, say: the ender of a shard takes its children.
    fn is_above_its_room(&self, now: Moment) -> bool {
        let held = self.registration.holdings(|held| held.len());
        held > self.settings.config.max_leases as usize
            && now.since(self.balance.looked_at) >= ROOM_EVERY
    }

    /// Hands what is above this worker's room to whom the plan names.
    fn give_excess(&mut self, moves: &[Move]) {
        let is_excess = |step: &&Move| {
            step.from.as_ref() == Some(&self.registration.me)
                && step.reason == MoveReason::HolderIsFull
                && self.consumers.is_running(&step.lease)
        };
        let excess: Vec<_> = moves.iter().filter(is_excess).cloned().collect();
        for step in excess {
            self.after.entry(step.lease.clone()).or_insert(After::Give(step.to, None));
            self.consumers.stop(&step.lease, StopReason::HandOver);
        }
    }

    /// Cheap look at the loads in the worker rows: could a plan move a lease to this worker?
    fn may_receive(&self, now: Moment) -> bool {
        let held = self.registration.holdings(|held| held.len());
        if held >= self.settings.config.max_leases as usize {
            return false;
        }
        if self.settings.config.weight.is_some() || self.reads_differ() {
            return now.since(self.balance.looked_at) >= WEIGHED_EVERY
                || self.balance.proposed.is_some();
        }
        let view = self.registration.view();
        let mine = self.registration.holdings(|held| held.load());
        let others = view.workers.values().filter(|row| row.id != self.registration.me);
        let live = others.filter(|row| row.state == WorkerState::Live && !row.draining);
        live.map(|row| row.load).max().is_some_and(|most| most >= mine.saturating_add(2))
    }

    /// Where not all read the same streams, loads that differ may be as even as they can be.
    fn reads_differ(&self) -> bool {
        let view = self.registration.view();
        let mine = self.registration.reads();
        let mut live = view.workers.values().filter(|row| row.state == WorkerState::Live);
        live.any(|row| row.reads != mine)
    }

    pub(super) fn consider_balance(&mut self, leases: &BTreeMap<LeaseKey, Lease>) {
        let members = self.members();
        let plan = plan(&members, &self.loads(leases));
        self.give_excess(&plan.moves);
        let to_me = plan.moves.into_iter().filter(|step| {
            step.to == self.registration.me
                && step.reason == MoveReason::Balance
                && !self.banned.contains_key(&step.lease)
        });
        let moves: Vec<Move> = to_me.collect();
        let now = self.now();
        match &self.balance.proposed {
            _ if moves.is_empty() => self.balance.proposed = None,
            Some((proposed, since)) if *proposed == moves => {
                if now.since(*since) >= self.heartbeat() {
                    self.balance.proposed = None;
                    self.ask_for(moves, leases);
                }
            }
            _ => self.balance.proposed = Some((moves, now)),
        }
    }

    /// One ask per donor, of up to 16 leases, the largest donor first.
    fn ask_for(&mut self, moves: Vec<Move>, leases: &BTreeMap<LeaseKey, Lease>) {
        let mut donors: BTreeMap<WorkerId, Vec<Lease>> = BTreeMap::new();
        for step in moves {
            if let (Some(from), Some(lease)) = (step.from, leases.get(&step.lease)) {
                donors.entry(from).or_default().push(lease.clone());
            }
        }
        let view = self.registration.view();
        let load = |donor: &WorkerId| view.workers.get(donor).map_or(0, |row| row.load);
        let mut donors: Vec<_> = donors.into_iter().collect();
        donors.sort_by_key(|(donor, _)| std::cmp::Reverse(load(donor)));
        for (donor, mut leases) in donors {
            leases.truncate(LEASES_PER_ASK);
            self.ask(donor, leases);
        }
    }
}
