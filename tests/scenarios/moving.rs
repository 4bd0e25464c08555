use std::time::Duration;

use kcl_core::EventKind;
use kcl_core::protocol::WorkerState;
use kcl_testkit::history::{What, check_safety, every_record_is_delivered, moves};

use crate::fleet::{D, Fleet, shard};

const SETTLED: Duration = Duration::from_secs(10);

fn delivered(fleet: &Fleet) -> usize {
    let given = fleet.recorder.history().into_iter().filter_map(|entry| match entry.what {
        What::Given { positions, .. } => Some(positions.len()),
        _ => None,
    });
    given.sum()
}

#[tokio::test(start_paused = true)]
async fn a_joining_worker_gets_its_share_with_the_fewest_moves_and_no_repeats() {
    let mut fleet = Fleet::new(12);
    let old = [fleet.start(), fleet.start(), fleet.start()];
    fleet.pass(SETTLED).await;
    fleet.put(200);
    fleet.pass(Duration::from_millis(100)).await;
    let from = fleet.now();
    let new = fleet.start();
    fleet.pass(SETTLED).await;
    fleet.put(200);
    fleet.pass(Duration::from_millis(100)).await;
    assert_eq!(new.shards(), 3);
    assert!(old.iter().all(|worker| worker.shards() == 3));
    assert_eq!(moves(&fleet.recorder.history(), from, fleet.now()), 3);
    assert_eq!(delivered(&fleet), 400, "a hand-over carries the acked watermark");
}

#[tokio::test(start_paused = true)]
async fn a_clean_shutdown_hands_everything_over_without_repeats() {
    let mut fleet = Fleet::new(6);
    let (one, other) = (fleet.start(), fleet.start());
    fleet.pass(SETTLED).await;
    fleet.put(300);
    let leaver = one.id().unwrap();
    one.handle.shutdown().await;
    fleet.put(300);
    fleet.pass(Duration::from_secs(1)).await;
    assert_eq!(one.end().await.map_err(|error| error.to_string()), Ok(()));
    assert_eq!(other.shards(), 6);
    assert_eq!(delivered(&fleet), 600);
    let rows = fleet.workers().await;
    assert_eq!(rows.iter().find(|row| row.id == leaver).unwrap().state, WorkerState::Gone);
    assert_eq!(every_record_is_delivered(&fleet.recorder.history()), []);
}

#[tokio::test(start_paused = true)]
async fn the_last_worker_releases_its_leases() {
    let mut fleet = Fleet::new(3);
    let only = fleet.start();
    fleet.pass(SETTLED).await;
    only.handle.shutdown().await;
    assert!(fleet.leases().await.iter().all(|lease| lease.owner.is_none()));
    let next = fleet.start();
    fleet.pass(Duration::from_secs(2)).await;
    assert_eq!(next.shards(), 3, "nobody has to expire first");
}

