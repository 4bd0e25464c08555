use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kcl_core::protocol::{Fence, LeaseKey, WorkerId, WorkerRow, WorkerState};
use kcl_core::reaped;
use kcl_testkit::history::{check_safety, every_record_is_delivered, moves, nothing_moves};

use crate::fleet::{D, Fleet, Worker};

const SETTLED: Duration = Duration::from_secs(10);

#[tokio::test(start_paused = true)]
async fn p1_nothing_is_lost_when_a_worker_is_killed() {
    let mut fleet = Fleet::new(6);
    let (one, other) = (fleet.start(), fleet.start());
    fleet.pass(SETTLED).await;
    fleet.put(100);
    one.kill();
    fleet.put(100);
    fleet.pass(D * 2 + SETTLED).await;
    assert_eq!(other.shards(), 6);
    assert_eq!(fleet.amiss().await, []);
    let history = fleet.recorder.history();
    assert_eq!(every_record_is_delivered(&history), []);
    assert_eq!(check_safety(&history), []);
}

#[tokio::test(start_paused = true)]
async fn p3_a_worker_cut_off_from_the_table_stops_before_another_starts() {
    let mut fleet = Fleet::new(4);
    let (one, other) = (fleet.start(), fleet.start());
    fleet.pass(SETTLED).await;
    one.cable.pull();
    for _ in 0..100 {
        fleet.put(8);
        fleet.pass(Duration::from_millis(100)).await;
    }
    assert_eq!(other.shards(), 4);
    assert_eq!(check_safety(&fleet.recorder.history()), []);
    one.cable.plug();
    fleet.pass(SETTLED * 2).await;
    assert_eq!((one.shards(), other.shards()), (2, 2), "it registered anew and got its share");
    assert_eq!(check_safety(&fleet.recorder.history()), []);
}

#[tokio::test(start_paused = true)]
async fn p6_after_all_were_killed_two_new_workers_share_everything_evenly() {
    let mut fleet = Fleet::new(12);
    let old: Vec<Worker> = (0..4).map(|_| fleet.start()).collect();
    fleet.pass(SETTLED).await;
    old.into_iter().for_each(Worker::kill);
    let (one, other) = (fleet.start(), fleet.start());
    fleet.pass(D * 3 + Duration::from_secs(1)).await;
    assert_eq!((one.shards(), other.shards()), (6, 6));
    assert_eq!(fleet.amiss().await, []);
}

#[tokio::test(start_paused = true)]
async fn p7_an_outage_of_the_table_moves_nothing() {
    let mut fleet = Fleet::new(8);
    let workers = [fleet.start(), fleet.start()];
    fleet.pass(SETTLED).await;
    let before = fleet.leases().await;
    let from = fleet.now();
    workers.iter().for_each(|worker| worker.cable.pull());
    fleet.pass(Duration::from_secs(600)).await;
    workers.iter().for_each(|worker| worker.cable.plug());
    fleet.pass(Duration::from_secs(60)).await;
    fleet.put(50);
    fleet.pass(SETTLED).await;
    let history = fleet.recorder.history();
    assert_eq!(moves(&history, from, fleet.now()), 0);
    let owners = |leases: &[kcl_core::protocol::Lease]| -> Vec<_> {
        leases.iter().map(|lease| (lease.owner.clone(), lease.fence)).collect()
    };
    assert_eq!(owners(&fleet.leases().await), owners(&before));
    assert_eq!(every_record_is_delivered(&history), []);
}

#[tokio::test(start_paused = true)]
async fn p7_a_quiet_fleet_stays_as_it_is() {
    let mut fleet = Fleet::new(7);
    let _workers = [fleet.start(), fleet.start(), fleet.start()];
    fleet.pass(SETTLED).await;
    let from = fleet.now();
    fleet.pass(Duration::from_secs(3600)).await;
    assert_eq!(nothing_moves(&fleet.recorder.history(), from, fleet.now()), []);
    assert_eq!(fleet.amiss().await, []);
}

type Owners = BTreeMap<LeaseKey, (Option<WorkerId>, Fence)>;

async fn owners(fleet: &Fleet) -> Owners {
    let leases = fleet.leases().await.into_iter();
    leases.map(|lease| (lease.key, (lease.owner, lease.fence))).collect()
}

/// Leases that have another owner or fence.
fn changed(before: &Owners, after: &Owners) -> BTreeSet<LeaseKey> {
    assert!(before.keys().eq(after.keys()));
    let changed = before.iter().filter(|(key, was)| after[*key] != **was);
    changed.map(|(key, _)| key.clone()).collect()
}

fn of(owners: &Owners, worker: &Option<WorkerId>) -> BTreeSet<LeaseKey> {
    let owned = owners.iter().filter(|(_, (owner, _))| owner == worker);
    owned.map(|(key, _)| key.clone()).collect()
}

