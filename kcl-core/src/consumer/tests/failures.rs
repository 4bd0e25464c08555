//! Errors, panics, the policy, parking and dead letters.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use kcl_protocol::{Checkpoint, Parked};

use super::world::*;
use crate::consumer::{Acks, ConsumerCommand, ConsumerState, ExitReason};
use crate::{
    Action, Attempt, DeadLetter, DeadLetterError, DeadLetterSink, MemoryDeadLetters, ProcessorError,
};

/// Fails batches with this error so many times, then succeeds.
fn failing(times: u32, error: ProcessorError) -> impl Fn(Called) -> Answer {
    let left = AtomicU32::new(times);
    move |called| {
        let is_batch = matches!(called, Called::Records(..));
        let fails = is_batch
            && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
        std::future::ready(if fails { Err(error.clone()) } else { Ok(()) })
    }
}

type Answer = std::future::Ready<Result<(), ProcessorError>>;

fn always(action: Action) -> Arc<dyn crate::ErrorPolicy> {
    Arc::new(move |_: &ProcessorError, _: Attempt| action)
}

#[tokio::test(start_paused = true)]
async fn a_failed_batch_comes_again_whole_and_in_order() {
    let world = World::new();
    world.shelf.put(1..=3);
    let running = world.start(failing(2, ProcessorError::new("no")));
    tokio::time::sleep(secs(1)).await;
    assert_eq!(world.calls()[1..], ["records [1, 2, 3]"; 3]);
    assert_eq!(running.status.borrow().acked, at(3));
}

#[tokio::test(start_paused = true)]
async fn an_error_at_a_record_acks_what_is_before_it() {
    let world = World::new();
    world.shelf.put(1..=3);
    let _running = world.start(failing(1, ProcessorError::at(p(3), "no")));
    tokio::time::sleep(secs(1)).await;
    assert_eq!(world.calls()[1..], ["records [1, 2, 3]", "records [3]"]);
}

#[tokio::test(start_paused = true)]
async fn an_error_never_moves_the_watermark() {
    let world = World::new();
    world.shelf.put(1..=3);
    let running = world.start(failing(u32::MAX, ProcessorError::at(p(9), "not in the batch")));
    tokio::time::sleep(secs(100)).await;
    assert_eq!(running.status.borrow().acked, Checkpoint::TrimHorizon);
}

#[tokio::test(start_paused = true)]
async fn of_a_long_reason_the_row_keeps_the_beginning() {
    let world = World::new();
    world.shelf.put([1]);
    let reason = "\u{e9}".repeat(1 << 20);
    let _running = world.start(failing(6, ProcessorError::at(p(1), &reason)));
    tokio::time::sleep(secs(100)).await;
    assert_eq!(world.table.lease().parked.unwrap().reason, reason[..1024]);
}

#[tokio::test(start_paused = true)]
async fn the_default_policy_retries_five_times_and_parks_with_the_reason_in_the_row() {
    let world = World::new();
    world.shelf.put(1..=2);
    let running = world.start(failing(6, ProcessorError::at(p(2), "broken")));
    tokio::time::sleep(secs(100)).await;
    // The first failure acks record 1, so the count begins anew with record 2.
    let deliveries = world.calls().len() - 1;
    assert_eq!(deliveries, 6);
    let parked = Some(Parked { reason: "broken".into(), at: Some(p(2)) });
    assert_eq!(running.status.borrow().state, ConsumerState::Parked);
    assert_eq!(running.status.borrow().parked, parked);
    assert_eq!(world.table.lease().parked, parked);
    assert_eq!(world.table.lease().checkpoint, at(1));

    world.shelf.put([3]);
    tokio::time::sleep(secs(100)).await;
    assert_eq!(world.calls().len() - 1, deliveries, "nothing is delivered while parked");

    running.tell(ConsumerCommand::Resume).await;
    world.settle().await;
    assert_eq!(world.calls()[7..], ["records [2]", "records [3]"]);
    assert_eq!(world.table.lease().parked, None);
    assert_eq!(running.status.borrow().parked, None);
}

