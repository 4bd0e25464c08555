//! Stops, losses and validity.

use std::sync::Arc;
use std::time::Duration;

use kcl_protocol::{Checkpoint, Fence};
use tokio::sync::Notify;

use super::world::*;
use crate::consumer::{
    Acks, ConsumerCommand, ConsumerState, ExitReason, ProcessorKind, StopReason,
};
use crate::event::{BatchOutcome, EventKind};

const STOP: ConsumerCommand = ConsumerCommand::Stop(StopReason::HandOver);

/// Batches wait for the notification; everything else returns at once.
fn waiting(gate: &Arc<Notify>) -> impl Fn(Called) -> BoxFuture<'static, Answer> + use<> {
    let gate = Arc::clone(gate);
    move |called| {
        let gate = Arc::clone(&gate);
        Box::pin(async move {
            if matches!(called, Called::Records(..)) {
                gate.notified().await;
            }
            Ok(())
        })
    }
}

type Answer = Result<(), crate::ProcessorError>;

#[tokio::test(start_paused = true)]
async fn an_idle_consumer_stops_without_any_time_passing() {
    let world = World::new();
    world.shelf.put(1..=3);
    let running = world.start(ok);
    world.settle().await;
    let before = world.clock.monotonic();
    running.tell(STOP).await;
    let exit = running.task.await.unwrap();
    assert_eq!(world.clock.monotonic(), before);
    assert_eq!((exit.reason, exit.acked), (ExitReason::HandedBack, at(3)));
    assert_eq!(world.calls().last().unwrap(), "shutdown");
    assert!(world.table.checkpoints().is_empty(), "the hand-over carries the checkpoint");
}

