//! What an answer means to the worker it reaches, and what a consumer does.

use kcl_protocol::{
    Beat, CasOutcome, ConditionalWrite, Lease, LeaseChange, LeaseCondition, LeaseKey, LeaseWrite,
    Moment, Mutant, Row, Standing, WorkerRow, moves,
};

use super::action::Action;
use super::case::Case;
use super::checks::{Flaw, at, records};
use super::step::send;
use super::world::{Answer, Run, Token, World};

impl Case {
    pub(super) fn answered(&self, world: &mut World, worker: usize, answer: Answer) {
        let it = &mut *world.workers[worker];
        it.awaited.retain(|token| *token != answer.token);
        let won = answer.outcome.is_won();
        let (CasOutcome::Won(row) | CasOutcome::Lost(row)) = answer.outcome;
        match answer.token {
            Token::Register(sent_at) => self.registered(world, worker, sent_at, won),
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
            Token::Checkpoint(_) | Token::Other => {}
            Token::Effects(record, ordinal) => {
                let row = row.and_then(Row::into_lease);
                let key = &self.keys[0];
                let mine = row.is_some_and(|row| {
                    world.workers[worker].holdings.fence(key) == Some(row.fence)
                        && row.ordinal == ordinal
                });
                self.effects_answered(world, worker, record, won || mine);
            }
        }
    }

    fn registered(&self, world: &mut World, worker: usize, sent_at: Moment, won: bool) {
        let now = world.clock(worker);
        if won || self.breaks(Mutant::IdUsedTwice) {
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
        let write = moves::adopt(&row.key, row.fence, &world.workers[worker].id, 0);
        send(world, worker, token, vec![ConditionalWrite::Lease(write)]);
    }

    /// A consumer starts from the checkpoint in the row.
    fn start(&self, world: &mut World, worker: usize, row: &Lease) {
        let it = &mut *world.workers[worker];
        let cached = it.cached.as_ref().map(|row| row.checkpoint);
        let done = records(cached.unwrap_or(row.checkpoint));
        let run = Run { delivered: done, acked: done, sent: done, ..Run::default() };
        it.runs.insert(row.key.clone(), run);
        if done < world.seen.high {
            world.seen.flaws.insert(Flaw::StartedBelow);
        }
        let ended = |parent| {
            let parent = world.lease(&row.key.sibling(parent));
            parent.is_none_or(Lease::is_ended)
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

    fn effects_answered(&self, world: &mut World, worker: usize, record: u8, done: bool) {
        for run in world.workers[worker].runs.values_mut() {
            if run.undecided.is_some_and(|(undecided, _)| undecided == record) {
                run.undecided = None;
                if done {
                    run.sent = run.sent.max(record);
                }
            }
        }
    }

    pub(super) fn step_data(&self, world: &mut World, action: &Action) -> Option<()> {
        let (Action::Deliver(worker, key)
        | Action::Ack(worker, key)
        | Action::Fail(worker, key)
        | Action::Checkpoint(worker, key)
        | Action::Effects(worker, key)
        | Action::End(worker, key)) = action
        else {
            return None;
        };
        if matches!(action, Action::End(..)) {
            return self.end(world, *worker, key);
        }
        let run = world.workers[*worker].runs.get_mut(key)?;
        match action {
            Action::Deliver(..) => run.delivered = run.acked + 1,
            Action::Fail(..) => run.delivered = run.acked,
            Action::Ack(..) => {
                run.acked = run.delivered;
                world.seen.acked = world.seen.acked.max(run.acked);
            }
            Action::Checkpoint(..) => self.checkpoint(world, *worker, key)?,
            _ => self.effects(world, *worker, key)?,
        }
        Some(())
    }

    fn checkpoint(&self, world: &mut World, worker: usize, key: &LeaseKey) -> Option<()> {
        world.left.writes -= 1;
        let it = &mut *world.workers[worker];
        let fence = it.holdings.fence(key)?;
        let run = it.runs.get_mut(key)?;
        let done = match self.breaks(Mutant::CheckpointPastUnacked) {
            true => run.delivered,
            false => run.acked,
        };
        run.ordinal = run.ordinal.next();
        run.sent = done;
        let mut when = vec![LeaseCondition::OwnerIs(it.id.clone()), LeaseCondition::FenceIs(fence)];
        if !self.breaks(Mutant::CheckpointWithoutOrdinal) {
            when.push(LeaseCondition::OrdinalAtMost(run.ordinal));
        }
        let change = vec![LeaseChange::Ordinal(run.ordinal), LeaseChange::Checkpoint(at(done))];
        let write = LeaseWrite::Update { key: key.clone(), when, change };
        let token = Token::Checkpoint(done);
        send(world, worker, token, vec![ConditionalWrite::Lease(write)]);
        // Nothing waits for a checkpoint: the next one is sent whatever became of it.
        world.workers[worker].awaited.retain(|awaited| *awaited != token);
        Some(())
    }

    fn effects(&self, world: &mut World, worker: usize, key: &LeaseKey) -> Option<()> {
        world.left.writes -= 1;
        let it = &mut *world.workers[worker];
        let fence = it.holdings.fence(key)?;
        let run = it.runs.get_mut(key)?;
        let (record, ordinal) = match run.undecided {
            Some(undecided) => undecided,
            None => {
                run.ordinal = run.ordinal.next();
                run.acked = run.delivered;
                (run.delivered, run.ordinal)
            }
        };
        run.undecided = Some((record, ordinal));
        world.seen.acked = world.seen.acked.max(record);
        let below = match self.breaks(Mutant::EffectsAtSameOrdinal) {
            true => LeaseCondition::OrdinalAtMost(ordinal),
            false => LeaseCondition::OrdinalBelow(ordinal),
        };
        let when =
            vec![LeaseCondition::OwnerIs(it.id.clone()), LeaseCondition::FenceIs(fence), below];
        let change = vec![LeaseChange::Ordinal(ordinal), LeaseChange::Checkpoint(at(record))];
        let write = LeaseWrite::Update { key: key.clone(), when, change };
        let token = Token::Effects(record, ordinal);
        send(world, worker, token, vec![ConditionalWrite::Lease(write)]);
        Some(())
    }

    fn end(&self, world: &mut World, worker: usize, key: &LeaseKey) -> Option<()> {
        let it = &mut *world.workers[worker];
        let fence = it.holdings.fence(key)?;
        it.holdings.spend(key, fence);
        it.runs.remove(key);
        let mut writes = moves::end(key, fence, &it.id, 0, &self.children(key));
        if self.breaks(Mutant::EndKeepsFence)
            && let Some(ConditionalWrite::Lease(LeaseWrite::Update { change, .. })) =
                writes.first_mut()
        {
            change.retain(|it| !matches!(it, LeaseChange::Fence(_)));
        }
        let token = Token::LetGo(self.index(key));
        if self.breaks(Mutant::EndInTwoWrites) {
            let children = writes.split_off(1);
            send(world, worker, token, writes);
            send(world, worker, Token::Other, children);
        } else {
            send(world, worker, token, writes);
        }
        Some(())
    }
}
