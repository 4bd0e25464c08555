//! What may happen next.

use kcl_protocol::lineage::startable_under;
use kcl_protocol::{
    Due, EntryId, InboxEntry, Lease, LeaseKey, Mutant, WorkerId, WorkerRow, WorkerState, force,
    moves,
};

use super::case::Case;
use super::checks::has_effect;
use super::data::Work;
use super::world::{Token, World};

/// One step. Workers are named by index, leases by key, requests and answers by their place.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Time passes; the clock of `slow` misses it.
    Tick {
        /// Whose clock misses it.
        slow: Option<usize>,
    },
    /// Sends a heartbeat.
    Beat(usize),
    /// Reads its own row, answered at once.
    ReadOwnRow(usize),
    /// Reads all workers' rows, answered at once.
    Observe(usize),
    /// Declares a worker dead, the n-th that is overdue.
    Fence(usize, usize),
    /// Puts a row for a lease's owner that has none.
    PutMissing(usize, WorkerId),
    /// Takes a lease that it read to be free.
    Take(usize, LeaseKey),
    /// Reads a lease.
    Read(usize, LeaseKey),
    /// The n-th request in flight applies; `again` leaves a second copy in flight.
    Apply {
        /// Which.
        at: usize,
        /// Whether it may apply once more.
        again: bool,
    },
    /// The n-th answer arrives.
    Answer(usize, usize),
    /// The worker waits no longer for this answer.
    GiveUp(usize, Token),
    /// Somebody deletes a worker's row.
    DeleteRow(WorkerId),
    /// The stream drops what it closed long ago.
    Drop,
    /// The process dies.
    Crash(usize),
    /// Its supervisor has reaped the process with this index, and says so in its row.
    Reap(usize),
    /// A process without registration registers.
    Register(usize),
    /// Asks the owner for a lease.
    Ask(usize, LeaseKey),
    /// Decides an ask it was shown.
    Decide(usize, EntryId),
    /// Lets a lease go: to another worker, or to nobody.
    LetGo(usize, LeaseKey, Option<usize>),
    /// Its consumer of a revoked lease has stopped: hands it over.
    Yield(usize, EntryId),
    /// Revokes the lease it asked for.
    Revoke(usize),
    /// Reads the owner's row to learn that its revocation stands.
    SeeRevocation(usize),
    /// Takes the lease it revoked.
    Force(usize),
    /// Revocations take effect (only a broken rule needs the step).
    LateRevocations(usize),
    /// Is handed the next record.
    Deliver(usize, LeaseKey),
    /// Acknowledges what it was handed.
    Ack(usize, LeaseKey),
    /// Fails on what it was handed; it will be handed out again.
    Fail(usize, LeaseKey),
    /// Sends the watermark as a checkpoint.
    Checkpoint(usize, LeaseKey),
    /// Sends the next record's effect with its checkpoint.
    Effects(usize, LeaseKey),
    /// Ends a shard.
    End(usize, LeaseKey),
    /// Ends a shard that the stream has dropped, with what children are listed.
    EndDropped(usize, LeaseKey),
    /// The processor of an ended shard keeps a row it saw (only a broken rule uses it).
    Cache(usize, LeaseKey),
}

impl Case {
    pub(super) fn steps(&self, world: &World, out: &mut Vec<Action>) {
        self.of_the_world(world, out);
        for worker in 0..world.workers.len() {
            if world.workers[worker].life.is_none() {
                self.of_the_unregistered(world, worker, out);
                continue;
            }
            self.of_liveness(world, worker, out);
            self.of_leases(world, worker, out);
            self.of_moves(world, worker, out);
            self.of_data(world, worker, out);
        }
    }

    fn of_the_world(&self, world: &World, out: &mut Vec<Action>) {
        if world.now < self.ticks {
            out.push(Action::Tick { slow: None });
            if world.left.drifts > 0 {
                let slow = (0..world.workers.len()).filter(|it| world.workers[*it].lag == 0);
                out.extend(slow.map(|slow| Action::Tick { slow: Some(slow) }));
            }
        }
        for at in 0..world.pool.len() {
            if world.pool[..at].contains(&world.pool[at]) {
                continue;
            }
            out.push(Action::Apply { at, again: false });
            if world.left.repeats > 0 {
                out.push(Action::Apply { at, again: true });
            }
        }
        if world.left.drops > 0 {
            out.push(Action::Drop);
        }
        for (index, worker) in world.workers.iter().enumerate() {
            out.extend((0..worker.answers.len()).map(|at| Action::Answer(index, at)));
            if world.left.lost > 0 {
                // A newer checkpoint gives up on an older one by itself.
                let lost = worker.awaited.iter().filter(|it| !matches!(it, Token::Checkpoint(_)));
                out.extend(lost.map(|token| Action::GiveUp(index, *token)));
            }
            if world.left.crashes > 0 && worker.life.is_some() {
                out.push(Action::Crash(index));
            }
            let id = &worker.id;
            if world.left.deletions > 0 && world.worker_row(id).is_some() {
                out.push(Action::DeleteRow(id.clone()));
            }
        }
    }

