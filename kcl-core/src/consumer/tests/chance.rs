//! Whatever happens, nothing is lost, nothing is skipped, and no checkpoint passes open work.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use kcl_protocol::hash::mix;
use kcl_protocol::{Checkpoint, Ordinal, Position};

use super::world::*;
use crate::consumer::{ConsumerCommand, Exit, StopReason};
use crate::event::EventKind;
use crate::permit::Permit;
use crate::*;

const RECORDS: u128 = 120;

/// Draws numbers that depend on the seed alone.
#[derive(Clone)]
struct Dice(Arc<Mutex<u64>>);

impl Dice {
    fn below(&self, bound: u64) -> u64 {
        let mut state = self.0.lock().unwrap();
        *state = mix(*state);
        *state % bound
    }
    fn millis(&self, bound: u64) -> Duration {
        Duration::from_millis(self.below(bound))
    }
}

/// What the processor did, as its own database would show it.
type Done = Arc<Mutex<BTreeSet<Position>>>;

/// Acks in some order, some of it late and from other tasks.
fn ack_somehow(checkpointer: Checkpointer, mut open: Vec<Position>, dice: Dice, done: Done) {
    tokio::spawn(async move {
        while !open.is_empty() {
            let position = open.swap_remove(dice.below(open.len() as u64) as usize);
            tokio::time::sleep(dice.millis(3)).await;
            done.lock().unwrap().insert(position);
            match checkpointer.ack(position) {
                Ok(()) | Err(CheckpointError::NotDelivered { .. }) => {}
                Err(_) => return,
            }
        }
    });
}

async fn process(called: Called, dice: Dice, done: Done, acks: Acks) -> Result<(), ProcessorError> {
    let Called::Records(numbers, _, checkpointer) = called else {
        return if dice.below(4) == 0 { Err(ProcessorError::new("no")) } else { Ok(()) };
    };
    let positions: Vec<_> = numbers.into_iter().map(p).collect();
    if dice.below(3) == 0 {
        tokio::time::sleep(dice.millis(400)).await;
    }
    let failing = positions[dice.below(positions.len() as u64) as usize];
    match dice.below(8) {
        0 => return Err(ProcessorError::new("no")),
        1 => {
            let before = positions.iter().copied().filter(|each| *each < failing);
            done.lock().unwrap().extend(before);
            return Err(ProcessorError::at(failing, "no"));
        }
        2 => panic!("scripted panic"),
        3 if acks == Acks::OnReturn => {
            done.lock().unwrap().extend(positions);
            let effect = Effects::new(dice.below(u64::from(u32::MAX)) as u32);
            return checkpointer.checkpoint_with(effect).await.map_err(ProcessorError::new);
        }
        _ => {}
    }
    match acks {
        Acks::OnReturn => done.lock().unwrap().extend(positions),
        Acks::Explicit => ack_somehow(checkpointer, positions, dice, done),
    }
    Ok(())
}

/// A sink that fails now and then; what it keeps is done.
struct Sink {
    dice: Dice,
    done: Done,
}

#[async_trait]
impl DeadLetterSink for Sink {
    async fn put(&self, letter: &DeadLetter) -> Result<(), DeadLetterError> {
        tokio::time::sleep(self.dice.millis(100)).await;
        if self.dice.below(3) == 0 {
            return Err(DeadLetterError("scripted".into()));
        }
        self.done.lock().unwrap().insert(letter.record.position);
        Ok(())
    }
}

/// The default policy, or one that gives records to the sink.
fn policy(seed: u64) -> Arc<dyn ErrorPolicy> {
    let retry = RetryThenStop { retries: 3, ..RetryThenStop::default() };
    if !seed.is_multiple_of(3) {
        return Arc::new(retry);
    }
    Arc::new(move |error: &ProcessorError, attempt: Attempt| match attempt.number {
        0..=1 => retry.decide(error, attempt),
        _ => Action::DeadLetter,
    })
}

async fn trouble(world: &World, running: &Running, dice: &Dice) {
    // Faults that wait are met one a retry, so they must not come faster than that.
    let calm = if world.shelf.faults() + world.table.faults() > 2 { 5 } else { 0 };
    match calm.max(dice.below(9)) {
        0 => world.table.fail(Fault::ReplyLost),
        1 => world.table.fail(Fault::Error(TableError::Conflict)),
        2 => world.table.fail(Fault::Error(TableError::Unknown("lost".into()))),
        3 => world.shelf.fail(SourceError::Expired),
        4 => world.shelf.fail(SourceError::Unavailable("away".into())),
        5 => world.expire(),
        6 => drop(running.commands.try_send(ConsumerCommand::Pause).ok()),
        _ => {}
    }
    tokio::time::sleep(dice.millis(300)).await;
    world.grant();
    // It may have ended meanwhile.
    let _ = running.commands.send(ConsumerCommand::Resume).await;
}

