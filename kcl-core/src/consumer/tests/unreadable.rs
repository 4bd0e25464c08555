//! Records that cannot be opened.

use std::sync::Arc;

use kcl_protocol::{Checkpoint, Parked};

use super::world::*;
use crate::consumer::{Acks, ConsumerCommand, ConsumerState};
use crate::event::EventKind;
use crate::{Action, Attempt, MemoryDeadLetters, ProcessorError};

/// Of records 1 to 5, number 3 cannot be opened.
fn world() -> World {
    let world = World::new();
    world.shelf.put(1..=5);
    world.shelf.mark(3, Some("no key opens it"));
    world
}

fn dead_lettering(world: &mut World) -> Arc<MemoryDeadLetters> {
    let sink = Arc::new(MemoryDeadLetters::bounded(10));
    world.dead_letters = Some(sink.clone());
    world.policy = Arc::new(|_: &ProcessorError, _: Attempt| Action::DeadLetter);
    sink
}

#[tokio::test(start_paused = true)]
async fn a_record_that_cannot_be_opened_is_dead_lettered_after_what_stands_before_it() {
    let mut world = world();
    let sink = dead_lettering(&mut world);
    let running = world.start(ok);
    world.settle().await;
    assert_eq!(world.calls()[1..], ["records [1, 2]", "records [4, 5]"]);
    let letters = sink.drain();
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0].record.position, &*letters[0].error), (p(3), "no key opens it"));
    assert_eq!((&*letters[0].record.data, letters[0].attempts), (&b"data"[..], 1));
    assert_eq!(running.status.borrow().acked, at(5));
}

#[tokio::test(start_paused = true)]
async fn the_default_policy_parks_at_the_record_with_the_reason_in_the_row() {
    let world = world();
    let running = world.start(ok);
    tokio::time::sleep(secs(100)).await;
    assert_eq!(world.calls()[1..], ["records [1, 2]"]);
    let parked = Some(Parked { reason: "no key opens it".into(), at: Some(p(3)) });
    assert_eq!(running.status.borrow().state, ConsumerState::Parked);
    assert_eq!(world.table.lease().parked, parked);
    assert_eq!(world.table.lease().checkpoint, at(2));
    let failures = |kind: &EventKind| matches!(kind, EventKind::ProcessorFailed { attempt: 6, .. });
    assert!(world.has_event(failures), "five retries came first");
}

#[tokio::test(start_paused = true)]
async fn a_resumed_shard_reads_the_record_anew() {
    let world = world();
    let running = world.start(ok);
    tokio::time::sleep(secs(100)).await;
    world.shelf.mark(3, None);
    running.tell(ConsumerCommand::Resume).await;
    tokio::time::sleep(secs(10)).await;
    assert_eq!(world.calls()[1..], ["records [1, 2]", "records [3, 4, 5]"]);
    assert_eq!(world.table.lease().parked, None);
    assert_eq!(world.table.lease().checkpoint, at(5));
}

#[tokio::test(start_paused = true)]
async fn with_explicit_acks_the_record_waits_until_those_before_it_are_acked() {
    let mut world = world();
    world.config.acks = Acks::Explicit;
    let sink = dead_lettering(&mut world);
    let _running = world.start(|called| async move {
        let Called::Records(numbers, _, checkpointer) = called else { return Ok(()) };
        tokio::spawn(async move {
            tokio::time::sleep(secs(1)).await;
            numbers.iter().for_each(|number| checkpointer.ack(p(*number)).unwrap());
        });
        Ok(())
    });
    world.settle().await;
    assert_eq!((world.calls()[1..].to_vec(), sink.len()), (vec!["records [1, 2]".to_owned()], 0));
    tokio::time::sleep(secs(20)).await;
    assert_eq!(world.calls()[1..], ["records [1, 2]", "records [4, 5]"]);
    assert_eq!(sink.drain()[0].record.position, p(3));
    assert_eq!(world.table.lease().checkpoint, at(5));
}

#[tokio::test(start_paused = true)]
async fn a_shard_of_nothing_but_records_that_cannot_be_opened_ends() {
    let mut world = World::new();
    world.shelf.put(1..=2);
    world.shelf.mark(1, Some("no"));
    world.shelf.mark(2, Some("no"));
    world.shelf.end(vec![child("shardId-000000000001")]);
    let sink = dead_lettering(&mut world);
    let running = world.start(ok);
    let exit = running.task.await.unwrap();
    assert_eq!(world.calls()[1..], ["ended"]);
    assert_eq!((sink.len(), exit.acked), (2, at(2)));
}

#[tokio::test(start_paused = true)]
async fn a_retry_keeps_what_was_read_ahead_and_moves_no_watermark() {
    let mut world = world();
    world.shelf.mark(1, Some("no"));
    world.policy =
        Arc::new(|_: &ProcessorError, _: Attempt| Action::Retry(std::time::Duration::from_secs(1)));
    let running = world.start(ok);
    tokio::time::sleep(secs(50)).await;
    assert_eq!(world.calls(), ["initialize TRIM_HORIZON"]);
    assert_eq!(running.status.borrow().acked, Checkpoint::TrimHorizon);
    assert_eq!(world.shelf.opened().len(), 1, "the same record is judged again");
}