    fn of_the_unregistered(&self, world: &World, worker: usize, out: &mut Vec<Action>) {
        let it = &world.workers[worker];
        let live = |row: &WorkerRow| row.state == WorkerState::Live;
        // Only a process that has ended, not one that is registering, is reaped.
        let ended = self.reaps && it.awaited.is_empty();
        if ended && world.worker_row(&it.id).is_some_and(live) && self.has_room(world) {
            out.push(Action::Reap(worker));
        }
        if world.left.registrations > 0 && it.awaited.is_empty() && self.has_room(world) {
            out.push(Action::Register(worker));
        }
    }

    fn of_liveness(&self, world: &World, worker: usize, out: &mut Vec<Action>) {
        let it = &world.workers[worker];
        let Some(life) = &it.life else { return };
        let now = world.clock(worker);
        if self.ticks > 0 && !it.awaits(|token| matches!(token, Token::Beat(_))) {
            match life.clone().due(now) {
                Due::Heartbeat if world.left.beats > 0 && self.has_room(world) => {
                    out.push(Action::Beat(worker));
                }
                Due::ReadRow => out.push(Action::ReadOwnRow(worker)),
                Due::Heartbeat | Due::Nothing(_) => {}
            }
        }
        if self.watchers.contains(&worker) {
            out.push(Action::Observe(worker));
            let overdue = it.watch.clone().fences(&it.id, life, now).len();
            if self.has_room(world) {
                out.extend((0..overdue).map(|at| Action::Fence(worker, at)));
            }
        }
        if !self.menders.contains(&worker) {
            return;
        }
        for lease in self.keys.iter().filter_map(|key| world.lease(key)) {
            if let Some(owner) = &lease.owner
                && world.worker_row(owner).is_none()
                && self.has_room(world)
            {
                out.push(Action::PutMissing(worker, owner.clone()));
            }
        }
    }

    fn of_leases(&self, world: &World, worker: usize, out: &mut Vec<Action>) {
        let it = &world.workers[worker];
        for key in &self.keys {
            let Some(lease) = world.lease(key) else { continue };
            let index = self.index(key);
            let busy = it.awaits(|token| {
                [Token::Gain(index), Token::LetGo(index), Token::Read(index)].contains(token)
            });
            if busy || it.holdings.fence(key).is_some() {
                continue;
            }
            if world.left.reads > 0 && lease.owner.is_some() {
                out.push(Action::Read(worker, key.clone()));
            }
            let valid = world.clock(worker)
                < it.life
                    .as_ref()
                    .map_or(world.clock(worker), |life| life.valid_until().max(it.extra));
            if valid && world.left.takes > 0 && self.is_free(world, lease) && self.has_room(world) {
                out.push(Action::Take(worker, key.clone()));
            }
            if self.breaks(Mutant::CachedCheckpoint) && it.cached.is_none() {
                out.push(Action::Cache(worker, key.clone()));
            }
        }
    }

    /// True if the rows say that anybody may take this lease.
    fn is_free(&self, world: &World, lease: &Lease) -> bool {
        let row_of = |owner: &WorkerId| world.worker_row(owner);
        self.may_start(world, lease) && moves::is_free(lease, row_of, self.rules)
    }

    fn may_start(&self, world: &World, lease: &Lease) -> bool {
        if lease.parents.is_empty() {
            return !lease.is_ended();
        }
        let rows = self.keys.iter().filter_map(|key| world.lease(key));
        let leases = rows.map(|lease| (lease.key.clone(), lease.clone())).collect();
        let shows = |listed| startable_under(lease, &leases, listed, self.rules);
        self.listed(world).iter().any(shows)
    }