/// Whether the lease changes hands on the way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owners {
    One,
    Many,
}

fn begin(world: &World, dice: &Dice, done: &Done) -> Running {
    let (dice, done, acks) = (dice.clone(), Arc::clone(done), world.config.acks);
    world.start(move |called| process(called, dice.clone(), Arc::clone(&done), acks))
}

/// Ends the consumer in one of three ways and starts the next owner's as a scheduler would.
async fn change_hands(world: &mut World, running: Running, dice: &Dice, done: &Done) -> Running {
    match dice.below(3) {
        0 => {
            let _ = running.commands.send(ConsumerCommand::Stop(StopReason::HandOver)).await;
        }
        1 => world.permit.revoke(),
        _ => running.task.abort(),
    }
    let exit = running.task.await;
    let mut row = world.table.lease();
    if let Ok(Exit { reason: ExitReason::HandedBack, acked, .. }) = exit {
        assert!(acked >= row.checkpoint);
        row.checkpoint = acked;
    }
    (row.fence, row.ordinal) = (row.fence.next(0), Ordinal(0));
    world.table.put(row.clone());
    world.permit = Permit::new(key(), row.fence, Arc::clone(&world.validity));
    world.lease = row;
    begin(world, dice, done)
}

async fn run(seed: u64, owners: Owners) {
    let dice = Dice(Arc::new(Mutex::new(mix(seed))));
    let done = Done::default();
    let mut world = World::new();
    world.config.acks = if seed.is_multiple_of(2) { Acks::OnReturn } else { Acks::Explicit };
    world.config.batch_records = 1 + dice.below(12) as usize;
    world.config.prefetch_records = 1 + dice.below(30) as usize;
    world.config.max_unacked_records = 1 + dice.below(25) as usize;
    world.config.checkpoint_interval = dice.millis(400) + Duration::from_millis(10);
    world.policy = policy(seed);
    world.dead_letters = Some(Arc::new(Sink { dice: dice.clone(), done: Arc::clone(&done) }));
    let mut running = begin(&world, &dice, &done);
    let mut put = 0;
    for _ in 0..4000 {
        if running.task.is_finished() {
            break;
        }
        let more = (put + 1 + u128::from(dice.below(9))).min(RECORDS);
        world.shelf.put(put + 1..=more);
        put = more;
        if put == RECORDS {
            world.shelf.end(vec![]);
        }
        trouble(&world, &running, &dice).await;
        if owners == Owners::Many && dice.below(15) == 0 && !running.task.is_finished() {
            running = change_hands(&mut world, running, &dice, &done).await;
        }
        check(&world, &done.lock().unwrap());
    }
    assert!(running.task.is_finished(), "seed {seed} hangs: {:?}", running.status.borrow());
    let exit = running.task.await.unwrap();
    assert_eq!(exit.reason, ExitReason::Ended { children: vec![] }, "seed {seed}");
    assert_eq!(exit.acked, at(RECORDS), "seed {seed}");
    let all: BTreeSet<_> = (1..=RECORDS).map(p).collect();
    assert_eq!(*done.lock().unwrap(), all, "seed {seed}");
    check(&world, &done.lock().unwrap());
    let effects = world.table.effects.lock().unwrap().clone();
    let once: BTreeSet<_> = effects.iter().collect();
    assert_eq!(once.len(), effects.len(), "seed {seed}: an effect was applied twice");
}

fn check(world: &World, done: &BTreeSet<Position>) {
    let (mut last, mut reached) = (Checkpoint::TrimHorizon, 0);
    for event in world.events.lock().unwrap().iter() {
        match &event.kind {
            EventKind::Checkpointed { checkpoint, .. } => {
                assert!(*checkpoint >= last, "checkpoints only rise");
                last = *checkpoint;
            }
            EventKind::BatchStarted { span, .. } => {
                let (first, until) = (span.first.sequence.parts().1, span.last.sequence.parts().1);
                assert!(first <= reached + 1, "record {} was skipped", reached + 1);
                reached = reached.max(until);
            }
            _ => {}
        }
    }
    let row = world.table.lease().checkpoint;
    let open = (1..=RECORDS).map(p).find(|position| !done.contains(position));
    if let (Checkpoint::At(checkpoint), Some(open)) = (row, open) {
        assert!(checkpoint < open, "the checkpoint {checkpoint} passed {open}");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_or_skipped_whatever_fails() {
    for seed in 0..150 {
        run(seed, Owners::One).await;
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_or_skipped_over_many_owners() {
    for seed in 0..150 {
        run(seed, Owners::Many).await;
    }
}
