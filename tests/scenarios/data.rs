use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kcl_core::{
    Checkpointer, ConsumerConfig, InitialPosition, ProcessorError, RecordBatch, RecordProcessor,
    ResetTo, ShardStart, StreamSource, async_trait,
};
use kcl_testkit::history::{What, check_safety, every_record_is_delivered};

use crate::fleet::{D, Fleet, Note};

const SETTLED: Duration = Duration::from_secs(10);

#[tokio::test(start_paused = true)]
async fn p4_a_new_owner_starts_at_the_checkpoint() {
    let mut fleet = Fleet::new(1);
    let one = fleet.start();
    fleet.pass(SETTLED).await;
    fleet.put(50);
    // Longer than the interval between two checkpoints.
    fleet.pass(Duration::from_secs(6)).await;
    one.kill();
    let _other = fleet.start();
    fleet.put(10);
    fleet.pass(D * 3 + SETTLED).await;
    let history = fleet.recorder.history();
    let given = history.iter().map(|entry| match &entry.what {
        What::Given { positions, .. } => positions.len(),
        _ => 0,
    });
    assert_eq!(given.sum::<usize>(), 60, "what was checkpointed does not come again");
    assert_eq!(check_safety(&history), []);
}

/// Fails at one key until it is mended.
struct Picky {
    note: Note,
    is_mended: Arc<AtomicBool>,
}

