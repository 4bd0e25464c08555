//! What a step does to the world.

use kcl_protocol::limits::INBOX_ENTRIES;
use kcl_protocol::liveness::{self, apply_revocations, removable};
use kcl_protocol::watch::{fence_reaped, put_missing};
use kcl_protocol::writes::apply_all;
use kcl_protocol::{
    CasOutcome, Checkpoint, ConditionalWrite, EntryId, InboxEntry, LeaseKey, LeaseWrite, Mutant,
    Row, RowKey, WorkerId, WorkerRow, WorkerState, WorkerWrite, force, moves,
};

use super::action::Action;
use super::case::Case;
use super::checks::note_applied;
use super::world::{Answer, Asked, Request, TICK, Token, World};

impl Case {
    pub(super) fn step(&self, before: &World, action: &Action) -> Option<World> {
        let mut world = before.clone();
        match action {
            Action::Tick { slow } => tick(&mut world, *slow),
            Action::Beat(worker) => self.beat(&mut world, *worker),
            Action::ReadOwnRow(worker) => self.read_own_row(&mut world, *worker),
            Action::Observe(worker) => observe(&mut world, *worker),
            Action::Fence(worker, at) => self.fence(&mut world, *worker, *at)?,
            Action::PutMissing(worker, id) => self.put_missing(&mut world, *worker, id),
            Action::Take(worker, key) => self.take(&mut world, *worker, key)?,
            Action::Read(worker, key) => self.read(&mut world, *worker, key),
            Action::Apply { at, again } => self.apply(&mut world, *at, *again),
            Action::Answer(worker, at) => {
                let answer = world.workers[*worker].answers.remove(*at);
                self.answered(&mut world, *worker, answer);
            }
            Action::GiveUp(worker, token) => self.give_up(&mut world, *worker, *token),
            Action::DeleteRow(id) => {
                world.left.deletions -= 1;
                world.table.remove(&RowKey::Worker(id.clone()));
            }
            Action::Crash(worker) => {
                world.left.crashes -= 1;
                self.forget(&mut world, *worker);
            }
            Action::Reap(worker) => {
                let write = fence_reaped(&world.workers[*worker].id);
                other(&mut world, *worker, ConditionalWrite::Worker(write));
            }
            Action::Register(worker) => self.register(&mut world, *worker),
            moving => return self.step_move(world, moving),
        }
        (world != *before).then_some(world)
    }

