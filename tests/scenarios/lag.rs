//! How far behind a shard is told to be: what its reads said, and the time records waited since.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kcl_core::{
    Action, Attempt, Checkpointer, Clock, ConsumerConfig, ConsumerState, ConsumerStatus,
    ProcessorError, RecordBatch, RecordProcessor, ShardStart, TokioClock, async_trait,
};

use crate::fleet::{Fleet, Worker, shard};

const SETTLED: Duration = Duration::from_secs(10);

/// Takes so long for each batch, and notes how far behind each was.
struct Slow {
    clock: Arc<TokioClock>,
    each: Duration,
    lags: Arc<Mutex<Vec<u64>>>,
}

#[async_trait]
impl RecordProcessor for Slow {
    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        _: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        self.lags.lock().unwrap().push(batch.behind_millis);
        self.clock.sleep(self.each).await;
        Ok(())
    }
}

fn consumer(worker: &Worker) -> ConsumerStatus {
    worker.handle.status().shards[0].consumer.clone()
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_waited_is_told_to_be_that_much_further_behind() {
    let mut fleet = Fleet::new(1);
    // The first two have another behind them when they are read; the last is at the tip.
    for _ in 0..3 {
        fleet.put(1);
        fleet.pass(Duration::from_secs(10)).await;
    }
    let one = ConsumerConfig { batch_records: 1, ..ConsumerConfig::default() };
    let (config, lags) = (fleet.config().consumer(one), Arc::new(Mutex::new(Vec::new())));
    let (clock, noted) = (Arc::clone(&fleet.clock), Arc::clone(&lags));
    let _worker = fleet.start_with(config, move |_: &ShardStart| Slow {
        clock: Arc::clone(&clock),
        each: Duration::from_secs(4),
        lags: Arc::clone(&noted),
    });
    fleet.pass(Duration::from_secs(20)).await;
    let lags = lags.lock().unwrap().clone();
    assert_eq!(lags.len(), 3);
    // All three are read at once, when the first is delivered; the others wait 4 and 8 s.
    let read_after = lags[0] - 30_000;
    assert!(read_after < 1_000, "{lags:?}");
    assert_eq!(lags[1..], [20_000 + read_after + 4_000, 8_000]);
}

#[tokio::test(start_paused = true)]
async fn the_status_shows_a_lag_that_grows_while_a_batch_runs_and_others_wait() {
    let mut fleet = Fleet::new(1);
    let one = ConsumerConfig { batch_records: 1, ..ConsumerConfig::default() };
    let config = fleet.config().consumer(one);
    let clock = Arc::clone(&fleet.clock);
    let worker = fleet.start_with(config, move |_: &ShardStart| Slow {
        clock: Arc::clone(&clock),
        each: Duration::from_secs(4),
        lags: Arc::default(),
    });
    fleet.pass(SETTLED).await;
    assert_eq!(consumer(&worker).lag_millis, 0, "nothing is there to be behind of");
    fleet.put(2);
    let mut seen = Vec::new();
    for _ in 0..5 {
        fleet.pass(Duration::from_millis(1_900)).await;
        seen.push(consumer(&worker).lag_millis);
    }
    // Timers are late by up to a millisecond each.
    let late = seen.iter().zip([1_900, 3_800, 5_700, 7_600, 0]).map(|(seen, due)| seen - due);
    assert!(late.max().unwrap() <= 4, "{seen:?}");
    assert_eq!(seen[4], 0);
}

#[tokio::test(start_paused = true)]
async fn the_lag_of_a_paused_shard_grows_once_records_wait() {
    let mut fleet = Fleet::new(2);
    let worker = fleet.start();
    fleet.pass(SETTLED).await;
    let status = worker.handle.status();
    worker.handle.pause(&status.shards[0].shard).await.unwrap();
    fleet.pass(Duration::from_secs(60)).await;
    assert_eq!(consumer(&worker).state, ConsumerState::Paused);
    assert_eq!(consumer(&worker).lag_millis, 0, "nothing waits");
    fleet.put(40);
    fleet.pass(Duration::from_secs(30)).await;
    let lags = worker.handle.status().shards;
    let lags: Vec<u64> = lags.iter().map(|shard| shard.consumer.lag_millis).collect();
    assert_eq!(lags, [30_000, 0]);
    worker.handle.resume(&status.shards[0].shard).await.unwrap();
    fleet.pass(Duration::from_secs(1)).await;
    assert_eq!(consumer(&worker).lag_millis, 0);
}

/// Fails until it is mended.
struct Broken(Arc<AtomicBool>);

#[async_trait]
impl RecordProcessor for Broken {
    async fn process_records(
        &mut self,
        _: &RecordBatch,
        _: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        if self.0.load(Ordering::Relaxed) { Ok(()) } else { Err(ProcessorError::new("broken")) }
    }
}

#[tokio::test(start_paused = true)]
async fn the_lag_of_a_parked_shard_grows_until_it_is_resumed() {
    let mut fleet = Fleet::new(1);
    let is_mended = Arc::new(AtomicBool::new(false));
    let mended = Arc::clone(&is_mended);
    let config = fleet.config().error_policy(|_: &ProcessorError, _: Attempt| Action::StopShard);
    let worker = fleet.start_with(config, move |_: &ShardStart| Broken(Arc::clone(&mended)));
    fleet.pass(SETTLED).await;
    fleet.put(5);
    fleet.pass(Duration::from_secs(45)).await;
    assert_eq!(consumer(&worker).state, ConsumerState::Parked);
    assert_eq!(consumer(&worker).lag_millis, 45_000);
    is_mended.store(true, Ordering::Relaxed);
    worker.handle.resume(&shard(0)).await.unwrap();
    fleet.pass(Duration::from_secs(1)).await;
    assert_eq!(consumer(&worker).lag_millis, 0);
}