#[async_trait]
impl RecordProcessor for Picky {
    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        checkpointer: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        let bad = batch.records.iter().position(|record| record.partition_key.as_str() == "k7");
        if let Some(bad) = bad.filter(|_| !self.is_mended.load(Ordering::Relaxed)) {
            // What stands before it is done.
            self.note.given(&batch.records[..bad]);
            self.note.acked(&batch.records[..bad]);
            return Err(ProcessorError::at(batch.records[bad].position, "k7 does not fit"));
        }
        self.note.process_records(batch, checkpointer).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_fails_is_parked_with_its_reason_and_the_others_go_on() {
    let mut fleet = Fleet::new(4);
    let is_mended = Arc::new(AtomicBool::new(false));
    let (notes, mended) = (fleet.notes(), Arc::clone(&is_mended));
    let config = fleet.config();
    let worker = fleet.start_with(config, move |start: &ShardStart| Picky {
        note: notes.of(start),
        is_mended: Arc::clone(&mended),
    });
    fleet.pass(SETTLED).await;
    fleet.put(40);
    fleet.pass(Duration::from_secs(120)).await;
    let parked: Vec<_> =
        fleet.leases().await.into_iter().filter(|lease| lease.parked.is_some()).collect();
    assert_eq!(parked.len(), 1);
    assert_eq!(parked[0].parked.as_ref().unwrap().reason, "k7 does not fit");
    assert_eq!(parked[0].owner, worker.id(), "the lease stays held");
    assert_eq!(worker.shards(), 4);
    is_mended.store(true, Ordering::Relaxed);
    worker.handle.resume(&parked[0].key.shard()).await.unwrap();
    fleet.pass(SETTLED).await;
    let history = fleet.recorder.history();
    assert_eq!(every_record_is_delivered(&history), []);
    assert_eq!(check_safety(&history), []);
    assert!(fleet.leases().await.iter().all(|lease| lease.parked.is_none()));
}

#[tokio::test(start_paused = true)]
async fn a_paused_shard_keeps_its_lease_and_delivers_nothing() {
    let mut fleet = Fleet::new(1);
    let worker = fleet.start();
    fleet.pass(SETTLED).await;
    let shard = worker.handle.status().shards[0].shard.clone();
    worker.handle.pause(&shard).await.unwrap();
    fleet.pass(Duration::from_secs(1)).await;
    fleet.put(10);
    fleet.pass(Duration::from_secs(30)).await;
    assert_eq!(every_record_is_delivered(&fleet.recorder.history()).len(), 1);
    assert_eq!(worker.shards(), 1);
    worker.handle.resume(&shard).await.unwrap();
    fleet.pass(Duration::from_secs(1)).await;
    assert_eq!(every_record_is_delivered(&fleet.recorder.history()), []);
}

#[tokio::test(start_paused = true)]
async fn a_reset_is_refused_while_a_worker_lives_and_replays_afterwards() {
    let mut fleet = Fleet::new(2);
    let worker = fleet.start();
    fleet.pass(SETTLED).await;
    fleet.put(30);
    fleet.pass(Duration::from_secs(6)).await;
    let config = fleet.config();
    let start = || ResetTo::Start(InitialPosition::TrimHorizon);
    let source = fleet.stream.source();
    let refused = config.reset_to(&fleet.table, &source, start()).await.unwrap_err();
    assert!(refused.to_string().contains("still run"), "{refused}");
    worker.kill();
    config.reset_to(&fleet.table, &source, start()).await.unwrap();
    let _next = fleet.start();
    fleet.pass(SETTLED).await;
    let history = fleet.recorder.history();
    let given = history.iter().map(|entry| match &entry.what {
        What::Given { positions, .. } => positions.len(),
        _ => 0,
    });
    assert_eq!(given.sum::<usize>(), 60, "every record came a second time");
    assert_eq!(kcl_testkit::history::no_fence_has_two_holders(&history), []);
}

#[tokio::test(start_paused = true)]
async fn a_reset_to_positions_must_name_every_open_shard_and_then_goes_on_after_them() {
    let mut fleet = Fleet::new(2);
    let worker = fleet.start();
    fleet.pass(SETTLED).await;
    fleet.put(30);
    fleet.pass(Duration::from_secs(6)).await;
    let source = fleet.stream.source();
    let tips = source.list_shards().await.unwrap().into_iter();
    let tips: BTreeMap<_, _> = tips.map(|shard| (shard.id, shard.tip.unwrap().into())).collect();
    let (missing, _) = tips.iter().next().unwrap();
    let mut incomplete = tips.clone();
    incomplete.remove(missing);
    let config = fleet.config();
    let before = fleet.leases().await;
    worker.kill();
    let refused = config.reset_to(&fleet.table, &source, ResetTo::After(incomplete)).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains(missing.as_str()) && !refused.contains("000001"), "{refused}");
    assert_eq!(fleet.leases().await, before);
    config.reset_to(&fleet.table, &source, ResetTo::After(tips)).await.unwrap();
    let _next = fleet.start();
    fleet.pass(SETTLED).await;
    fleet.put(1);
    fleet.pass(SETTLED).await;
    let history = fleet.recorder.history();
    let given = history.iter().map(|entry| match &entry.what {
        What::Given { positions, .. } => positions.len(),
        _ => 0,
    });
    assert_eq!(given.sum::<usize>(), 31, "nothing before the positions came again");
}

#[tokio::test(start_paused = true)]
async fn a_stuck_shard_is_yielded_once_it_made_no_progress_for_long() {
    let mut fleet = Fleet::new(2);
    let consumer =
        ConsumerConfig { max_progress: Some(Duration::from_secs(5)), ..ConsumerConfig::default() };
    let config = fleet.config().consumer(consumer);
    let stuck = fleet.start_with(config, |_: &ShardStart| Never);
    fleet.pass(SETTLED).await;
    let healthy = fleet.start();
    fleet.pass(SETTLED).await;
    let shard = stuck.handle.status().shards[0].shard.clone();
    fleet.put(20);
    fleet.pass(Duration::from_secs(30)).await;
    // The plan may send the other shard back for balance; this one stays away.
    assert!(healthy.handle.status().shards.iter().any(|status| status.shard == shard));
    assert_eq!(every_record_is_delivered(&fleet.recorder.history()), []);
}

struct Never;

#[async_trait]
impl RecordProcessor for Never {
    async fn process_records(
        &mut self,
        _: &RecordBatch,
        _: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        std::future::pending().await
    }
}