#[tokio::test(start_paused = true)]
async fn a_panic_gets_a_new_instance_at_the_watermark() {
    let world = World::new();
    world.shelf.put([1]);
    let panics = AtomicU32::new(1);
    let _running = world.start(move |called| {
        let panics = matches!(called, Called::Records(ref r, ..) if r.contains(&2))
            && panics
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1))
                .is_ok();
        async move {
            assert!(!panics, "scripted panic");
            Ok(())
        }
    });
    world.settle().await;
    world.shelf.put([2]);
    tokio::time::sleep(secs(1)).await;
    assert_eq!(
        world.calls(),
        ["initialize TRIM_HORIZON", "records [1]", "records [2]", "initialize 1", "records [2]",]
    );
}

#[tokio::test(start_paused = true)]
async fn a_panic_again_and_again_parks() {
    let world = World::new();
    world.shelf.put([1]);
    let running = world.start(|called| async move {
        assert!(!matches!(called, Called::Records(..)), "scripted panic");
        Ok(())
    });
    tokio::time::sleep(secs(100)).await;
    assert_eq!(running.status.borrow().state, ConsumerState::Parked);
    let reason = world.table.lease().parked.unwrap().reason;
    assert!(reason.contains("panicked: scripted panic"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn failures_of_initialize_and_shard_ended_go_by_the_same_policy() {
    for fails_at in ["initialize", "ended"] {
        let world = World::new();
        world.shelf.end(vec![]);
        let log = Arc::clone(&world.log);
        let running = world.start(move |_| {
            let log = log.lock().unwrap();
            let fails = log.last().unwrap().starts_with(fails_at)
                && log.iter().filter(|call| call.starts_with(fails_at)).count() < 3;
            std::future::ready(if fails { Err(ProcessorError::new("no")) } else { Ok(()) })
        });
        assert!(matches!(running.task.await.unwrap().reason, ExitReason::Ended { .. }));
        assert_eq!(world.calls().len(), 4, "{:?}", world.calls());
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_is_kept_before_the_watermark_moves_over_it() {
    let mut world = World::new();
    world.policy = always(Action::DeadLetter);
    let sink = Arc::new(MemoryDeadLetters::bounded(10));
    world.dead_letters = Some(sink.clone());
    world.shelf.put(1..=3);
    let running = world.start(failing(1, ProcessorError::at(p(2), "poison")));
    world.settle().await;
    assert_eq!(world.calls()[1..], ["records [1, 2, 3]", "records [3]"]);
    let letters = sink.drain();
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0].record.position, &*letters[0].error), (p(2), "poison"));
    assert_eq!(running.status.borrow().acked, at(3));
}

#[tokio::test(start_paused = true)]
async fn an_error_that_names_no_record_dead_letters_the_first_unacked_one() {
    let mut world = World::new();
    world.policy = always(Action::DeadLetter);
    world.config.acks = Acks::Explicit;
    let sink = Arc::new(MemoryDeadLetters::bounded(10));
    world.dead_letters = Some(sink.clone());
    world.shelf.put(1..=3);
    let running = world.start(|called| async move {
        let Called::Records(numbers, _, checkpointer) = called else { return Ok(()) };
        if numbers.len() == 3 {
            checkpointer.ack(p(1)).unwrap();
            return Err(ProcessorError::new("poison"));
        }
        numbers.iter().try_for_each(|number| checkpointer.ack(p(*number))).unwrap();
        Ok(())
    });
    world.settle().await;
    assert_eq!(sink.drain()[0].record.position, p(2));
    assert_eq!(world.calls()[1..], ["records [1, 2, 3]", "records [3]"]);
    assert_eq!(running.status.borrow().acked, at(3));
}

#[tokio::test(start_paused = true)]
async fn a_record_acked_before_its_dead_letter_costs_no_other_record_its_delivery() {
    let mut world = World::new();
    world.policy = always(Action::DeadLetter);
    world.config.acks = Acks::Explicit;
    let sink = Arc::new(MemoryDeadLetters::bounded(10));
    world.dead_letters = Some(sink.clone());
    world.shelf.put(1..=3);
    let running = world.start(|called| async move {
        let Called::Records(numbers, _, checkpointer) = called else { return Ok(()) };
        if numbers.len() == 3 {
            checkpointer.ack(p(2)).unwrap();
            return Err(ProcessorError::at(p(2), "done after all"));
        }
        numbers.iter().try_for_each(|number| checkpointer.ack(p(*number))).unwrap();
        Ok(())
    });
    world.settle().await;
    assert_eq!(sink.len(), 0);
    assert_eq!(world.calls()[1..], ["records [1, 2, 3]", "records [3]"]);
    assert_eq!(running.status.borrow().acked, at(3));
}

/// Refuses so many letters first.
struct Reluctant(AtomicU32);

#[async_trait]
impl DeadLetterSink for Reluctant {
    async fn put(&self, _: &DeadLetter) -> Result<(), DeadLetterError> {
        match self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)) {
            Ok(_) => Err(DeadLetterError("scripted".into())),
            Err(_) => Ok(()),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_fails_is_asked_again_and_the_watermark_stays() {
    let mut world = World::new();
    world.policy = always(Action::DeadLetter);
    world.dead_letters = Some(Arc::new(Reluctant(AtomicU32::new(8))));
    world.shelf.put([1]);
    let running = world.start(failing(1, ProcessorError::new("poison")));
    tokio::time::sleep(secs(2)).await;
    assert_eq!(running.status.borrow().acked, Checkpoint::TrimHorizon);
    tokio::time::sleep(secs(100)).await;
    assert_eq!(running.status.borrow().acked, at(1));
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_without_a_sink_parks_the_shard() {
    let mut world = World::new();
    world.policy = always(Action::DeadLetter);
    world.shelf.put([1]);
    let running = world.start(failing(1, ProcessorError::new("poison")));
    world.settle().await;
    assert_eq!(running.status.borrow().state, ConsumerState::Parked);
    assert_eq!(running.status.borrow().acked, Checkpoint::TrimHorizon);
}

#[tokio::test(start_paused = true)]
async fn the_policy_can_give_the_shard_up_or_stop_the_worker() {
    let error = ProcessorError::new("enough");
    for (action, reason) in [
        (Action::YieldShard, ExitReason::Yield { error: error.clone() }),
        (Action::StopWorker, ExitReason::StopWorker { error: error.clone() }),
    ] {
        let mut world = World::new();
        world.policy = always(action);
        world.shelf.put([1]);
        let exit = world.start(failing(1, error.clone())).task.await.unwrap();
        assert_eq!((exit.reason, exit.acked), (reason, Checkpoint::TrimHorizon));
    }
}

#[tokio::test(start_paused = true)]
async fn with_explicit_acks_a_retry_starts_at_the_first_unacked_record_of_all() {
    let mut world = World::new();
    world.config.acks = Acks::Explicit;
    world.config.batch_records = 2;
    world.shelf.put(1..=4);
    let fails = AtomicU32::new(1);
    let running = world.start(move |called| {
        let fails = matches!(&called, Called::Records(numbers, ..) if numbers.contains(&3))
            && fails.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
        async move {
            if fails {
                return Err(ProcessorError::new("no"));
            }
            // Record 2 stays open in the first delivery.
            if let Called::Records(numbers, attempt, checkpointer) = called {
                let done = numbers.iter().filter(|n| **n != 2 || attempt > 0 || numbers[0] == 2);
                done.for_each(|number| checkpointer.ack(p(*number)).unwrap());
            }
            Ok(())
        }
    });
    tokio::time::sleep(secs(1)).await;
    let expected = ["records [1, 2]", "records [3, 4]", "records [2, 3]", "records [4]"];
    assert_eq!(world.calls()[1..], expected);
    assert_eq!(running.status.borrow().acked, at(4));
}

#[tokio::test(start_paused = true)]
async fn a_batch_tells_how_often_it_came_before() {
    let world = World::new();
    world.shelf.put([1]);
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let attempts = Arc::clone(&seen);
    let _running = world.start(move |called| {
        let Called::Records(_, attempt, _) = called else { return std::future::ready(Ok(())) };
        attempts.lock().unwrap().push(attempt);
        std::future::ready(if attempt < 2 { Err(ProcessorError::new("no")) } else { Ok(()) })
    });
    tokio::time::sleep(secs(1)).await;
    assert_eq!(*seen.lock().unwrap(), [0, 1, 2]);
}
