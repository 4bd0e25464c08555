//! A worker's own row that nobody can read, on a table whose replies carry the row.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use kcl_core::protocol::RowKey;
use kcl_testkit::history::{What, check_safety, every_record_is_delivered};

use crate::fleet::{D, Fleet};
use crate::scribbled::{Running, Scribbled, bad, id, shards, start, told};

const SETTLED: Duration = Duration::from_secs(10);

/// Two workers with two shards each; of the first nobody can read the row.
async fn spoilt() -> (Fleet, Scribbled, [Running; 2]) {
    let mut fleet = Fleet::new(4);
    let table = Scribbled::new(&fleet);
    table.replies_with_rows.store(true, Relaxed);
    let running = [(); 2].map(|()| start(&mut fleet, &table));
    fleet.pass(SETTLED).await;
    assert_eq!(running.each_ref().map(shards), [2, 2]);
    table.scribble(Some(id(&running[0])));
    (fleet, table, running)
}

/// Shards of which records were given.
fn given(fleet: &Fleet) -> usize {
    let history = fleet.recorder.history();
    let given = history.iter().filter_map(|entry| match &entry.what {
        What::Given { lease, positions } if !positions.is_empty() => Some(lease),
        _ => None,
    });
    given.collect::<BTreeSet<_>>().len()
}

#[tokio::test(start_paused = true)]
async fn the_shards_of_a_worker_whose_own_row_is_spoilt_stand_still_until_it_is_mended() {
    let (fleet, table, [one, two]) = spoilt().await;
    let me = id(&one);
    fleet.pass(D).await;
    fleet.put(64);
    fleet.pass(SETTLED).await;
    assert_eq!(given(&fleet), 2, "those of the other alone");
    let row = bad(&RowKey::Worker(me.clone()));
    for running in [&one, &two] {
        assert_eq!(told(&fleet, &id(running)), [row.to_string()]);
        assert_eq!(running.0.status().workers_unreadable, Some(row.clone()));
    }
    table.scribble(None);
    fleet.pass(SETTLED).await;
    assert_eq!([&one, &two].map(|running| running.0.status().workers_unreadable), [None, None]);
    assert_eq!(id(&one), me, "it goes on under its id");
    let history = fleet.recorder.history();
    assert_eq!(every_record_is_delivered(&history), []);
    assert_eq!(check_safety(&history), []);
    assert_eq!(fleet.amiss().await, []);
}

#[tokio::test(start_paused = true)]
async fn a_worker_whose_own_row_is_spoilt_leaves_when_told() {
    // While it may still act, and after.
    for spoilt_for in [Duration::ZERO, D / 2, D * 2] {
        let (fleet, table, [one, two]) = spoilt().await;
        fleet.pass(spoilt_for).await;
        let left = tokio::time::timeout(D * 2, one.0.shutdown()).await;
        left.expect("it does not leave");
        one.1.await.unwrap().unwrap();
        table.scribble(None);
        fleet.put(64);
        fleet.pass(SETTLED).await;
        assert_eq!(shards(&two), 4, "spoilt for {spoilt_for:?}");
        let history = fleet.recorder.history();
        assert_eq!(every_record_is_delivered(&history), []);
        assert_eq!(check_safety(&history), []);
    }
}