    fn step_move(&self, mut world: World, action: &Action) -> Option<World> {
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

    /// What its workers' ownership writes depend on.
    pub(super) fn terms(&self) -> moves::Terms {
        moves::Terms { generation: 0, rules: self.rules }
    }

    /// Forgets all that a process keeps in memory.
    pub(super) fn forget(&self, world: &mut World, worker: usize) {
        let it = &mut *world.workers[worker];
        it.forget();
        it.holdings = self.holdings();
        it.watch = self.watch();
    }

    fn beat(&self, world: &mut World, worker: usize) {
        let now = world.clock(worker);
        let it = &mut *world.workers[worker];
        let Some(life) = &mut it.life else { return };
        // `due` notes that heartbeats went unanswered; what it says was asked already.
        let _ = life.due(now);
        life.sent(now);
        let mut row = WorkerRow::live(it.id.clone(), self.timing(worker));
        row.inbox.clone_from(&it.inbox);
        let done = removable(&row, &it.holdings, |id| it.decided.contains(id));
        let (load, digest) = (it.holdings.load(), it.holdings.digest());
        let write = liveness::heartbeat(self.rules, &it.id, load, digest, done);
        world.left.beats -= 1;
        send(world, worker, Token::Beat(now), vec![ConditionalWrite::Worker(write)]);
        if self.prompt.contains(&worker) {
            self.apply(world, world.pool.len() - 1, false);
            let answers = &mut world.workers[worker].answers;
            let at = answers.iter().position(|answer| answer.token == Token::Beat(now));
            let answer = at.map(|at| answers.remove(at));
            answer.into_iter().for_each(|answer| self.answered(world, worker, answer));
        }
    }

    fn read_own_row(&self, world: &mut World, worker: usize) {
        let now = world.clock(worker);
        let live = |row: &WorkerRow| row.state == WorkerState::Live;
        if !world.worker_row(&world.workers[worker].id).is_some_and(live) {
            return self.forget(world, worker);
        }
        if let Some(life) = &mut world.workers[worker].life {
            let _ = life.due(now);
            life.sent(now);
            life.read_answered(now);
        }
    }

    fn fence(&self, world: &mut World, worker: usize, at: usize) -> Option<()> {
        let now = world.clock(worker);
        let it = &mut *world.workers[worker];
        let life = it.life.clone()?;
        let write = it.watch.fences(&it.id, &life, now).into_iter().nth(at)?;
        let write = ConditionalWrite::Worker(write);
        let sent = world.pool.iter().any(|it| it.from == worker && it.writes[0] == write);
        (!sent).then(|| other(world, worker, write))
    }

    fn put_missing(&self, world: &mut World, worker: usize, id: &WorkerId) {
        let slowest = self.durations.iter().max().map(|ticks| TICK * *ticks);
        let (heartbeat, longest) = (100 + world.now, slowest.unwrap_or(TICK));
        let write = put_missing(id, heartbeat, longest, std::time::Duration::ZERO);
        other(world, worker, ConditionalWrite::Worker(write));
    }

    fn register(&self, world: &mut World, worker: usize) {
        world.left.registrations -= 1;
        let now = world.clock(worker);
        let timing = self.timing(worker);
        let it = &mut *world.workers[worker];
        it.id = Self::drawn(worker, it.lives, self.rules);
        it.lives += 1;
        let write = WorkerWrite::Create(WorkerRow::live(it.id.clone(), timing));
        send(world, worker, Token::Register(now), vec![ConditionalWrite::Worker(write)]);
    }

    fn take(&self, world: &mut World, worker: usize, key: &LeaseKey) -> Option<()> {
        let lease = world.lease(key)?.clone();
        self.send_take(world, worker, &lease);
        Some(())
    }

    fn send_take(&self, world: &mut World, worker: usize, lease: &kcl_protocol::Lease) {
        world.left.takes -= 1;
        let write = moves::take(lease, &world.workers[worker].id, self.terms());
        let index = self.index(&lease.key);
        send(world, worker, Token::Gain(index), vec![ConditionalWrite::Lease(write)]);
    }

    fn read(&self, world: &mut World, worker: usize, key: &LeaseKey) {
        world.left.reads -= 1;
        let token = Token::Read(self.index(key));
        let outcome = CasOutcome::Lost(world.lease(key).cloned().map(Row::Lease));
        let answer = Answer { token, outcome };
        let it = &mut *world.workers[worker];
        it.awaited.push(token);
        if self.prompt_reads {
            self.answered(world, worker, answer);
        } else {
            it.answers.push(answer);
        }
    }

    fn apply(&self, world: &mut World, at: usize, again: bool) {
        let request = world.pool[at].clone();
        if again {
            world.left.repeats -= 1;
        } else {
            world.pool.remove(at);
        }
        let before = world.clone();
        let applied = apply_all(&request.writes, |key| before.table.get(key).cloned());
        let outcome = match applied {
            Ok(rows) => {
                let first = rows.first().and_then(|(_, row)| row.clone());
                for (key, row) in rows {
                    match row {
                        Some(row) => drop(world.table.insert(key, row)),
                        None => drop(world.table.remove(&key)),
                    }
                }
                note_applied(&before, world, &request, self.records > 0);
                CasOutcome::Won(first)
            }
            Err(at) => CasOutcome::Lost(before.table.get(&request.writes[at].key()).cloned()),
        };
        let it = &mut *world.workers[request.from];
        let answered = it.answers.iter().any(|answer| answer.token == request.token);
        if it.id == request.id && it.awaited.contains(&request.token) && !answered {
            it.answers.push(Answer { token: request.token, outcome });
            it.answers.sort_by_key(|answer| answer.token);
        }
    }

    fn give_up(&self, world: &mut World, worker: usize, token: Token) {
        world.left.lost -= 1;
        let now = world.clock(worker);
        let it = &mut *world.workers[worker];
        it.awaited.retain(|awaited| *awaited != token);
        it.answers.retain(|answer| answer.token != token);
        match (token, &mut it.life) {
            (Token::Effects(..), _) => it.runs.values_mut().for_each(|run| run.no_answer(now)),
            (Token::Beat(_), Some(life)) => life.beat_unanswered(now),
            (Token::Register(_), _) => self.forget(world, worker),
            _ => {}
        }
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
        let acked = work.map(|work| work.acks.watermark());
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

fn tick(world: &mut World, slow: Option<usize>) {
    world.now += 1;
    if let Some(slow) = slow {
        world.left.drifts -= 1;
        world.workers[slow].lag += 1;
    }
}

fn observe(world: &mut World, worker: usize) {
    let now = world.clock(worker);
    let rows = world.table.values().filter_map(|row| row.clone().into_worker());
    let rows: Vec<_> = rows.filter(|row| row.id != world.workers[worker].id).collect();
    rows.iter().for_each(|row| world.workers[worker].watch.observe(row, now));
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

/// Sends a request whose answer the worker waits for.
pub(super) fn send(world: &mut World, worker: usize, token: Token, writes: Vec<ConditionalWrite>) {
    let it = &mut *world.workers[worker];
    if token != Token::Other {
        it.awaited.push(token);
        it.awaited.sort();
    }
    let id = it.id.clone();
    world.pool.push(Request { from: worker, id, token, writes, because: None });
}

/// Sends a request whose answer is not needed: what it did is read later.
fn other(world: &mut World, worker: usize, write: ConditionalWrite) {
    send(world, worker, Token::Other, vec![write]);
}
