//! What a consumer costs, and when its calls are polled.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};

use async_trait::async_trait;
use kcl_protocol::{Checkpoint, Moment};
use tokio::sync::Notify;

use super::world::*;
use crate::consumer::{Acks, ConsumerCommand, StopReason};
use crate::permit::Permit;
use crate::{CheckpointError, Clock, TableError};

/// A clock that counts how often somebody sleeps by it.
struct Counted(Arc<dyn Clock>, AtomicU32);

#[async_trait]
impl Clock for Counted {
    fn monotonic(&self) -> Moment {
        self.0.monotonic()
    }
    fn wall_millis(&self) -> u64 {
        self.0.wall_millis()
    }
    async fn sleep_until(&self, moment: Moment) {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.sleep_until(moment).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_consumer_sets_no_timer() {
    let mut world = World::new();
    let clock = Arc::new(Counted(Arc::clone(&world.clock), AtomicU32::new(0)));
    world.clock = clock.clone();
    world.shelf.put([1]);
    let _running = world.start(ok);
    tokio::time::sleep(secs(10)).await;
    assert_eq!(world.table.lease().checkpoint, at(1));
    let before = clock.1.load(Ordering::SeqCst);
    for _ in 0..100 {
        // Heartbeats extend validity meanwhile.
        world.grant();
        tokio::time::sleep(secs(1)).await;
    }
    assert_eq!(clock.1.load(Ordering::SeqCst), before);
}

#[test]
fn the_state_of_a_consumer_fits_a_quarter_of_its_budget_of_32_kib() {
    assert!(size_of::<crate::consumer::runtime::Consumer>() < 4 << 10);
}

/// Counts its polls, and those made while the permit did not hold.
struct Watched {
    permit: Permit,
    polls: Arc<AtomicU32>,
    outside: Arc<AtomicU32>,
    ticks: tokio::time::Interval,
    left: u32,
}

impl Future for Watched {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.polls.fetch_add(1, Ordering::SeqCst);
        if self.permit.check().is_err() {
            self.outside.fetch_add(1, Ordering::SeqCst);
        }
        while self.left > 0 {
            std::task::ready!(self.ticks.poll_tick(cx));
            self.left -= 1;
        }
        Poll::Ready(())
    }
}

#[tokio::test(start_paused = true)]
async fn no_batch_is_polled_outside_validity() {
    let world = World::new();
    world.shelf.put(1..=50);
    let (polls, outside) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let (permit, seen, bad) = (world.permit.clone(), Arc::clone(&polls), Arc::clone(&outside));
    let _running = world.start(move |_| {
        let watched = Watched {
            permit: permit.clone(),
            polls: Arc::clone(&seen),
            outside: Arc::clone(&bad),
            ticks: tokio::time::interval(std::time::Duration::from_millis(70)),
            left: 5,
        };
        async move {
            watched.await;
            Ok(())
        }
    });
    for round in 0..200u64 {
        world.validity.set(world.clock.monotonic() + std::time::Duration::from_millis(150));
        world.shelf.put([u128::from(100 + round)]);
        tokio::time::sleep(std::time::Duration::from_millis(40 + 13 * (round % 11))).await;
    }
    assert!(polls.load(Ordering::SeqCst) > 100);
    assert_eq!(outside.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_asked_for_is_in_the_table_when_it_returns() {
    let world = World::new();
    world.table.fail(Fault::Error(TableError::Unavailable("away".into())));
    world.shelf.put([1]);
    let table = Arc::clone(&world.table);
    let mut config = world;
    config.config.acks = Acks::Explicit;
    let _running = config.start(move |called| {
        let table = Arc::clone(&table);
        async move {
            if let Called::Records(_, _, checkpointer) = called {
                checkpointer.checkpoint().await.unwrap();
                assert_eq!(table.lease().checkpoint, Checkpoint::TrimHorizon);
                checkpointer.ack(p(1)).unwrap();
                checkpointer.checkpoint().await.unwrap();
                assert_eq!(table.lease().checkpoint, at(1));
            }
            Ok(())
        }
    });
    tokio::time::sleep(secs(1)).await;
    assert_eq!(config.calls().len(), 2, "no assertion failed and nothing came again");
    assert_eq!(config.table.lease().checkpoint, at(1));
}

#[tokio::test(start_paused = true)]
async fn a_refused_checkpoint_tells_who_asked_and_is_tried_again_later() {
    let mut world = World::new();
    world.config.acks = Acks::Explicit;
    world.table.fail(Fault::Error(TableError::Refused("no such table".into())));
    world.shelf.put([1]);
    let _running = world.start(|called| async move {
        if let Called::Records(_, _, checkpointer) = called {
            checkpointer.ack(p(1)).unwrap();
            let refused = checkpointer.checkpoint().await.unwrap_err();
            assert!(matches!(refused, CheckpointError::Refused(_)), "{refused}");
        }
        Ok(())
    });
    tokio::time::sleep(secs(11)).await;
    assert_eq!(world.table.lease().checkpoint, at(1));
}

#[tokio::test(start_paused = true)]
async fn checkpointers_left_in_other_tasks_do_not_hold_up_a_stop() {
    let world = World::new();
    world.shelf.put([1]);
    let done = Arc::new(Notify::new());
    let told = Arc::clone(&done);
    let running = world.start(move |called| {
        let told = Arc::clone(&told);
        async move {
            if let Called::Records(_, _, checkpointer) = called {
                tokio::spawn(async move {
                    while checkpointer.checkpoint_with(crate::Effects::new(1u32)).await.is_ok() {}
                    told.notify_one();
                });
            }
            Ok(())
        }
    });
    world.settle().await;
    running.tell(ConsumerCommand::Stop(StopReason::Shutdown)).await;
    assert_eq!(running.task.await.unwrap().acked, at(1));
    done.notified().await;
}