#[tokio::test(start_paused = true)]
async fn p7_a_death_moves_the_victims_leases_alone_and_a_replacement_its_share_alone() {
    // Whenever it dies between two of its heartbeats.
    for offset in 0..4 {
        let mut fleet = Fleet::new(12);
        let (victim, one, other) = (fleet.start(), fleet.start(), fleet.start());
        fleet.pass(SETTLED + D / 12 * offset).await;
        let (before, dead, from) = (owners(&fleet).await, victim.id(), fleet.now());
        fleet.put(100);
        victim.kill();
        fleet.put(100);
        fleet.pass(D * 2 + SETTLED).await;
        let (after, then) = (owners(&fleet).await, fleet.now());
        let left_behind = of(&before, &dead);
        assert_eq!((left_behind.len(), changed(&before, &after)), (4, left_behind));
        assert_eq!(moves(&fleet.recorder.history(), from, then), 4, "and each of them once");
        assert_eq!((one.shards(), other.shards()), (6, 6));
        let replacement = fleet.start();
        fleet.pass(SETTLED).await;
        fleet.put(100);
        fleet.pass(Duration::from_secs(600)).await;
        let (last, history) = (owners(&fleet).await, fleet.recorder.history());
        let its_share = of(&last, &replacement.id());
        assert_eq!((its_share.len(), changed(&after, &last)), (4, its_share));
        assert_eq!(moves(&history, then, fleet.now()), 4, "and each of them once");
        assert_eq!((one.shards(), other.shards()), (4, 4));
        assert_eq!(every_record_is_delivered(&history), []);
        assert_eq!(check_safety(&history), []);
    }
}

#[tokio::test(start_paused = true)]
async fn a_killed_worker_is_fenced_within_its_lease_duration_and_one_scan() {
    let mut fleet = Fleet::new(2);
    let (one, other) = (fleet.start(), fleet.start());
    fleet.pass(SETTLED).await;
    let victim = one.id().unwrap();
    one.kill();
    fleet.pass(D + D / 3 + Duration::from_millis(300)).await;
    let rows = fleet.workers().await;
    let row = rows.iter().find(|row| row.id == victim).unwrap();
    assert_eq!(row.state, WorkerState::Fenced);
    assert_eq!(other.shards(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_reaped_workers_leases_move_at_once() {
    // Whenever it happens between two looks of the others, right after one above all.
    for half_sixteenths in (1..32).step_by(2) {
        let mut fleet = Fleet::new(6);
        let (one, other, third) = (fleet.start(), fleet.start(), fleet.start());
        fleet.pass(SETTLED + D / 3 / 32 * half_sixteenths).await;
        let victim = one.id().unwrap();
        one.kill();
        assert_eq!(reaped(&fleet.table, "w").await, Ok(0), "the name of nobody");
        assert_eq!(reaped(&fleet.table, "w1").await, Ok(1));
        // Without the hint, this would take a heartbeat.
        fleet.pass(Duration::from_millis(5)).await;
        assert_eq!((other.shards(), third.shards()), (3, 3), "after {half_sixteenths}/32");
        let rows = fleet.workers().await;
        let row = rows.iter().find(|row| row.id == victim).unwrap();
        assert_eq!(row.state, WorkerState::Fenced);
        assert_eq!(reaped(&fleet.table, "w1").await, Ok(0), "said already");
        assert_eq!(check_safety(&fleet.recorder.history()), []);
    }
}

#[tokio::test(start_paused = true)]
async fn who_declares_a_worker_dead_tells_the_others() {
    let mut fleet = Fleet::new(6);
    let workers: Vec<Worker> = (0..3).map(|_| fleet.start()).collect();
    fleet.pass(SETTLED).await;
    let mut workers = workers.into_iter();
    workers.next().unwrap().kill();
    let is_dead = |row: &WorkerRow| row.state.is_dead();
    while !fleet.workers().await.iter().any(is_dead) {
        fleet.pass(Duration::from_millis(1)).await;
    }
    fleet.pass(Duration::from_millis(5)).await;
    assert_eq!(workers.map(|worker| worker.shards()).collect::<Vec<_>>(), [3, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_lease_of_a_worker_without_a_row_is_taken_only_after_the_row_was_watched() {
    let mut fleet = Fleet::new(2);
    let (one, other) = (fleet.start(), fleet.start());
    fleet.pass(SETTLED).await;
    let victim = one.id().unwrap();
    one.kill();
    fleet.table.delete_row(&kcl_core::protocol::RowKey::Worker(victim));
    fleet.pass(Duration::from_secs(75) + D * 3).await;
    assert_eq!(other.shards(), 2);
    assert_eq!(check_safety(&fleet.recorder.history()), []);
}

#[tokio::test(start_paused = true)]
async fn the_row_of_a_dead_worker_is_garbage_an_hour_later_and_no_sooner() {
    let mut fleet = Fleet::new(2);
    let (one, other) = (fleet.start(), fleet.start());
    fleet.pass(SETTLED).await;
    let (victim, survivor) = (one.id().unwrap(), other.id().unwrap());
    one.kill();
    fleet.pass(Duration::from_secs(3_590)).await;
    let ids = |rows: Vec<WorkerRow>| rows.into_iter().map(|row| row.id).collect::<BTreeSet<_>>();
    assert_eq!(ids(fleet.workers().await), BTreeSet::from([victim, survivor.clone()]));
    // Its death was seen by then, and two rounds come.
    fleet.pass(D * 6 + Duration::from_secs(150)).await;
    assert_eq!(ids(fleet.workers().await), BTreeSet::from([survivor]));
    assert_eq!(other.shards(), 2);
}

#[tokio::test(start_paused = true)]
async fn in_a_large_fleet_a_death_is_seen_by_the_ring() {
    let mut fleet = Fleet::new(80);
    let mut workers: Vec<Worker> = (0..40).map(|_| fleet.start()).collect();
    fleet.pass(Duration::from_secs(60)).await;
    assert!(workers.iter().all(|worker| worker.shards() == 2));
    workers.swap_remove(7).kill();
    // The ring sees it as early as a small fleet would; a scan that misses adds at most 2D.
    fleet.pass(D * 4).await;
    assert_eq!(workers.iter().map(Worker::shards).sum::<usize>(), 80);
    assert_eq!(check_safety(&fleet.recorder.history()), []);
}
