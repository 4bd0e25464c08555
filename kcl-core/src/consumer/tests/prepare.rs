//! Checkpoints in two phases: prepared, found by the next owner, committed or passed.

use std::sync::{Arc, Mutex};

use kcl_protocol::limits::PREPARED_STATE_BYTES;
use kcl_protocol::{Checkpoint, Prepared};

use super::world::*;
use crate::consumer::{Acks, ConsumerCommand, StopReason};
use crate::{
    Bytes, CheckpointError, Checkpointer, Effects, PreparedCheckpoint, ProcessorError, TableError,
};

fn prepared(number: u128) -> Option<Prepared> {
    Some(Prepared { checkpoint: at(number), state: Bytes::from_static(b"half") })
}

async fn prepare(to: &Checkpointer, number: u128) -> Result<PreparedCheckpoint, CheckpointError> {
    to.prepare(p(number), "half").await
}

/// Every batch is prepared at its last record and waits for ever.
async fn preparing(called: Called) -> Result<(), ProcessorError> {
    if let Called::Records(numbers, _, checkpointer) = called {
        let last = numbers[numbers.len() - 1];
        prepare(&checkpointer, last).await.map_err(ProcessorError::new)?;
        std::future::pending::<()>().await;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_prepared_checkpoint_stands_beside_the_old_one_until_it_is_committed() {
    let world = World::new();
    world.shelf.put(1..=3);
    let table = Arc::clone(&world.table);
    let running = world.start(move |called| {
        let table = Arc::clone(&table);
        async move {
            let Called::Records(_, _, checkpointer) = called else { return Ok(()) };
            let two = prepare(&checkpointer, 2).await.map_err(ProcessorError::new)?;
            let row = table.lease();
            assert_eq!((row.checkpoint, row.prepared), (Checkpoint::TrimHorizon, prepared(2)));
            two.commit().await.map_err(ProcessorError::new)?;
            two.commit().await.map_err(ProcessorError::new)?;
            let row = table.lease();
            assert_eq!((row.checkpoint, row.prepared), (at(2), None));
            Err(ProcessorError::new("the rest is not done"))
        }
    });
    tokio::time::sleep(secs(1)).await;
    assert_eq!(running.status.borrow().acked, at(2), "a commit acks what is before it");
    assert!(world.calls()[2..].iter().all(|call| call == "records [3]"), "{:?}", world.calls());
}

#[tokio::test(start_paused = true)]
async fn a_new_owner_finds_what_was_prepared_and_its_state() {
    let mut world = World::new();
    world.shelf.put(1..=3);
    let running = world.start(preparing);
    world.settle().await;
    world.permit.revoke();
    running.task.await.unwrap();
    world.lease = world.table.lease();
    let next = world.lease.fence.next(0);
    world.lease.fence = next;
    world.table.put(world.lease.clone());
    world.permit = crate::permit::Permit::new(key(), next, Arc::clone(&world.validity));
    let found = Arc::new(Mutex::new(None));
    let told = Arc::clone(&found);
    let _running = world.start(move |called| {
        if let Called::Initialize(start) = &called {
            *told.lock().unwrap() = start.prepared.clone();
        }
        ok(called)
    });
    world.settle().await;
    assert_eq!(*found.lock().unwrap(), prepared(3));
    assert_eq!(world.calls().last().unwrap(), "records [1, 2, 3]", "delivered again all the same");
    tokio::time::sleep(secs(6)).await;
    let row = world.table.lease();
    assert_eq!((row.checkpoint, row.prepared), (at(3), None), "reaching it is its commit");
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_at_the_interval_leaves_what_is_prepared_beyond_it() {
    let mut world = World::new();
    world.config.acks = Acks::Explicit;
    world.shelf.put(1..=3);
    let _running = world.start(|called| async move {
        if let Called::Records(_, _, checkpointer) = called {
            let three = prepare(&checkpointer, 3).await.map_err(ProcessorError::new)?;
            checkpointer.ack(p(1)).map_err(ProcessorError::new)?;
            let refused = three.commit().await;
            let wanted = CheckpointError::NotAcked { position: p(3), first_open: p(2) };
            assert_eq!(refused, Err(wanted), "no checkpoint passes an unacked record");
        }
        Ok(())
    });
    tokio::time::sleep(secs(6)).await;
    let row = world.table.lease();
    assert_eq!((row.checkpoint, row.prepared), (at(1), prepared(3)));
}

#[tokio::test(start_paused = true)]
async fn a_prepared_checkpoint_goes_with_a_hand_over_unless_it_is_reached() {
    let mut world = World::new();
    world.config.stop_timeout = secs(1);
    world.shelf.put(1..=3);
    let running = world.start(preparing);
    world.settle().await;
    running.tell(ConsumerCommand::Stop(StopReason::HandOver)).await;
    let exit = running.task.await.unwrap();
    assert_eq!((exit.acked, exit.prepared), (Checkpoint::TrimHorizon, prepared(3)));
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_to_a_prepare_is_asked_for_again_and_never_guessed() {
    let world = World::new();
    for fault in [Fault::ReplyLost, Fault::Error(TableError::Throttled)] {
        world.table.fail(fault);
    }
    world.shelf.put(1..=3);
    let _running = world.start(preparing);
    tokio::time::sleep(secs(4)).await;
    assert_eq!(world.table.lease().prepared, prepared(3));
    let writes = world.table.writes.lock().unwrap().clone();
    assert!(writes.len() == 3 && writes.iter().all(|write| *write == writes[0]), "{writes:?}");
    assert_eq!(world.calls().len(), 2, "the call still waits: it was told nothing wrong");
}

#[tokio::test(start_paused = true)]
async fn a_refused_prepare_says_so_and_leaves_nothing_behind() {
    let world = World::new();
    world.table.fail(Fault::Error(TableError::Refused("no".into())));
    world.shelf.put([1]);
    let _running = world.start(|called| async move {
        if let Called::Records(_, 0, checkpointer) = called {
            let refused = prepare(&checkpointer, 1).await.unwrap_err();
            assert_eq!(refused, CheckpointError::Refused("refused by the lease table: no".into()));
        }
        Ok(())
    });
    tokio::time::sleep(secs(6)).await;
    let row = world.table.lease();
    assert_eq!((row.checkpoint, row.prepared), (at(1), None));
}

#[tokio::test(start_paused = true)]
async fn only_what_is_out_can_be_prepared_with_a_state_of_bounded_size() {
    let world = World::new();
    world.shelf.put(1..=2);
    let running = world.start(|called| async move {
        let Called::Records(_, _, checkpointer) = called else { return Ok(()) };
        let beyond = prepare(&checkpointer, 9).await.unwrap_err();
        assert_eq!(beyond, CheckpointError::NotDelivered { position: p(9) });
        let most = PREPARED_STATE_BYTES;
        let large = checkpointer.prepare(p(2), vec![0; most + 1]).await.unwrap_err();
        assert_eq!(large, CheckpointError::StateTooLarge { bytes: most + 1, most });
        checkpointer.prepare(p(2), vec![0; most]).await.map_err(ProcessorError::new)?;
        let one = prepare(&checkpointer, 1).await.map_err(ProcessorError::new)?;
        one.commit().await.map_err(ProcessorError::new)?;
        let passed = prepare(&checkpointer, 1).await.unwrap_err();
        assert_eq!(passed, CheckpointError::AlreadyAcked { position: p(1) });
        Ok(())
    });
    world.settle().await;
    assert_eq!((world.calls().len(), running.status.borrow().acked), (2, at(2)));
}

#[tokio::test(start_paused = true)]
async fn undecided_effects_hold_a_prepare_and_its_commit_back() {
    let world = World::new();
    world.table.fail(Fault::ReplyLost);
    for _ in 0..3 {
        world.table.fail(Fault::Error(TableError::Unavailable("away".into())));
    }
    world.shelf.put(1..=3);
    let running = world.start(|called| async move {
        let Called::Records(numbers, _, checkpointer) = called else { return Ok(()) };
        let effects = checkpointer.checkpoint_with(Effects::new(1u32));
        if numbers[0] > 1 {
            return effects.await.map_err(ProcessorError::new);
        }
        let (done, early) = tokio::join!(biased; effects, prepare(&checkpointer, 2));
        done.map_err(ProcessorError::new)?;
        let early = early.map_err(ProcessorError::new)?;
        early.commit().await.map_err(ProcessorError::new)
    });
    tokio::time::sleep(secs(6)).await;
    let row = world.table.lease();
    assert_eq!((row.checkpoint, row.prepared), (at(3), None));
    assert_eq!(*world.table.effects.lock().unwrap(), [1]);
    assert_eq!(running.status.borrow().acked, at(3));
}

#[tokio::test(start_paused = true)]
async fn a_prepare_whose_call_is_dropped_before_it_is_sent_is_withdrawn() {
    let world = World::new();
    // Two failures hold the writer back for a moment.
    world.table.fail(Fault::Error(TableError::Unavailable("away".into())));
    world.shelf.put([1]);
    let _running = world.start(|called| async move {
        let Called::Records(numbers, _, checkpointer) = called else { return Ok(()) };
        if numbers == [1] {
            return Ok(());
        }
        let preparing = prepare(&checkpointer, numbers[0]);
        let _ = tokio::time::timeout(std::time::Duration::ZERO, preparing).await;
        std::future::pending().await
    });
    tokio::time::sleep(secs(5)).await;
    world.settle().await;
    world.shelf.put([2]);
    world.settle().await;
    tokio::time::sleep(secs(3)).await;
    let row = world.table.lease();
    assert_eq!((row.checkpoint, row.prepared), (at(1), None));
}