    fn of_moves(&self, world: &World, worker: usize, out: &mut Vec<Action>) {
        let it = &world.workers[worker];
        for (id, entry) in &it.inbox {
            match entry {
                InboxEntry::Ask { .. } if !it.decided.contains(id) => {
                    out.push(Action::Decide(worker, *id));
                }
                InboxEntry::Revoke { lease, fence, .. }
                    if it.holdings.is_spent(lease, *fence) && !it.decided.contains(id) =>
                {
                    out.push(Action::Yield(worker, *id));
                }
                _ => {}
            }
        }
        let leaves = world.left.leaves > 0 && self.leavers.contains(&worker);
        for (key, _) in it.holdings.iter().filter(|(key, _)| **key != self.spare) {
            if leaves && self.has_room(world) && self.is_settled(world, worker, key) {
                out.push(Action::LetGo(worker, key.clone(), None));
                let others = (0..world.workers.len()).filter(|other| *other != worker);
                out.extend(others.map(|to| Action::LetGo(worker, key.clone(), Some(to))));
            }
        }
        if world.left.asks > 0 && it.asked.is_none() && self.has_room(world) {
            let asks = |key: &&LeaseKey| {
                let owner = world.lease(key).and_then(|lease| lease.owner.as_ref());
                owner.is_some_and(|owner| *owner != it.id)
            };
            out.extend(self.keys.iter().filter(asks).map(|key| Action::Ask(worker, key.clone())));
        }
        self.of_force(world, worker, out);
    }

    fn of_force(&self, world: &World, worker: usize, out: &mut Vec<Action>) {
        let it = &world.workers[worker];
        if self.breaks(Mutant::RevokeAfterValidity) && !it.inbox.is_empty() {
            out.push(Action::LateRevocations(worker));
        }
        let Some(asked) = &it.asked else { return };
        if world.left.takes > 0 && !asked.forced && self.has_room(world) {
            out.push(Action::Revoke(worker));
        }
        if asked.forced && asked.revoked_at.is_none() && !it.awaits(|it| *it == Token::Revoke) {
            out.push(Action::SeeRevocation(worker));
        }
        let row = world.worker_row(&asked.owner);
        let timing = row.map_or(self.timing(0), WorkerRow::timing);
        let due = asked.revoked_at.map(|at| force::due(at, timing, self.rules));
        let waited = due.is_some_and(|due| world.clock(worker) >= due);
        let gains = it.awaits(|token| matches!(token, Token::Gain(_)));
        if waited && !gains && world.left.takes > 0 && self.has_room(world) {
            out.push(Action::Force(worker));
        }
    }

    fn of_data(&self, world: &World, worker: usize, out: &mut Vec<Action>) {
        let it = &world.workers[worker];
        for (key, run) in &it.runs {
            if !world.permits(worker, key) {
                continue;
            }
            let children = self.children(key);
            if !children.is_empty() && self.has_room(world) {
                out.push(Action::End(worker, key.clone()));
                if self.children_of_dropped(world, key).is_some_and(|listed| listed != children) {
                    out.push(Action::EndDropped(worker, key.clone()));
                }
            }
            if let Some(work) = &run.work {
                self.of_work(world, worker, key, work, out);
            }
        }
    }

    fn of_work(
        &self,
        world: &World,
        worker: usize,
        key: &LeaseKey,
        work: &Work,
        out: &mut Vec<Action>,
    ) {
        let key = || key.clone();
        let is_out = work.delivered > work.acked();
        if work.delivered < self.records && !is_out {
            out.push(Action::Deliver(worker, key()));
        }
        if is_out {
            out.push(Action::Fail(worker, key()));
            if !has_effect(work.delivered) {
                out.push(Action::Ack(worker, key()));
            }
        }
        let awaits_effects = world.workers[worker].awaits(|it| matches!(it, Token::Effects(..)));
        if world.left.writes == 0 || !self.has_room(world) || awaits_effects {
            return;
        }
        if work.has_news() {
            out.push(Action::Checkpoint(worker, key()));
        }
        if work.gate.is_undecided() || (is_out && has_effect(work.delivered)) {
            out.push(Action::Effects(worker, key()));
        }
    }

    pub(super) fn has_room(&self, world: &World) -> bool {
        world.pool.len() < self.pool
    }

    /// True if no effect of this shard waits to be decided.
    pub(super) fn is_settled(&self, world: &World, worker: usize, key: &LeaseKey) -> bool {
        let run = world.workers[worker].runs.get(key);
        let work = run.and_then(|run| run.work.as_ref());
        work.is_none_or(|work| !work.gate.is_undecided())
    }
}
