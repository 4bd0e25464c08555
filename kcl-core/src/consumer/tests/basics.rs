//! The straight way: records, acks, checkpoints, the end of a shard.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use kcl_protocol::{Checkpoint, Fence, Ordinal, Parked};

use super::world::*;
use crate::consumer::{Acks, ConsumerCommand, ConsumerState, ExitReason};
use crate::{CheckpointError, Checkpointer, SourceError, TableError};

#[tokio::test(start_paused = true)]
async fn a_returned_batch_is_acked_and_checkpointed_after_the_interval() {
    let world = World::new();
    world.shelf.put(1..=3);
    let running = world.start(ok);
    world.settle().await;
    assert_eq!(world.calls(), ["initialize TRIM_HORIZON", "records [1, 2, 3]"]);
    assert_eq!(running.status.borrow().acked, at(3));
    assert_eq!(world.table.lease().checkpoint, Checkpoint::TrimHorizon);
    tokio::time::sleep(Duration::from_millis(5_001)).await;
    assert_eq!(world.table.lease().checkpoint, at(3));
    assert_eq!(world.table.lease().ordinal, Ordinal(1));
}

#[tokio::test(start_paused = true)]
async fn many_batches_cost_one_write_per_interval() {
    let world = World::new();
    let _running = world.start(ok);
    for number in 1..=100 {
        world.shelf.put([number]);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::sleep(secs(6)).await;
    assert_eq!(world.table.checkpoints().len(), 2);
    assert_eq!(world.table.lease().checkpoint, at(100));
}

#[tokio::test(start_paused = true)]
async fn records_are_delivered_without_any_time_passing() {
    let world = World::new();
    let _running = world.start(ok);
    world.settle().await;
    let before = world.clock.monotonic();
    world.shelf.put([1]);
    world.settle().await;
    assert_eq!(world.calls().last().unwrap(), "records [1]");
    assert_eq!(world.clock.monotonic(), before);
}

#[tokio::test(start_paused = true)]
async fn the_work_goes_on_after_the_checkpoint_of_the_lease() {
    let mut world = World::new();
    world.lease.checkpoint = at(2);
    world.table.put(world.lease.clone());
    world.shelf.put(1..=4);
    let _running = world.start(ok);
    world.settle().await;
    assert_eq!(world.calls(), ["initialize 2", "records [3, 4]"]);
}

#[tokio::test(start_paused = true)]
async fn batches_stay_within_their_bound() {
    let mut world = World::new();
    world.config.batch_records = 2;
    world.shelf.put(1..=5);
    let _running = world.start(ok);
    world.settle().await;
    let expected = ["records [1, 2]", "records [3, 4]", "records [5]"];
    assert_eq!(world.calls()[1..], expected);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_shard_is_told_once_all_is_acked() {
    let world = World::new();
    world.shelf.put(1..=2);
    world.shelf.end(vec![child("shardId-000000000001")]);
    let exit = world.start(ok).task.await.unwrap();
    assert_eq!(world.calls()[1..], ["records [1, 2]", "ended"]);
    assert_eq!(exit.acked, at(2));
    let children = vec![child("shardId-000000000001")];
    assert_eq!(exit.reason, ExitReason::Ended { children });
}

#[tokio::test(start_paused = true)]
async fn an_empty_closed_shard_ends_too() {
    let world = World::new();
    world.shelf.end(vec![]);
    let exit = world.start(ok).task.await.unwrap();
    assert_eq!(world.calls(), ["initialize TRIM_HORIZON", "ended"]);
    assert_eq!(exit.acked, Checkpoint::TrimHorizon);
}

/// Keeps the checkpointer of the calls for the test to use.
fn keeping(kept: &Arc<Mutex<Option<Checkpointer>>>) -> impl Fn(Called) -> Done + use<> {
    let kept = Arc::clone(kept);
    move |called| {
        if let Called::Records(_, _, checkpointer) = called {
            *kept.lock().unwrap() = Some(checkpointer);
        }
        std::future::ready(Ok(()))
    }
}

type Done = std::future::Ready<Result<(), crate::ProcessorError>>;

#[tokio::test(start_paused = true)]
async fn explicit_acks_in_any_order_keep_the_watermark_below_the_first_unacked_record() {
    let mut world = World::new();
    world.config.acks = Acks::Explicit;
    world.shelf.put(1..=3);
    world.shelf.end(vec![]);
    let kept = Arc::default();
    let running = world.start(keeping(&kept));
    world.settle().await;
    let checkpointer = kept.lock().unwrap().clone().unwrap();
    checkpointer.ack(p(3)).unwrap();
    checkpointer.ack(p(1)).unwrap();
    checkpointer.checkpoint().await.unwrap();
    assert_eq!(world.table.lease().checkpoint, at(1));
    assert!(!world.calls().contains(&"ended".to_owned()), "record 2 is open");
    checkpointer.ack(p(2)).unwrap();
    checkpointer.ack(p(2)).unwrap();
    let exit = running.task.await.unwrap();
    assert_eq!(exit.acked, at(3));
    let lost = CheckpointError::LeaseLost { fence: Fence(7) };
    assert_eq!(checkpointer.ack(p(2)), Err(lost.clone()));
    assert_eq!(checkpointer.checkpoint().await, Err(lost));
}

#[tokio::test(start_paused = true)]
async fn acks_of_records_that_are_not_out_and_acks_on_return_are_refused() {
    let mut world = World::new();
    world.config.acks = Acks::Explicit;
    world.shelf.put([1]);
    let kept = Arc::default();
    let _running = world.start(keeping(&kept));
    world.settle().await;
    let ack = |position| kept.lock().unwrap().as_ref().unwrap().ack(position);
    assert_eq!(ack(p(2)), Err(CheckpointError::NotDelivered { position: p(2) }));

    let world = World::new();
    world.shelf.put([1]);
    let _running = world.start(keeping(&kept));
    world.settle().await;
    let ack = |position| kept.lock().unwrap().as_ref().unwrap().ack(position);
    assert_eq!(ack(p(1)), Err(CheckpointError::NotExplicit));
}

#[tokio::test(start_paused = true)]
async fn records_delivered_but_not_acked_are_bounded() {
    let mut world = World::new();
    world.config.acks = Acks::Explicit;
    world.config.max_unacked_records = 3;
    world.shelf.put(1..=5);
    let kept = Arc::default();
    let running = world.start(keeping(&kept));
    world.settle().await;
    assert_eq!(world.calls().last().unwrap(), "records [1, 2, 3]");
    assert_eq!(running.status.borrow().unacked, 3);
    kept.lock().unwrap().as_ref().unwrap().ack(p(2)).unwrap();
    world.settle().await;
    assert_eq!(world.calls().last().unwrap(), "records [4]");
}

#[tokio::test(start_paused = true)]
async fn a_pause_delivers_nothing_until_resumed() {
    let world = World::new();
    let running = world.start(ok);
    running.tell(ConsumerCommand::Pause).await;
    world.settle().await;
    world.shelf.put([1]);
    tokio::time::sleep(secs(60)).await;
    assert_eq!(world.calls(), ["initialize TRIM_HORIZON"]);
    assert_eq!(running.status.borrow().state, ConsumerState::Paused);
    running.tell(ConsumerCommand::Resume).await;
    world.settle().await;
    assert_eq!(world.calls().last().unwrap(), "records [1]");
}

#[tokio::test(start_paused = true)]
async fn a_new_owner_of_a_parked_shard_tries_again_and_clears_the_mark() {
    let mut world = World::new();
    world.lease.parked = Some(Parked { reason: "broken".into(), at: None });
    world.table.put(world.lease.clone());
    world.shelf.put([1]);
    let _running = world.start(ok);
    world.settle().await;
    assert_eq!(world.calls().last().unwrap(), "records [1]");
    assert_eq!(world.table.lease().parked, None);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_away_for_a_while_is_read_on_with_the_same_reader() {
    let world = World::new();
    world.shelf.fail(SourceError::Unavailable("away".into()));
    world.shelf.fail(SourceError::Throttled { retry_after: secs(3) });
    world.shelf.put([1]);
    let _running = world.start(ok);
    tokio::time::sleep(secs(4)).await;
    assert_eq!(world.calls().last().unwrap(), "records [1]");
    assert_eq!(world.shelf.opened().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_expired_reader_is_opened_again_after_the_last_record() {
    let world = World::new();
    world.shelf.put([1, 2]);
    let _running = world.start(ok);
    world.settle().await;
    world.shelf.fail(SourceError::Expired);
    world.settle().await;
    world.shelf.put([3]);
    world.settle().await;
    assert_eq!(world.calls()[1..], ["records [1, 2]", "records [3]"]);
    assert_eq!(world.shelf.opened().last(), Some(&crate::ReadFrom::After(p(2))));
}

#[tokio::test(start_paused = true)]
async fn a_shard_not_found_is_a_failure_and_no_end() {
    let world = World::new();
    let error = SourceError::NotFound("shard".into());
    world.shelf.fail(error.clone());
    let exit = world.start(ok).task.await.unwrap();
    assert_eq!(exit.reason, ExitReason::SourceFailed(error));
    assert!(!world.calls().contains(&"ended".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn what_was_read_before_a_source_failed_for_good_is_delivered_first() {
    let mut world = World::new();
    world.config.batch_records = 1;
    world.shelf.put(1..=3);
    let slow = |called: Called| async move {
        if let Called::Records(..) = called {
            tokio::time::sleep(secs(1)).await;
        }
        Ok(())
    };
    let running = world.start(slow);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let error = SourceError::NotFound("shard".into());
    world.shelf.fail(error.clone());
    let exit = running.task.await.unwrap();
    assert_eq!(exit.reason, ExitReason::SourceFailed(error));
    assert_eq!(exit.acked, at(3), "{:?}", world.calls());
}

#[tokio::test(start_paused = true)]
async fn what_failed_before_a_source_did_for_good_is_tried_again() {
    let world = World::new();
    world.shelf.put(1..=3);
    let failed = Arc::new(Mutex::new(false));
    let once = move |called: Called| {
        let failed = Arc::clone(&failed);
        async move {
            let is_batch = matches!(called, Called::Records(..));
            if is_batch {
                tokio::time::sleep(secs(1)).await;
            }
            match is_batch && !std::mem::replace(&mut *failed.lock().unwrap(), is_batch) {
                true => Err(crate::ProcessorError::new("once")),
                false => Ok(()),
            }
        }
    };
    let running = world.start(once);
    tokio::time::sleep(Duration::from_millis(500)).await;
    world.shelf.fail(SourceError::NotFound("shard".into()));
    let exit = running.task.await.unwrap();
    assert_eq!(exit.acked, at(3), "{:?}", world.calls());
    assert_eq!(world.calls().iter().filter(|call| call.starts_with("records")).count(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_out_when_a_source_failed_for_good_may_still_be_acked() {
    let mut world = World::new();
    world.config.acks = Acks::Explicit;
    world.shelf.put(1..=3);
    let late = |called: Called| async move {
        if let Called::Records(numbers, _, checkpointer) = called {
            tokio::spawn(async move {
                tokio::time::sleep(secs(2)).await;
                numbers.iter().try_for_each(|number| checkpointer.ack(p(*number))).unwrap();
            });
        }
        Ok(())
    };
    let running = world.start(late);
    world.settle().await;
    world.shelf.fail(SourceError::NotFound("shard".into()));
    let exit = running.task.await.unwrap();
    assert_eq!(exit.acked, at(3), "{:?}", world.calls());
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_repeats_the_same_value_under_the_same_ordinal() {
    let world = World::new();
    world.table.fail(Fault::ReplyLost);
    world.table.fail(Fault::Error(TableError::Conflict));
    world.shelf.put([1]);
    let _running = world.start(ok);
    tokio::time::sleep(secs(10)).await;
    let writes = world.table.writes.lock().unwrap().clone();
    assert_eq!(writes.len(), 3);
    assert!(writes.iter().all(|write| *write == writes[0]));
    assert_eq!(world.table.lease().ordinal, Ordinal(1));
}
