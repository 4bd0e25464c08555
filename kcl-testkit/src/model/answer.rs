//! What an answer means to the worker it reaches.

use kcl_protocol::{
    Beat, CasOutcome, ConditionalWrite, Lease, Liveness, Moment, Mutant, Row, Standing, WorkerRow,
    moves,
};

use super::case::Case;
use super::checks::{Flaw, records};
use super::data::Run;
use super::step::send;
use super::world::{Answer, Token, World};

impl Case {
    pub(super) fn answered(&self, world: &mut World, worker: usize, answer: Answer) {
        let it = &mut *world.workers[worker];
        it.awaited.retain(|token| *token != answer.token);
        let won = answer.outcome.is_won();
        let registered = Liveness::is_registered(&answer.outcome, self.rules);
        let (CasOutcome::Won(row) | CasOutcome::Lost(row)) = answer.outcome;
        match answer.token {
            Token::Register(sent_at) => self.registered(world, worker, sent_at, registered),
            Token::Beat(sent_at) => {
                let row = row.and_then(Row::into_worker).filter(|_| won);
                self.beat_answered(world, worker, sent_at, row);
            }
            Token::Gain(_) => {
                let row = row.and_then(Row::into_lease).filter(|_| won);
                if let Some(row) = row {
                    self.gained(world, worker, &row);
                }
            }
            Token::Read(_) => {
                if let Some(row) = row.and_then(Row::into_lease) {
                    self.lease_read(world, worker, &row);
                }
            }
            Token::LetGo(index) => self.let_go_answered(world, worker, index),
            Token::Revoke => {
                let now = world.clock(worker);
                if let Some(asked) = &mut world.workers[worker].asked {
                    asked.revoked_at = won.then_some(now);
                }
            }
            Token::Other => {}
            Token::Checkpoint(ordinal) | Token::Effects(_, ordinal, _) => {
                self.write_answered(world, worker, ordinal, won, row.and_then(Row::into_lease));
            }
        }
    }

    fn registered(&self, world: &mut World, worker: usize, sent_at: Moment, registered: bool) {
        let now = world.clock(worker);
        if registered {
            world.workers[worker].life = Some(self.live_at(worker, sent_at, now));
        }
    }

    fn beat_answered(
        &self,
        world: &mut World,
        worker: usize,
        sent_at: Moment,
        row: Option<WorkerRow>,
    ) {
        let now = world.clock(worker);
        let it = &mut *world.workers[worker];
        let (Some(row), Some(life)) = (row, &mut it.life) else {
            return self.forget(world, worker);
        };
        match life.beat_answered(&row, sent_at, now, &mut it.holdings) {
            Beat::Restored => self.forget(world, worker),
            Beat::Valid { lost, gap } => {
                lost.iter().for_each(|key| {
                    it.runs.remove(key);
                });
                if gap {
                    it.watch.restart();
                }
                it.decided.retain(|id| row.inbox.contains_key(id));
                it.inbox = row.inbox;
            }
        }
    }

    /// An own write made this worker the owner.
    fn gained(&self, world: &mut World, worker: usize, row: &Lease) {
        let now = world.clock(worker);
        let it = &mut *world.workers[worker];
        if self.breaks(Mutant::TakeExtendsValidity)
            && let Some(life) = &it.life
        {
            it.extra = it.extra.max(now + life.timing().own());
        }
        self.lease_read(world, worker, row);
    }

    /// A row of a strong read or of an own write says who may hold the lease.
    fn lease_read(&self, world: &mut World, worker: usize, row: &Lease) {
        let it = &mut *world.workers[worker];
        match it.holdings.standing(row, &it.id) {
            Standing::Hold => {
                let was_spent = it.holdings.is_spent(&row.key, row.fence);
                if it.holdings.hold(&row.key, row.fence) {
                    if was_spent {
                        world.seen.flaws.insert(Flaw::SpentFenceHeld);
                    }
                    self.start(world, worker, row);
                }
            }
            Standing::Adopt => self.adopt(world, worker, row),
            Standing::Held | Standing::NotMine | Standing::Ended => {}
        }
    }

    fn adopt(&self, world: &mut World, worker: usize, row: &Lease) {
        let token = Token::Gain(self.index(&row.key));
        if !self.has_room(world) || world.workers[worker].awaits(|it| *it == token) {
            return;
        }
        let write = moves::adopt(&row.key, row.fence, &world.workers[worker].id, self.terms());
        send(world, worker, token, vec![ConditionalWrite::Lease(write)]);
    }

    /// A consumer starts from the checkpoint in the row.
    fn start(&self, world: &mut World, worker: usize, row: &Lease) {
        let it = &mut *world.workers[worker];
        let from = moves::started(row.clone(), it.cached.as_ref(), self.rules);
        let run = Run::new(&from, &it.id, self);
        it.runs.insert(row.key.clone(), run);
        if records(from.checkpoint) < world.seen.high {
            world.seen.flaws.insert(Flaw::StartedBelow);
        }
        self.note_begun(world, &row.key);
        let ended = |parent| {
            let key = row.key.sibling(parent);
            let has_ended = world.lease(&key).is_some_and(Lease::is_ended);
            has_ended || self.is_unreadable(world, &key)
        };
        if !row.parents.iter().all(ended) {
            world.seen.flaws.insert(Flaw::ChildEarly);
        }
    }

    fn let_go_answered(&self, world: &mut World, worker: usize, index: u8) {
        if self.breaks(Mutant::HeldDuringHandOver) {
            let key = &self.keys[usize::from(index)];
            let it = &mut *world.workers[worker];
            if let Some(fence) = it.holdings.fence(key) {
                it.holdings.spend(key, fence);
                it.runs.remove(key);
            }
        }
    }
}
