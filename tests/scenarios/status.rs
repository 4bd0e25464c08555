//! What a status says of each shard: since when it is here, why, and from whom.

use std::time::Duration;

use kcl_core::protocol::{Moment, WorkerId};
use kcl_core::{ConsumerState, HoldReason};

use crate::fleet::{D, Fleet, Worker, shard};

const SETTLED: Duration = Duration::from_secs(10);

fn came(worker: &Worker) -> Vec<(HoldReason, Option<WorkerId>)> {
    let shards = worker.handle.status().shards;
    shards.into_iter().map(|shard| (shard.reason, shard.from)).collect()
}

fn is_within(worker: &Worker, from: Moment, to: Moment) -> bool {
    let shards = worker.handle.status().shards;
    !shards.is_empty() && shards.iter().all(|shard| from <= shard.since && shard.since <= to)
}

#[tokio::test(start_paused = true)]
async fn a_shard_is_here_since_it_came_for_the_reason_and_from_the_worker_it_came() {
    let mut fleet = Fleet::new(2);
    let started = fleet.now();
    let one = fleet.start();
    fleet.pass(SETTLED).await;
    let settled = fleet.now();
    assert_eq!(came(&one), [(HoldReason::Started, None), (HoldReason::Started, None)]);
    assert!(is_within(&one, started, settled));
    let other = fleet.start();
    fleet.pass(SETTLED).await;
    let joined = fleet.now();
    assert_eq!(came(&other), [(HoldReason::HandedOver, one.id())]);
    assert!(is_within(&other, settled, joined));
    assert!(is_within(&one, started, settled), "what stayed is here since the start");
    let (dead, shards) = (one.id(), other.handle.status().shards);
    let kept = shards[0].clone();
    one.kill();
    fleet.pass(D * 2 + SETTLED).await;
    let status = other.handle.status();
    let taken = status.shards.iter().find(|shard| shard.lease != kept.lease).unwrap();
    assert_eq!((taken.reason, taken.from.clone()), (HoldReason::OwnerDied, dead));
    assert!(joined < taken.since && taken.since < fleet.now());
    let still = status.shards.iter().find(|shard| shard.lease == kept.lease).unwrap();
    assert_eq!((still.since, still.reason, still.fence), (kept.since, kept.reason, kept.fence));
}

#[tokio::test(start_paused = true)]
async fn a_child_is_here_because_its_parent_ended() {
    let mut fleet = Fleet::new(1);
    let worker = fleet.start();
    fleet.pass(SETTLED).await;
    fleet.stream.split_shard(&shard(0), u128::MAX / 2).unwrap();
    fleet.pass(SETTLED).await;
    let ended = (HoldReason::ParentsEnded, None);
    assert_eq!(came(&worker), [ended.clone(), ended]);
}

#[tokio::test(start_paused = true)]
async fn the_state_of_a_consumer_has_an_age() {
    let mut fleet = Fleet::new(1);
    let worker = fleet.start();
    fleet.pass(SETTLED).await;
    let before = fleet.now();
    worker.handle.pause(&shard(0)).await.unwrap();
    fleet.pass(Duration::from_secs(30)).await;
    let consumer = worker.handle.status().shards[0].consumer.clone();
    assert_eq!((consumer.state, consumer.since), (ConsumerState::Paused, before));
}
