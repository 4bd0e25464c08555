//! How a lease moves: asks, hand-overs, revocations and forced takes.

use kcl_protocol::limits::INBOX_ENTRIES;
use kcl_protocol::liveness::apply_revocations;
use kcl_protocol::{
    Checkpoint, ConditionalWrite, EntryId, InboxEntry, LeaseKey, LeaseWrite, Mutant, WorkerId,
    WorkerRow, WorkerState, force, moves,
};

use super::action::Action;
use super::case::Case;
use super::step::{other, send};
use super::world::{Asked, Token, World};

impl Case {
    pub(super) fn step_move(&self, mut world: World, action: &Action) -> Option<World> {
        match action {
            Action::Ask(worker, key) => self.ask(&mut world, *worker, key)?,
            Action::Decide(worker, id) => self.decide(&mut world, *worker, *id)?,
            Action::LetGo(worker, key, to) => {
                let to = to.map(|to| world.workers[to].id.clone());
                world.left.leaves -= 1;
                self.let_go(&mut world, *worker, key, to, None)?;
            }
            Action::Yield(worker, id) => self.yield_to(&mut world, *worker, *id)?,
            Action::Revoke(worker) => self.revoke(&mut world, *worker)?,
            Action::SeeRevocation(worker) => see_revocation(&mut world, *worker)?,
            Action::Force(worker) => self.force(&mut world, *worker)?,
            Action::LateRevocations(worker) => {
                let it = &mut *world.workers[*worker];
                let mut row = WorkerRow::live(it.id.clone(), self.timing(*worker));
                row.inbox.clone_from(&it.inbox);
                let lost = apply_revocations(&row, &mut it.holdings);
                lost.iter().for_each(|key| {
                    it.runs.remove(key);
                });
            }
            Action::Cache(worker, key) => {
                world.workers[*worker].cached = world.lease(key).cloned();
            }
            data => self.step_data(&mut world, data)?,
        }
        Some(world)
    }

    fn ask(&self, world: &mut World, worker: usize, key: &LeaseKey) -> Option<()> {
        let lease = world.lease(key)?.clone();
        world.left.asks -= 1;
        let id = EntryId(u128::from(world.left.asks) * 2 + 100);
        let owner = lease.owner.clone()?;
        let it = &mut *world.workers[worker];
        let (leases, to) = (vec![(key.clone(), lease.fence)], it.id.clone());
        let entry = InboxEntry::Ask { leases, to, have: it.holdings.load() };
        let write = ConditionalWrite::Worker(moves::send(&owner, id, entry));
        it.asked = Some(Asked { id, owner, lease, forced: false, revoked_at: None });
        other(world, worker, write);
        Some(())
    }

    fn decide(&self, world: &mut World, worker: usize, id: EntryId) -> Option<()> {
        let it = &mut *world.workers[worker];
        let Some(InboxEntry::Ask { leases, to, have }) = it.inbox.get(&id).cloned() else {
            return None;
        };
        it.decided.insert(id);
        let row = world.worker_row(&to).cloned();
        let given = moves::granted(&leases, have, row.as_ref(), &world.workers[worker].holdings);
        for (key, _) in given {
            if self.is_settled(world, worker, &key) && self.has_room(world) {
                self.let_go(world, worker, &key, Some(to.clone()), Some(id))?;
            }
        }
        Some(())
    }

    /// Lets a held lease go: first in memory, then in one write.
    fn let_go(
        &self,
        world: &mut World,
        worker: usize,
        key: &LeaseKey,
        to: Option<WorkerId>,
        because: Option<EntryId>,
    ) -> Option<()> {
        let it = &mut *world.workers[worker];
        let fence = it.holdings.fence(key)?;
        it.holdings.lets_go(key, fence);
        let work = it.runs.get(key).and_then(|run| run.work.as_ref());
        let acked = work.map(|work| work.acks.last_checkpoint(self.rules));
        let done = acked.filter(|acked| matches!(acked, Checkpoint::At(_))).map(moves::Final::from);
        if it.holdings.fence(key).is_none() {
            it.runs.remove(key);
        }
        let write = match to {
            Some(to) => moves::hand_over(key, fence, &it.id, self.terms(), &to, done),
            None => moves::release(key, fence, &it.id, self.terms(), done),
        };
        self.send_let_go(world, worker, key, write, because);
        Some(())
    }

    fn send_let_go(
        &self,
        world: &mut World,
        worker: usize,
        key: &LeaseKey,
        mut write: LeaseWrite,
        because: Option<EntryId>,
    ) {
        if self.breaks(Mutant::HandOverKeepsOrdinal)
            && let Some(lease) = world.lease(key)
        {
            write = moves::keep_ordinal(write, lease.ordinal);
        }
        let token = Token::LetGo(self.index(key));
        send(world, worker, token, vec![ConditionalWrite::Lease(write)]);
        if let Some(request) = world.pool.last_mut() {
            request.because = because;
        }
    }

    fn yield_to(&self, world: &mut World, worker: usize, id: EntryId) -> Option<()> {
        let it = &mut *world.workers[worker];
        let Some(InboxEntry::Revoke { lease, fence, to }) = it.inbox.get(&id).cloned() else {
            return None;
        };
        it.decided.insert(id);
        let me = it.id.clone();
        let live = world.worker_row(&to).is_some_and(|row| row.state == WorkerState::Live);
        if live && self.has_room(world) {
            let write = moves::hand_over(&lease, fence, &me, self.terms(), &to, None);
            self.send_let_go(world, worker, &lease, write, None);
        }
        Some(())
    }

    fn revoke(&self, world: &mut World, worker: usize) -> Option<()> {
        let it = &mut *world.workers[worker];
        let asked = it.asked.as_mut()?;
        asked.forced = true;
        let (owner, lease, id) = (&asked.owner, &asked.lease, mark(asked));
        let (key, fence) = (&lease.key, lease.fence);
        let write = force::revoke(owner, asked.id, id, key, fence, &it.id, self.rules);
        send(world, worker, Token::Revoke, vec![ConditionalWrite::Worker(write)]);
        Some(())
    }

    fn force(&self, world: &mut World, worker: usize) -> Option<()> {
        let asked = world.workers[worker].asked.take()?;
        let now = world.lease(&asked.lease.key)?.clone();
        let seen = force::seen(&asked.lease, Some(&now), self.rules);
        if now.owner != seen.owner || now.fence != seen.fence || now.is_ended() {
            // Such a take never wins.
            return Some(());
        }
        self.send_take(world, worker, seen);
        if self.breaks(Mutant::MarkRemovedByTaker) {
            let write = force::unmark(&asked.owner, mark(&asked));
            other(world, worker, ConditionalWrite::Worker(write));
        }
        Some(())
    }
}

/// The entry of the revocation that follows an ask.
fn mark(asked: &Asked) -> EntryId {
    EntryId(asked.id.0 + 1)
}

fn see_revocation(world: &mut World, worker: usize) -> Option<()> {
    let now = world.clock(worker);
    let asked = world.workers[worker].asked.as_ref()?;
    let row = world.worker_row(&asked.owner)?;
    let marked = |entry: &InboxEntry| {
        matches!(entry, InboxEntry::Revoke { lease, fence, .. }
            if *lease == asked.lease.key && *fence == asked.lease.fence)
    };
    debug_assert!(row.inbox.len() <= INBOX_ENTRIES);
    let stands = row.inbox.values().any(marked);
    let asked = world.workers[worker].asked.as_mut()?;
    stands.then(|| asked.revoked_at = Some(now))
}
