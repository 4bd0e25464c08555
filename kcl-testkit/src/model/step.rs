//! What a step does to the world.

use kcl_protocol::liveness::{self, removable};
use kcl_protocol::watch::{fence_reaped, put_missing};
use kcl_protocol::writes::apply_all;
use kcl_protocol::{
    CasOutcome, ConditionalWrite, LeaseKey, Row, RowKey, WorkerId, WorkerRow, WorkerState,
    WorkerWrite, moves,
};

use super::action::Action;
use super::case::Case;
use super::checks::note_applied;
use super::world::{Answer, Request, TICK, Token, World};

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
            Action::Drop => world.left.drops -= 1,
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

    pub(super) fn send_take(&self, world: &mut World, worker: usize, lease: &kcl_protocol::Lease) {
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
pub(super) fn other(world: &mut World, worker: usize, write: ConditionalWrite) {
    send(world, worker, Token::Other, vec![write]);
}
