//! What a consumer does: deliveries, acks, checkpoints, effects, the end of a shard.

use std::time::Duration;

use kcl_protocol::acks::Acks;
use kcl_protocol::gate::{self, Carries, Gate, Progress, Ruling};
use kcl_protocol::moves::Child;
use kcl_protocol::{Checkpoint, Lease, LeaseKey, Moment, Ordinal, Position, WorkerId, moves};

use super::action::Action;
use super::case::Case;
use super::checks::{at, records};
use super::step::send;
use super::world::{Token, World};

/// One shard's consumer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Run {
    /// What it has done; none in cases without records.
    pub work: Option<Work>,
}

/// How far a consumer has come.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Work {
    /// The last record delivered.
    pub delivered: u8,
    /// Which records are done.
    pub acks: Acks,
    /// What goes into the row.
    pub gate: Gate,
}

impl Run {
    /// A consumer that starts from this row.
    pub(super) fn new(row: &Lease, me: &WorkerId, case: &Case) -> Self {
        let work = || Work {
            delivered: records(row.checkpoint),
            acks: Acks::new(row.checkpoint),
            gate: Gate::new(row, me.clone(), Duration::ZERO).with_rules(case.rules),
        };
        Self { work: (case.records > 0).then(work) }
    }
    /// The write that is out is not answered in time.
    pub(super) fn no_answer(&mut self, now: Moment) {
        if let Some(work) = &mut self.work {
            work.gate.answered(gate::Answer::Unknown, now);
        }
    }
}

impl Work {
    /// Records acknowledged: the watermark.
    pub(super) fn acked(&self) -> u8 {
        records(self.acks.watermark())
    }
    fn progress(&self) -> Progress {
        self.gate.progress(self.acks.checkpoint(self.gate.rules()), None)
    }
    /// True if the row does not say yet what it should, and no write that says so is out.
    pub(super) fn has_news(&self) -> bool {
        let progress = self.progress();
        let is_out = self.gate.pending().is_some_and(|pending| pending.progress == progress);
        self.gate.lacks(&progress) && !is_out
    }
}

fn position(record: u8) -> Option<Position> {
    match at(record) {
        Checkpoint::At(position) => Some(position),
        _ => None,
    }
}

impl Case {
    pub(super) fn step_data(&self, world: &mut World, action: &Action) -> Option<()> {
        let (Action::Deliver(worker, key)
        | Action::Ack(worker, key)
        | Action::Fail(worker, key)
        | Action::Checkpoint(worker, key)
        | Action::Effects(worker, key)
        | Action::End(worker, key)
        | Action::EndDropped(worker, key)) = action
        else {
            return None;
        };
        match action {
            Action::End(..) => return self.end(world, *worker, key, &self.children(key)),
            Action::EndDropped(..) => {
                let children = self.children_of_dropped(world, key)?;
                return self.end(world, *worker, key, &children);
            }
            _ => {}
        }
        let work = world.workers[*worker].runs.get_mut(key)?.work.as_mut()?;
        match action {
            Action::Deliver(..) => {
                work.delivered = work.acked() + 1;
                work.acks.deliver_each(position(work.delivered).into_iter().collect());
            }
            Action::Fail(..) => {
                work.acks.rewind();
                work.delivered = work.acked();
            }
            Action::Ack(..) => {
                work.acks.ack(position(work.delivered)?);
                let acked = work.acked();
                world.seen.acked = world.seen.acked.max(acked);
            }
            Action::Checkpoint(..) => self.write(world, *worker, key, Carries::CheckpointOnly)?,
            _ => self.write(world, *worker, key, Carries::Effects)?,
        }
        Some(())
    }

    /// Sends what the gate lets through: a checkpoint at the watermark, alone or with the effect
    /// of the record that is out.
    fn write(&self, world: &mut World, worker: usize, key: &LeaseKey, with: Carries) -> Option<()> {
        world.left.writes -= 1;
        let now = world.clock(worker);
        let it = &mut *world.workers[worker];
        let fence = it.holdings.fence(key)?;
        let work = it.runs.get_mut(key)?.work.as_mut()?;
        if with == Carries::Effects && !work.gate.is_undecided() {
            // The record is done once its effect is: the processor acknowledges it with that.
            work.acks.ack(position(work.delivered)?);
        }
        if it.awaited.iter().any(|token| matches!(token, Token::Checkpoint(_))) {
            // One write is out at a time: the former one is given up on.
            work.gate.answered(gate::Answer::Unknown, now);
            it.awaited.retain(|token| !matches!(token, Token::Checkpoint(_)));
            it.answers.retain(|answer| !matches!(answer.token, Token::Checkpoint(_)));
        }
        let write = work.gate.send(work.progress(), with);
        let pending = work.gate.pending()?;
        let token = match pending.carries {
            Carries::Effects => {
                Token::Effects(records(pending.progress.checkpoint), pending.ordinal, fence)
            }
            Carries::CheckpointOnly | Carries::Prepare => Token::Checkpoint(pending.ordinal),
        };
        world.seen.acked = world.seen.acked.max(work.acked());
        send(world, worker, token, vec![write]);
        Some(())
    }

    /// What the gate makes of an answer.
    pub(super) fn write_answered(
        &self,
        world: &mut World,
        worker: usize,
        ordinal: Ordinal,
        won: bool,
        row: Option<Lease>,
    ) {
        let now = world.clock(worker);
        let it = &mut *world.workers[worker];
        let mut lost = Vec::new();
        for (key, run) in &mut it.runs {
            let Some(work) = &mut run.work else { continue };
            if work.gate.pending().is_none_or(|pending| pending.ordinal != ordinal) {
                continue;
            }
            let answer = match won {
                true => gate::Answer::Won,
                false => gate::Answer::Lost(row.clone()),
            };
            if work.gate.answered(answer, now) == Ruling::LeaseLost {
                lost.push(key.clone());
            }
        }
        for key in lost {
            if let Some(fence) = it.holdings.fence(&key) {
                it.holdings.spend(&key, fence);
            }
            it.runs.remove(&key);
        }
    }

    fn end(
        &self,
        world: &mut World,
        worker: usize,
        key: &LeaseKey,
        children: &[Child],
    ) -> Option<()> {
        let it = &mut *world.workers[worker];
        let fence = it.holdings.fence(key)?;
        it.holdings.lets_go(key, fence);
        it.runs.remove(key);
        let writes = moves::end(key, fence, &it.id, self.terms(), children);
        for (index, writes) in moves::transactions(writes, self.rules).into_iter().enumerate() {
            let token = if index == 0 { Token::LetGo(self.index(key)) } else { Token::Other };
            send(world, worker, token, writes);
        }
        Some(())
    }
}