#[tokio::test(start_paused = true)]
async fn workers_that_leave_together_or_one_after_the_other_write_little_on_the_way() {
    for at_once in [true, false] {
        let mut fleet = Fleet::new(6);
        let workers = [fleet.start(), fleet.start(), fleet.start()];
        fleet.pass(SETTLED).await;
        if at_once {
            let [one, two, three] = &workers;
            tokio::join!(one.handle.shutdown(), two.handle.shutdown(), three.handle.shutdown());
        } else {
            for worker in &workers {
                worker.handle.shutdown().await;
            }
        }
        let leases = fleet.leases().await;
        assert!(leases.iter().all(|lease| lease.owner.is_none()), "{leases:?}");
        // Taken, moved for balance, handed on twice at most, kept on the way, released.
        assert!(leases.iter().all(|lease| lease.fence.0 <= 8), "{leases:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_drained_shard_goes_to_another_worker_and_stays_there() {
    let mut fleet = Fleet::new(4);
    let (one, other) = (fleet.start(), fleet.start());
    fleet.pass(SETTLED).await;
    let drained = one.handle.status().shards[0].shard.clone();
    one.handle.drain(&drained).await.unwrap();
    fleet.pass(Duration::from_secs(30)).await;
    assert!(other.handle.status().shards.iter().any(|status| status.shard == drained));
    assert!(one.handle.status().shards.iter().all(|status| status.shard != drained));
}

/// Both run in one process, and only one of them goes by hints: its own it sends.
#[tokio::test(start_paused = true)]
async fn a_worker_that_takes_no_hints_hears_of_what_it_is_given_all_the_same() {
    let mut fleet = Fleet::new(4);
    let leaver = fleet.start();
    let (deaf, note) = (fleet.config().hints(false), fleet.note());
    let deaf = fleet.start_with(deaf, note);
    fleet.pass(SETTLED).await;
    leaver.handle.shutdown().await;
    fleet.pass(D).await;
    assert_eq!(deaf.shards(), 4);
}

#[tokio::test(start_paused = true)]
async fn leases_of_a_donor_that_does_not_finish_its_batch_are_revoked() {
    let mut fleet = Fleet::new(4);
    // Its processors never come back, and a stop waits for them longer than an ask is patient.
    let consumer = kcl_core::ConsumerConfig {
        stop_timeout: Duration::from_secs(600),
        ..kcl_core::ConsumerConfig::default()
    };
    let config = fleet.config().consumer(consumer);
    let stuck = |_: &kcl_core::ShardStart| Stuck;
    let donor = fleet.start_with(config, stuck);
    fleet.pass(SETTLED).await;
    fleet.put(40);
    let new = fleet.start();
    fleet.pass(Duration::from_secs(60)).await;
    assert_eq!((donor.shards(), new.shards()), (2, 2));
    let history = fleet.recorder.history();
    let is_revoked = |what: &What| {
        let What::Event(event) = what else { return false };
        matches!(event.kind, EventKind::Revoked { .. })
    };
    assert_eq!(history.iter().filter(|entry| is_revoked(&entry.what)).count(), 2);
    assert_eq!(check_safety(&history), []);
}

struct Stuck;

#[kcl_core::async_trait]
impl kcl_core::RecordProcessor for Stuck {
    async fn process_records(
        &mut self,
        _: &kcl_core::RecordBatch,
        _: &kcl_core::Checkpointer,
    ) -> Result<(), kcl_core::ProcessorError> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn no_worker_holds_more_than_it_may() {
    let mut fleet = Fleet::new(6);
    let config = fleet.config().max_leases_per_worker(2);
    let note = fleet.note();
    let small = fleet.start_with(config, note);
    fleet.pass(SETTLED).await;
    assert_eq!(small.shards(), 2);
    let large = fleet.start();
    fleet.pass(SETTLED).await;
    assert_eq!(small.shards() + large.shards(), 6);
    assert!(small.shards() <= 2);
}

#[tokio::test(start_paused = true)]
async fn a_worker_above_its_room_after_a_reshard_gives_the_excess_to_one_with_room() {
    let mut fleet = Fleet::new(2);
    let config = fleet.config().max_leases_per_worker(2);
    let note = fleet.note();
    let small = fleet.start_with(config, note);
    fleet.pass(SETTLED).await;
    fleet.stream.update_shard_count(5).unwrap();
    fleet.note_shards().await;
    fleet.pass(SETTLED).await;
    assert!(small.shards() > 2, "nobody else is there: it keeps them");
    let large = fleet.start();
    fleet.pass(SETTLED).await;
    fleet.put(50);
    fleet.pass(SETTLED).await;
    assert_eq!((small.shards(), large.shards()), (2, 3));
    let history = fleet.recorder.history();
    assert_eq!(check_safety(&history), []);
    assert_eq!(every_record_is_delivered(&history), []);
}

#[tokio::test(start_paused = true)]
async fn a_lease_row_deleted_by_hand_is_made_anew_and_reported() {
    let mut fleet = Fleet::new(4);
    let _workers = [fleet.start(), fleet.start()];
    fleet.pass(SETTLED).await;
    let old = fleet.lease(shard(1).as_str()).await;
    let key = kcl_core::protocol::RowKey::Lease(old.key.clone());
    fleet.recorder.row_deleted(&old.key);
    assert!(fleet.table.delete_row(&key));
    for _ in 0..200 {
        fleet.put(8);
        fleet.pass(Duration::from_secs(1)).await;
    }
    let new = fleet.lease(shard(1).as_str()).await;
    assert!(new.owner.is_some() && new.fence > old.fence, "{new:?}");
    let history = fleet.recorder.history();
    let is_report = |what: &What| {
        matches!(what, What::Event(event) if matches!(&event.kind,
            EventKind::LeaseRowDeleted { lease } if *lease == old.key))
    };
    assert_eq!(history.iter().filter(|entry| is_report(&entry.what)).count(), 1);
    assert_eq!(check_safety(&history), []);
    assert_eq!(every_record_is_delivered(&history), []);
}

#[tokio::test(start_paused = true)]
async fn with_weights_a_heavy_lease_stands_against_many_light_ones() {
    let mut fleet = Fleet::new(5);
    let heavy = shard(0);
    let weigh = |config: kcl_core::Config| {
        let heavy = heavy.clone();
        config.weight(move |lease| if lease.key.shard() == heavy { 4 } else { 1 })
    };
    let (config, note) = (weigh(fleet.config()), fleet.note());
    let one = fleet.start_with(config, note);
    fleet.pass(SETTLED).await;
    let (config, note) = (weigh(fleet.config()), fleet.note());
    let other = fleet.start_with(config, note);
    fleet.pass(Duration::from_secs(60)).await;
    let mut loads = [one.shards(), other.shards()];
    loads.sort_unstable();
    assert_eq!(loads, [1, 4]);
    let from = fleet.now();
    fleet.pass(Duration::from_secs(300)).await;
    assert_eq!(moves(&fleet.recorder.history(), from, fleet.now()), 0);
}
