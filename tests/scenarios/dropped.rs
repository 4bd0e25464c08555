//! Shards that the stream drops before anybody has read them to their end.

use std::time::Duration;

use kcl_core::EventKind;
use kcl_core::protocol::LeaseKey;
use kcl_stream_local::NewRecord;
use kcl_testkit::history::{What, check_safety, every_record_is_delivered};

use crate::fleet::{Fleet, shard};

const SETTLED: Duration = Duration::from_secs(20);
/// Longer than the stream keeps a record.
const LATE: Duration = Duration::from_secs(25 * 3600);

/// Leases of two shards, and nobody who works on them.
async fn left_alone() -> Fleet {
    let mut fleet = Fleet::new(2);
    let worker = fleet.start();
    fleet.pass(SETTLED).await;
    worker.kill();
    // Nobody reads these in time, of whichever shard.
    for number in 0..20 {
        fleet.stream.put(NewRecord::new(format!("k{number}"), "data")).unwrap();
    }
    fleet
}

fn dropped(fleet: &Fleet) -> Vec<LeaseKey> {
    let history = fleet.recorder.history();
    let dropped = history.into_iter().filter_map(|entry| match entry.what {
        What::Event(event) => match event.kind {
            EventKind::ShardDropped { lease } => Some(lease),
            _ => None,
        },
        _ => None,
    });
    dropped.collect()
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_is_dropped_unread_holds_up_none_of_its_children() {
    let mut fleet = left_alone().await;
    fleet.stream.split_shard(&shard(0), 1 << 126).unwrap();
    fleet.note_shards().await;
    fleet.pass(LATE).await;
    fleet.put(40);
    let worker = fleet.start();
    fleet.pass(SETTLED).await;
    assert_eq!(every_record_is_delivered(&fleet.recorder.history()), []);
    assert_eq!(check_safety(&fleet.recorder.history()), []);
    assert_eq!(worker.shards(), 3);
    assert!(fleet.lease(shard(0).as_str()).await.is_ended());
    assert_eq!(dropped(&fleet), [LeaseKey::new(shard(0).as_str())]);
}

#[tokio::test(start_paused = true)]
async fn nor_what_came_out_of_children_that_were_dropped_too() {
    let mut fleet = left_alone().await;
    fleet.stream.split_shard(&shard(0), 1 << 126).unwrap();
    fleet.pass(Duration::from_secs(1)).await;
    fleet.stream.merge_shards(&shard(2), &shard(3)).unwrap();
    fleet.note_shards().await;
    fleet.pass(LATE).await;
    fleet.put(40);
    let _worker = fleet.start();
    fleet.pass(SETTLED).await;
    assert_eq!(every_record_is_delivered(&fleet.recorder.history()), []);
    assert_eq!(check_safety(&fleet.recorder.history()), []);
    assert!(fleet.lease(shard(0).as_str()).await.is_ended());
    assert_eq!(dropped(&fleet), [LeaseKey::new(shard(0).as_str())]);
}
