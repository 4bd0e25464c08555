//! Rows of the table and of a stream that somebody deletes by hand under a running fleet.

use std::time::Duration;

use kcl_core::protocol::{RowKey, StreamName};
use kcl_core::{EventKind, LeaseTable};
use kcl_testkit::history::{What, check_safety, every_record_is_delivered};

use crate::fleet::{D, Fleet, Worker, shard};

const SETTLED: Duration = Duration::from_secs(10);
/// A minute and its jitter, twice.
const ROUNDS: Duration = Duration::from_secs(150);

fn rounds(fleet: &Fleet) -> usize {
    let history = fleet.recorder.history();
    let won = history.iter().filter(|entry| match &entry.what {
        What::Event(event) => matches!(event.kind, EventKind::RoundWon { .. }),
        _ => false,
    });
    won.count()
}

async fn split_the_first(fleet: &Fleet) {
    fleet.stream.split_shard(&shard(0), 1 << 100).unwrap();
    fleet.note_shards().await;
}

/// Two workers of which one dies, and a split, after the row is gone; then a third worker.
async fn goes_on_without(key: RowKey) {
    let mut fleet = Fleet::new(4);
    let workers = [fleet.start(), fleet.start()];
    fleet.note_shards().await;
    fleet.pass(SETTLED).await;
    fleet.put(100);
    fleet.pass(SETTLED).await;
    assert!(fleet.table.delete_row(&key));
    fleet.put(100);
    split_the_first(&fleet).await;
    fleet.pass(SETTLED).await;
    fleet.put(100);
    let [victim, survivor] = workers;
    victim.kill();
    fleet.pass(D * 3).await;
    assert_eq!(survivor.shards(), 5, "what the dead worker had is taken");
    fleet.pass(ROUNDS).await;
    assert_eq!(every_record_is_delivered(&fleet.recorder.history()), []);
    assert_eq!(check_safety(&fleet.recorder.history()), []);
    let before = rounds(&fleet);
    let newcomer = fleet.start();
    fleet.pass(ROUNDS).await;
    assert!(fleet.table.read(&key).await.unwrap().is_some(), "made anew");
    assert!(rounds(&fleet) > before, "rounds go on");
    assert_eq!([&survivor, &newcomer].map(Worker::shards).iter().sum::<usize>(), 5);
    fleet.put(100);
    fleet.pass(SETTLED).await;
    assert_eq!(every_record_is_delivered(&fleet.recorder.history()), []);
    assert_eq!(check_safety(&fleet.recorder.history()), []);
    assert_eq!(fleet.amiss().await, []);
}

#[tokio::test(start_paused = true)]
async fn a_fleet_whose_table_row_was_deleted_reads_on_and_the_next_worker_makes_it_anew() {
    goes_on_without(RowKey::Table).await;
}

#[tokio::test(start_paused = true)]
async fn a_fleet_whose_streams_row_was_deleted_reads_on_and_the_next_worker_makes_it_anew() {
    goes_on_without(RowKey::Stream(StreamName::new("s"))).await;
}
