use std::time::Duration;

use crate::fleet::{D, Fleet};

#[tokio::test(start_paused = true)]
async fn q1_an_idle_fleet_writes_one_heartbeat_per_worker_and_nothing_per_lease() {
    const WORKERS: u64 = 4;
    let mut fleet = Fleet::new(200);
    let _workers: Vec<_> = (0..WORKERS).map(|_| fleet.start()).collect();
    fleet.pass(Duration::from_secs(20)).await;
    let before = fleet.table.requests();
    let minutes = 10;
    fleet.pass(Duration::from_secs(60 * minutes)).await;
    let after = fleet.table.requests();
    let beats = Duration::from_secs(60 * minutes).as_millis() / (D / 3).as_millis() * 4;
    let beats = u64::try_from(beats).unwrap();
    let writes = after.writes - before.writes;
    // A round a minute is started by one write, and may set marks.
    assert!(writes <= beats + 4 * minutes, "{writes} writes, {beats} heartbeats");
    let scans = after.coordination_scans - before.coordination_scans;
    assert!(scans <= beats + WORKERS, "{scans} scans of the few coordination rows");
    let lease_scans = after.lease_scans - before.lease_scans;
    assert!(lease_scans <= 4 * minutes, "{lease_scans} scans of the leases");
    assert_eq!(after.transactions, before.transactions);
}

#[tokio::test(start_paused = true)]
async fn eight_workers_that_start_together_settle_with_few_moves() {
    let mut fleet = Fleet::new(64);
    let workers: Vec<_> = (0..8).map(|_| fleet.start()).collect();
    fleet.pass(Duration::from_secs(20)).await;
    assert!(workers.iter().all(|worker| worker.shards() == 8));
    let history = fleet.recorder.history();
    let held = kcl_testkit::history::moves(&history, Default::default(), fleet.now());
    assert!(held <= 64 + 20, "{} moves beyond the first taking", held - 64);
}
