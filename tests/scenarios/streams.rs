use std::sync::Arc;
use std::time::Duration;

use kcl_core::protocol::hash_audit::audit;
use kcl_core::protocol::{LeaseKey, Position};
use kcl_core::{InitialPosition, Scheduler, StreamSource};
use kcl_stream_local::{NewRecord, StreamOptions};
use kcl_testkit::history::{What, check_safety, every_record_is_delivered};

use crate::fleet::{Fleet, shard};

const SETTLED: Duration = Duration::from_secs(10);

#[tokio::test(start_paused = true)]
async fn p2_children_start_after_their_parents_through_splits_and_merges() {
    let mut fleet = Fleet::new(3);
    let workers = [fleet.start(), fleet.start()];
    fleet.pass(SETTLED).await;
    for round in 0..6u32 {
        fleet.put(60);
        let mut open = fleet.stream.source().list_shards().await.unwrap();
        open.retain(|shard| shard.is_open);
        open.sort_by_key(|shard| shard.range);
        if round.is_multiple_of(2) {
            let range = open[0].range;
            let middle = range.start + (range.end - range.start) / 2;
            fleet.stream.split_shard(&open[0].id, middle).unwrap();
        } else {
            fleet.stream.merge_shards(&open[1].id, &open[2].id).unwrap();
        }
        fleet.note_shards().await;
        fleet.put(60);
        fleet.pass(Duration::from_millis(50)).await;
    }
    fleet.pass(SETTLED).await;
    let open = fleet.open_shards().await;
    let held: usize = workers.iter().map(|worker| worker.shards()).sum();
    assert_eq!(held, open.len());
    let history = fleet.recorder.history();
    assert_eq!(check_safety(&history), []);
    assert_eq!(every_record_is_delivered(&history), []);
}

#[tokio::test(start_paused = true)]
async fn p8_leases_tile_the_hash_key_space_after_a_reshard() {
    let mut fleet = Fleet::new(2);
    let _worker = fleet.start();
    fleet.pass(SETTLED).await;
    fleet.stream.update_shard_count(5).unwrap();
    fleet.pass(SETTLED).await;
    let leases = fleet.leases().await;
    let leases = leases.into_iter().map(|lease| (lease.key.clone(), lease)).collect();
    let listed = fleet.stream.source().list_shards().await.unwrap();
    assert_eq!(audit(&leases, &listed.into_iter().map(|shard| shard.id).collect()), []);
    assert_eq!(fleet.open_shards().await.len(), 5);
}

#[tokio::test(start_paused = true)]
async fn latest_is_resolved_once_and_a_restart_skips_nothing() {
    let mut fleet = Fleet::new(2);
    for number in 0..20 {
        fleet.stream.put(NewRecord::new(format!("before-{number}"), "old")).unwrap();
    }
    let config = fleet.config().initial_position(InitialPosition::Latest);
    let note = fleet.note();
    let first = fleet.start_with(config, note);
    fleet.pass(Duration::from_secs(5)).await;
    first.kill();
    fleet.put(20);
    let config = fleet.config().initial_position(InitialPosition::Latest);
    let note = fleet.note();
    let _second = fleet.start_with(config, note);
    fleet.pass(SETTLED).await;
    let history = fleet.recorder.history();
    assert_eq!(every_record_is_delivered(&history), []);
    let given: usize = history
        .iter()
        .map(|entry| match &entry.what {
            What::Given { positions, .. } => positions.len(),
            _ => 0,
        })
        .sum();
    assert_eq!(given, 20, "nothing that came before the application started");
}

#[tokio::test(start_paused = true)]
async fn several_applications_read_one_stream_independently() {
    let mut one = Fleet::new(3);
    let mut other = Fleet::new(1);
    other.stream = one.stream.clone();
    let config = one.config();
    let (first, second) = (one.start(), other.start_with(config, other.note()));
    one.pass(SETTLED).await;
    assert_eq!((first.shards(), second.shards()), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn one_scheduler_reads_several_streams() {
    let mut fleet = Fleet::new(2);
    let more = fleet.engine.create_stream("more", 3, StreamOptions::unlimited()).unwrap();
    let config = fleet.config();
    let table = Arc::new(fleet.table.clone());
    let notes = fleet.notes();
    let note_more = move |start: &kcl_core::ShardStart| notes.under(LeaseKey::new("more"), start);
    let scheduler = Scheduler::new(config, table, Arc::new(fleet.stream.source()), fleet.note())
        .unwrap()
        .stream(Arc::new(more.source()), note_more);
    let handle = scheduler.handle();
    tokio::spawn(scheduler.run());
    fleet.pass(SETTLED).await;
    assert_eq!(handle.status().shards.len(), 5);
    fleet.put(10);
    let receipt = more.put(NewRecord::new("k", "data")).unwrap();
    fleet.pass(Duration::from_secs(1)).await;
    let history = fleet.recorder.history();
    assert_eq!(every_record_is_delivered(&history), []);
    let came = history.iter().any(|entry| {
        matches!(&entry.what, What::Given { lease, positions }
            if lease.as_str() == "more" && positions.contains(&Position::from(receipt.sequence)))
    });
    assert!(came, "the second stream's record reached its own processor");
    assert!(fleet.leases().await.iter().all(|lease| lease.key.stream_prefix().is_some()));
}

#[tokio::test(start_paused = true)]
async fn a_recreated_stream_is_refused_with_the_reason() {
    let mut fleet = Fleet::new(2);
    let worker = fleet.start();
    fleet.pass(SETTLED).await;
    worker.handle.shutdown().await;
    fleet.engine.delete_stream("s").unwrap();
    fleet.pass(Duration::from_secs(1)).await;
    fleet.stream = fleet.engine.create_stream("s", 2, StreamOptions::unlimited()).unwrap();
    let error = fleet.start().end().await.unwrap_err().to_string();
    assert!(error.contains("stream s was created at"), "{error}");
    assert_eq!(fleet.lease(shard(0).as_str()).await.owner, None);
}

#[tokio::test(start_paused = true)]
async fn the_table_of_another_stream_is_refused_and_left_alone() {
    let mut fleet = Fleet::new(2);
    let worker = fleet.start();
    fleet.pass(SETTLED).await;
    let before = fleet.leases().await;
    let other = fleet.engine.create_stream("clicks", 2, StreamOptions::unlimited()).unwrap();
    let source: Arc<dyn StreamSource> = Arc::new(other.source());
    let (config, note) = (fleet.config(), fleet.note());
    let error = fleet.start_on(config, source, note).end().await.unwrap_err().to_string();
    assert!(error.contains("STREAM#s") && error.contains("clicks alone"), "{error}");
    assert_eq!(fleet.leases().await, before);
    worker.handle.shutdown().await;
    // Still the table of the first: nothing was noted of the other.
    let worker = fleet.start();
    fleet.pass(SETTLED).await;
    assert_eq!(worker.shards(), 2);
}