#[tokio::test(start_paused = true)]
async fn a_stop_lets_the_running_batch_finish_and_starts_no_other() {
    let world = World::new();
    world.shelf.put([1]);
    let gate = Arc::default();
    let running = world.start(waiting(&gate));
    world.settle().await;
    world.shelf.put([2]);
    running.tell(STOP).await;
    world.settle().await;
    assert_eq!(running.status.borrow().state, ConsumerState::Stopping);
    gate.notify_one();
    let exit = running.task.await.unwrap();
    assert_eq!(exit.acked, at(1));
    assert_eq!(world.calls()[1..], ["records [1]", "shutdown"]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_outlasts_the_stop_timeout_is_dropped() {
    let world = World::new();
    world.shelf.put([1]);
    let running = world.start(waiting(&Arc::default()));
    world.settle().await;
    running.tell(STOP).await;
    let exit = running.task.await.unwrap();
    assert_eq!(exit.acked, Checkpoint::TrimHorizon);
    assert_eq!(exit.reason, ExitReason::HandedBack);
    assert!(world.has_event(|kind| matches!(
        kind,
        EventKind::BatchEnded { outcome: BatchOutcome::Dropped, .. }
    )));
}

#[tokio::test(start_paused = true)]
async fn a_farewell_that_hangs_is_bounded() {
    let world = World::new();
    let running = world.start(|called| async move {
        if matches!(called, Called::Shutdown(_)) {
            std::future::pending::<()>().await;
        }
        Ok(())
    });
    world.settle().await;
    running.tell(STOP).await;
    let before = world.clock.monotonic();
    assert_eq!(running.task.await.unwrap().reason, ExitReason::HandedBack);
    assert_eq!(world.clock.monotonic().since(before).as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn acks_made_in_the_farewell_count() {
    let mut world = World::new();
    world.config.acks = Acks::Explicit;
    world.shelf.put([1]);
    let running = world.start(|called| async move {
        if let Called::Shutdown(checkpointer) = called {
            checkpointer.ack(p(1)).unwrap();
        }
        Ok(())
    });
    world.settle().await;
    running.tell(STOP).await;
    assert_eq!(running.task.await.unwrap().acked, at(1));
}

#[tokio::test(start_paused = true)]
async fn expired_validity_drops_the_batch_and_it_comes_again_when_validity_is_back() {
    let world = World::new();
    world.shelf.put(1..=2);
    let gate = Arc::default();
    let running = world.start(waiting(&gate));
    world.settle().await;
    world.expire();
    world.settle().await;
    assert_eq!(running.status.borrow().state, ConsumerState::Suspended);
    gate.notify_one();
    tokio::time::sleep(secs(30)).await;
    assert_eq!(running.status.borrow().acked, Checkpoint::TrimHorizon);
    world.grant();
    world.settle().await;
    assert_eq!(running.status.borrow().acked, at(2));
    assert_eq!(world.calls()[1..], ["records [1, 2]", "records [1, 2]"]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_delivered_or_written_outside_validity() {
    let world = World::new();
    world.shelf.put([1]);
    let _running = world.start(ok);
    world.settle().await;
    world.expire();
    world.shelf.put([2]);
    tokio::time::sleep(secs(30)).await;
    assert_eq!(world.calls().last().unwrap(), "records [1]");
    assert!(world.table.checkpoints().is_empty());
    world.grant();
    world.settle().await;
    assert_eq!(world.calls().last().unwrap(), "records [2]");
    tokio::time::sleep(secs(6)).await;
    assert_eq!(world.table.lease().checkpoint, at(2));
}

#[tokio::test(start_paused = true)]
async fn a_stop_outside_validity_calls_nobody() {
    let world = World::new();
    world.shelf.put([1]);
    let running = world.start(waiting(&Arc::default()));
    world.settle().await;
    world.expire();
    world.settle().await;
    running.tell(STOP).await;
    assert_eq!(running.task.await.unwrap().reason, ExitReason::HandedBack);
    assert_eq!(world.calls().last().unwrap(), "records [1]");
}

#[tokio::test(start_paused = true)]
async fn a_revoked_permit_drops_the_batch_and_tells_the_processor() {
    let world = World::new();
    world.shelf.put([1]);
    let running = world.start(waiting(&Arc::default()));
    world.settle().await;
    world.permit.revoke();
    let exit = running.task.await.unwrap();
    assert_eq!((exit.reason, exit.acked), (ExitReason::Lost, Checkpoint::TrimHorizon));
    assert_eq!(world.calls()[1..], ["records [1]", "lost"]);
}

#[tokio::test(start_paused = true)]
async fn an_idle_consumer_notices_the_loss_at_once() {
    let world = World::new();
    let running = world.start(ok);
    world.settle().await;
    let before = world.clock.monotonic();
    world.permit.revoke();
    assert_eq!(running.task.await.unwrap().reason, ExitReason::Lost);
    assert_eq!(world.clock.monotonic(), before);
}

#[tokio::test(start_paused = true)]
async fn a_lease_lost_that_hangs_is_bounded() {
    let world = World::new();
    let running = world.start(|called| async move {
        if matches!(called, Called::LeaseLost) {
            std::future::pending::<()>().await;
        }
        Ok(())
    });
    world.settle().await;
    world.permit.revoke();
    assert_eq!(running.task.await.unwrap().reason, ExitReason::Lost);
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_that_meets_another_fence_ends_in_loss() {
    let world = World::new();
    world.shelf.put([1]);
    let running = world.start(ok);
    world.settle().await;
    let mut taken = world.table.lease();
    taken.fence = Fence(8);
    world.table.put(taken);
    let exit = running.task.await.unwrap();
    assert_eq!(exit.reason, ExitReason::Lost);
    assert!(world.permit.check().is_err(), "the permit is revoked");
    assert_eq!(world.table.lease().checkpoint, Checkpoint::TrimHorizon);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_consumer_leaves_nothing_behind() {
    let world = World::new();
    world.shelf.put([1]);
    let gate = Arc::default();
    let running = world.start(waiting(&gate));
    world.settle().await;
    running.task.abort();
    assert!(running.task.await.unwrap_err().is_cancelled());
    assert_eq!(Arc::strong_count(&gate), 1, "the call and the processor are gone");
    assert_eq!(Arc::strong_count(&world.shelf), 1, "the reader is gone");
    assert_eq!(Arc::strong_count(&world.table), 1, "the writer is gone");
    assert!(world.permit.check().is_err());
}

#[tokio::test]
async fn a_blocking_call_is_waited_for_before_the_loss_is_told() {
    let mut world = World::new();
    world.config.kind = ProcessorKind::Blocking;
    world.shelf.put([1]);
    let (started, release) = (Arc::new(Notify::new()), std::sync::mpsc::channel::<()>());
    let (release, held) = (release.0, Arc::new(std::sync::Mutex::new(release.1)));
    let begun = Arc::clone(&started);
    let running = world.start(move |called| {
        let (begun, held) = (Arc::clone(&begun), Arc::clone(&held));
        async move {
            if matches!(called, Called::Records(..)) {
                begun.notify_one();
                let _ = held.lock().unwrap().recv();
            }
            Ok(())
        }
    });
    started.notified().await;
    world.permit.revoke();
    world.validity.set(kcl_protocol::Moment::default());
    world.settle().await;
    assert!(!running.task.is_finished());
    release.send(()).unwrap();
    let exit = running.task.await.unwrap();
    assert_eq!(exit.reason, ExitReason::Lost);
    assert_eq!(world.calls()[1..], ["records [1]", "lost"]);
    assert!(world.has_event(|kind| matches!(kind, EventKind::Overrun { .. })));
}

#[tokio::test]
async fn a_blocking_call_that_waits_is_cut_at_the_await_when_the_permit_goes() {
    let mut world = World::new();
    world.config.kind = ProcessorKind::Blocking;
    world.shelf.put([1]);
    let (started, gate) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (begun, held) = (Arc::clone(&started), Arc::clone(&gate));
    let running = world.start(move |called| {
        let (begun, held) = (Arc::clone(&begun), Arc::clone(&held));
        async move {
            if matches!(called, Called::Records(..)) {
                begun.notify_one();
                held.notified().await;
            }
            Ok(())
        }
    });
    started.notified().await;
    world.expire();
    let mut status = running.status.clone();
    status.wait_for(|status| status.state == ConsumerState::Suspended).await.unwrap();
    gate.notify_one();
    world.grant();
    status.wait_for(|status| status.acked == at(1)).await.ok();
    running.tell(STOP).await;
    assert_eq!(running.task.await.unwrap().acked, at(1));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_never_returns_is_reported_as_stuck() {
    let world = World::new();
    world.shelf.put([1]);
    let running = world.start(waiting(&Arc::default()));
    tokio::time::sleep(Duration::from_millis(60_500)).await;
    assert!(world.has_event(|kind| matches!(kind, EventKind::Stuck { .. })));
    assert!(!running.task.is_finished());
}

#[tokio::test(start_paused = true)]
async fn with_max_progress_a_shard_that_stands_still_is_given_up() {
    let mut world = World::new();
    world.config.max_progress = Some(secs(10));
    world.shelf.put([1]);
    let exit = world.start(waiting(&Arc::default())).task.await.unwrap();
    assert!(matches!(exit.reason, ExitReason::Yield { .. }));
    assert_eq!(world.calls().last().unwrap(), "shutdown");
}

#[tokio::test(start_paused = true)]
async fn with_max_progress_acks_that_stop_coming_give_the_shard_up() {
    let mut world = World::new();
    world.config.max_progress = Some(secs(10));
    world.config.acks = Acks::Explicit;
    world.shelf.put([1]);
    let exit = world.start(ok).task.await.unwrap();
    assert!(matches!(exit.reason, ExitReason::Yield { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_loss_that_the_call_itself_notices_is_told_to_the_processor() {
    let world = World::new();
    world.shelf.put([1]);
    let permit = world.permit.clone();
    let running = world.start(move |called| {
        let permit = permit.clone();
        async move {
            if matches!(called, Called::Records(..)) {
                // In the middle of a poll, so that nothing else can notice it first.
                permit.revoke();
                std::future::pending::<()>().await;
            }
            Ok(())
        }
    });
    assert_eq!(running.task.await.unwrap().reason, ExitReason::Lost);
    assert_eq!(world.calls().last().unwrap(), "lost");
}

#[tokio::test]
async fn a_blocking_processor_works_through_a_shard() {
    let mut world = World::new();
    world.config.kind = ProcessorKind::Blocking;
    world.config.batch_records = 2;
    world.shelf.put(1..=3);
    world.shelf.end(vec![]);
    let exit = world.start(ok).task.await.unwrap();
    assert!(matches!(exit.reason, ExitReason::Ended { .. }));
    assert_eq!(world.calls()[1..], ["records [1, 2]", "records [3]", "ended"]);
}
