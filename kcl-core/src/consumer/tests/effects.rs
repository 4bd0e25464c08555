//! Checkpoints with effects: both or neither, once.

use kcl_protocol::{Checkpoint, Fence};

use super::world::*;
use crate::consumer::{Acks, ConsumerCommand, ExitReason, StopReason};
use crate::{CheckpointError, Effects, ProcessorError, TableError};

/// Every batch commits its first number as an effect.
async fn committing(called: Called) -> Result<(), ProcessorError> {
    if let Called::Records(numbers, _, checkpointer) = called {
        let effect = u32::try_from(numbers[0]).unwrap();
        checkpointer.checkpoint_with(Effects::new(effect)).await.map_err(ProcessorError::new)?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn effects_and_the_checkpoint_of_the_batch_go_together() {
    let world = World::new();
    world.shelf.put(1..=3);
    let running = world.start(committing);
    world.settle().await;
    assert_eq!(*world.table.effects.lock().unwrap(), [1]);
    assert_eq!(world.table.lease().checkpoint, at(3));
    assert_eq!(running.status.borrow().acked, at(3));
}

#[tokio::test(start_paused = true)]
async fn effects_whose_reply_was_lost_are_applied_once() {
    let world = World::new();
    for fault in [Fault::ReplyLost, Fault::Error(TableError::Conflict), Fault::ReplyLost] {
        world.table.fail(fault);
    }
    world.shelf.put(1..=3);
    let _running = world.start(committing);
    tokio::time::sleep(secs(5)).await;
    assert_eq!(*world.table.effects.lock().unwrap(), [1]);
    let writes = world.table.writes.lock().unwrap().clone();
    assert_eq!(writes.len(), 4);
    assert!(writes.iter().all(|write| *write == writes[0]), "the same ordinal each time");
}

#[tokio::test(start_paused = true)]
async fn refused_effects_leave_the_batch_unacked() {
    let world = World::new();
    world.table.fail(Fault::Error(TableError::Refused("not of my kind".into())));
    world.shelf.put([1]);
    let running = world.start(committing);
    world.settle().await;
    assert!(world.table.effects.lock().unwrap().is_empty());
    assert_eq!(running.status.borrow().acked, Checkpoint::TrimHorizon);
    tokio::time::sleep(secs(1)).await;
    assert_eq!(*world.table.effects.lock().unwrap(), [1], "the retry commits");
}

#[tokio::test(start_paused = true)]
async fn effects_refused_after_a_try_whose_fate_is_unknown_end_the_consumer() {
    let world = World::new();
    let refused = TableError::Refused("the item is too large".into());
    for error in [TableError::Unknown("no reply".into()), refused] {
        world.table.fail(Fault::Error(error));
    }
    world.shelf.put([1]);
    let running = world.start(committing);
    let exit = tokio::time::timeout(secs(10), running.task).await.unwrap().unwrap();
    // The lease goes on under a new fence, which the first try cannot pass.
    assert_eq!((exit.reason, exit.acked), (ExitReason::Lost, Checkpoint::TrimHorizon));
}

#[tokio::test(start_paused = true)]
async fn a_batch_whose_effects_are_in_is_not_delivered_again_after_an_error() {
    let world = World::new();
    world.shelf.put([1]);
    let running = world.start(|called| async move {
        let is_batch = matches!(called, Called::Records(..));
        committing(called).await?;
        if is_batch { Err(ProcessorError::new("too late")) } else { Ok(()) }
    });
    tokio::time::sleep(secs(1)).await;
    assert_eq!(world.calls()[1..], ["records [1]"]);
    assert_eq!(running.status.borrow().acked, at(1));
}

#[tokio::test(start_paused = true)]
async fn an_undecided_effect_holds_up_the_hand_over() {
    let mut world = World::new();
    world.config.stop_timeout = secs(1);
    for _ in 0..20 {
        world.table.fail(Fault::Error(TableError::Unavailable("away".into())));
    }
    world.shelf.put([1]);
    let running = world.start(committing);
    world.settle().await;
    running.tell(ConsumerCommand::Stop(StopReason::HandOver)).await;
    tokio::time::sleep(secs(10)).await;
    assert!(!running.task.is_finished());
    let exit = running.task.await.unwrap();
    assert_eq!(exit.reason, ExitReason::HandedBack);
    assert_eq!(exit.acked, at(1), "the effects were applied, so the checkpoint goes with them");
    assert_eq!(*world.table.effects.lock().unwrap(), [1]);
    let writes = world.table.writes.lock().unwrap().clone();
    assert!(writes.iter().all(|write| *write == writes[0]), "no other checkpoint in between");
}

#[tokio::test(start_paused = true)]
async fn a_lease_lost_while_an_effect_is_undecided_is_handed_on_without_a_checkpoint() {
    let world = World::new();
    world.table.fail(Fault::ReplyLost);
    for _ in 0..20 {
        world.table.fail(Fault::Error(TableError::Unavailable("away".into())));
    }
    world.shelf.put([1]);
    let running = world.start(committing);
    world.settle().await;
    assert_eq!(world.table.lease().checkpoint, at(1), "it applied, and nobody knows");
    world.permit.revoke();
    let exit = running.task.await.unwrap();
    assert_eq!((exit.reason, exit.acked), (ExitReason::Lost, Checkpoint::TrimHorizon));
    assert!(exit.is_undecided, "the watermark would lower the row's checkpoint");
}

#[tokio::test(start_paused = true)]
async fn effects_under_a_lost_fence_are_rejected() {
    let world = World::new();
    let running = world.start(|called| async move {
        if let Called::Records(_, _, checkpointer) = called {
            let answer = checkpointer.checkpoint_with(Effects::new(1u32)).await;
            assert_eq!(answer, Err(CheckpointError::LeaseLost { fence: Fence(7) }));
        }
        Ok(())
    });
    world.settle().await;
    let mut taken = world.table.lease();
    taken.fence = Fence(8);
    world.table.put(taken);
    world.shelf.put([1]);
    assert_eq!(running.task.await.unwrap().reason, ExitReason::Lost);
    assert!(world.table.effects.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn effects_of_a_dropped_call_that_were_not_sent_are_withdrawn() {
    let world = World::new();
    world.shelf.put([1]);
    let running = world.start(|called| async move {
        match called {
            Called::Records(ref numbers, ..) if numbers[0] > 1 => committing(called).await,
            _ => Ok(()),
        }
    });
    // The write of record 1 fails, so the table is left alone for a moment.
    world.table.fail(Fault::Error(TableError::Unavailable("away".into())));
    tokio::time::sleep(secs(5)).await;
    world.settle().await;
    world.shelf.put([2]);
    world.settle().await;
    world.expire();
    world.settle().await;
    world.shelf.put([3]);
    world.grant();
    tokio::time::sleep(secs(1)).await;
    assert_eq!(world.calls()[2..], ["records [2]", "records [2]", "records [3]"]);
    assert_eq!(*world.table.effects.lock().unwrap(), [2, 3]);
    assert_eq!(running.status.borrow().acked, at(3));
}

#[tokio::test(start_paused = true)]
async fn no_record_comes_again_while_its_effects_are_undecided() {
    let world = World::new();
    world.table.fail(Fault::Error(TableError::Unknown("lost".into())));
    world.shelf.put([1]);
    let running = world.start(committing);
    world.settle().await;
    world.expire();
    world.settle().await;
    world.shelf.put([2]);
    world.grant();
    tokio::time::sleep(secs(1)).await;
    assert_eq!(world.calls()[1..], ["records [1]", "records [2]"]);
    assert_eq!(*world.table.effects.lock().unwrap(), [1, 2]);
    assert_eq!(running.status.borrow().acked, at(2));
}

#[tokio::test(start_paused = true)]
async fn a_farewell_with_effects_covers_no_failed_batch() {
    let world = World::new();
    world.shelf.put([1]);
    let running = world.start(|called| async move {
        match called {
            Called::Records(..) => Err(ProcessorError::new("no")),
            Called::Shutdown(checkpointer) => {
                checkpointer.checkpoint_with(Effects::new(9u32)).await.map_err(ProcessorError::new)
            }
            _ => Ok(()),
        }
    });
    world.settle().await;
    running.tell(ConsumerCommand::Stop(StopReason::Shutdown)).await;
    assert_eq!(running.task.await.unwrap().acked, Checkpoint::TrimHorizon);
    assert_eq!(*world.table.effects.lock().unwrap(), [9]);
}

#[tokio::test(start_paused = true)]
async fn with_explicit_acks_others_run_on_while_a_failed_batch_waits_for_an_undecided_effect() {
    let mut world = World::new();
    (world.config.acks, world.config.batch_records) = (Acks::Explicit, 1);
    for _ in 0..9 {
        world.table.fail(Fault::Error(TableError::Unknown("lost".into())));
    }
    world.shelf.put(1..=3);
    let running = world.start(|called| async move {
        let Called::Records(numbers, attempt, checkpointer) = called else { return Ok(()) };
        if numbers == [1] && attempt == 0 {
            let effects = checkpointer.clone();
            tokio::spawn(async move { effects.checkpoint_with(Effects::new(1u32)).await });
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            return Err(ProcessorError::new("no"));
        }
        numbers.iter().try_for_each(|number| checkpointer.ack(p(*number))).unwrap();
        Ok(())
    });
    tokio::time::sleep(secs(60)).await;
    assert_eq!(*world.table.effects.lock().unwrap(), [1]);
    assert_eq!(running.status.borrow().acked, at(3));
}
