//! Several records with one sequence number, told apart by their subsequence numbers.

use std::sync::{Arc, Mutex};

use kcl_protocol::{Checkpoint, Position};

use super::world::*;
use crate::consumer::{Acks, ConsumerCommand, ExitReason, StopReason};
use crate::dead_letter::MemoryDeadLetters;
use crate::policy::Action;
use crate::{Attempt, CheckpointError, ProcessorError, ReadFrom};

fn at_sub(number: u128, subsequence: u64) -> Checkpoint {
    Checkpoint::At(ps(number, subsequence))
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_falls_within_an_aggregate_and_the_work_goes_on_there() {
    let mut world = World::new();
    world.config.batch_records = 3;
    world.config.prefetch_records = 3;
    world.shelf.put_subs(1, 0..5);
    let running = world.start(|called| async move {
        match called {
            Called::Records(..) => Err(ProcessorError::at(ps(1, 2), "the third")),
            _ => Ok(()),
        }
    });
    world.settle().await;
    assert_eq!(running.status.borrow().acked, at_sub(1, 1));
    running.tell(ConsumerCommand::Stop(StopReason::HandOver)).await;
    let exit = running.task.await.unwrap();
    assert_eq!((exit.reason, exit.acked), (ExitReason::HandedBack, at_sub(1, 1)));
    world.lease.checkpoint = exit.acked;
    world.table.put(world.lease.clone());
    world.permit = crate::permit::Permit::new(key(), world.lease.fence, world.validity.clone());
    let running = world.start(ok);
    world.settle().await;
    assert_eq!(world.shelf.opened().last(), Some(&ReadFrom::After(ps(1, 1))));
    assert_eq!(world.calls().last().unwrap(), "records [1, 1, 1]", "the third to the fifth");
    tokio::time::sleep(secs(6)).await;
    assert_eq!(running.status.borrow().acked, at_sub(1, 4));
    assert_eq!(world.table.lease().checkpoint, at_sub(1, 4));
}

#[tokio::test(start_paused = true)]
async fn single_acks_and_the_watermark_tell_sub_records_apart() {
    let mut world = World::new();
    world.config.acks = Acks::Explicit;
    world.shelf.put_subs(1, 0..3);
    world.shelf.put_subs(2, [0]);
    let checkpointer = Arc::new(Mutex::new(None));
    let keep = Arc::clone(&checkpointer);
    let _running = world.start(move |called| {
        if let Called::Records(_, _, checkpointer) = &called {
            *keep.lock().unwrap() = Some(checkpointer.clone());
        }
        ok(called)
    });
    world.settle().await;
    let checkpointer = checkpointer.lock().unwrap().clone().unwrap();
    for (position, watermark) in [
        (ps(1, 1), Checkpoint::TrimHorizon),
        (ps(2, 0), Checkpoint::TrimHorizon),
        (ps(1, 0), at_sub(1, 1)),
        (ps(1, 2), at_sub(2, 0)),
    ] {
        checkpointer.ack(position).unwrap();
        checkpointer.checkpoint().await.unwrap();
        assert_eq!(world.table.lease().checkpoint, watermark, "after {position}");
    }
    let never = checkpointer.ack(ps(2, 1));
    assert_eq!(never, Err(CheckpointError::NotDelivered { position: ps(2, 1) }));
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_takes_its_sub_record_and_no_other() {
    let mut world = World::new();
    let letters = Arc::new(MemoryDeadLetters::bounded(10));
    world.dead_letters = Some(letters.clone());
    world.policy = Arc::new(|_: &ProcessorError, _: Attempt| Action::DeadLetter);
    world.shelf.put_subs(1, 0..4);
    let running = world.start(|called| async move {
        match called {
            Called::Records(numbers, ..) if numbers.len() > 2 => {
                Err(ProcessorError::at(ps(1, 1), "the second"))
            }
            _ => Ok(()),
        }
    });
    world.settle().await;
    let taken: Vec<Position> =
        letters.drain().iter().map(|letter| letter.record.position).collect();
    assert_eq!(taken, [ps(1, 1)]);
    assert_eq!(world.calls()[1..], ["records [1, 1, 1, 1]", "records [1, 1]"]);
    assert_eq!(running.status.borrow().acked, at_sub(1, 3));
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_is_prepared_and_committed_within_an_aggregate() {
    let world = World::new();
    world.shelf.put_subs(1, 0..4);
    let table = Arc::clone(&world.table);
    let _running = world.start(move |called| {
        let table = Arc::clone(&table);
        async move {
            let Called::Records(numbers, _, to) = called else { return Ok(()) };
            if numbers.len() < 4 {
                return Ok(());
            }
            let second = to.prepare(ps(1, 1), "state").await.map_err(ProcessorError::new)?;
            assert_eq!(table.lease().prepared.unwrap().checkpoint, at_sub(1, 1));
            second.commit().await.map_err(ProcessorError::new)?;
            assert_eq!((table.lease().checkpoint, table.lease().prepared), (at_sub(1, 1), None));
            Err(ProcessorError::new("the rest comes again"))
        }
    });
    tokio::time::sleep(secs(1)).await;
    assert_eq!(world.calls()[1..], ["records [1, 1, 1, 1]", "records [1, 1]"]);
}
