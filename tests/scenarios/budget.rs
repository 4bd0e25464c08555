use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kcl_core::protocol::ShardId;
use kcl_core::{
    Acks, Checkpointer, ConsumerConfig, ProcessorError, ReadFrom, ReadLimit, ReadOutcome,
    RecordBatch, RecordProcessor, Shard, ShardReader, ShardStart, SourceError, StreamDescription,
    StreamSource, async_trait,
};
use kcl_stream_local::LocalSource;

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

/// Counts the records its readers hand out.
struct Counted {
    inner: LocalSource,
    read: Arc<AtomicUsize>,
}

struct CountedReader {
    inner: Box<dyn ShardReader>,
    read: Arc<AtomicUsize>,
}

#[async_trait]
impl StreamSource for Counted {
    async fn describe(&self) -> Result<StreamDescription, SourceError> {
        self.inner.describe().await
    }
    async fn list_shards(&self) -> Result<Vec<Shard>, SourceError> {
        self.inner.list_shards().await
    }
    async fn open(
        &self,
        shard: &ShardId,
        from: ReadFrom,
    ) -> Result<Box<dyn ShardReader>, SourceError> {
        let inner = self.inner.open(shard, from).await?;
        Ok(Box::new(CountedReader { inner, read: Arc::clone(&self.read) }))
    }
}

#[async_trait]
impl ShardReader for CountedReader {
    async fn next(&mut self, limit: ReadLimit) -> Result<ReadOutcome, SourceError> {
        let outcome = self.inner.next(limit).await?;
        if let ReadOutcome::Records { records, .. } = &outcome {
            self.read.fetch_add(records.len(), Ordering::Relaxed);
        }
        Ok(outcome)
    }
}

/// Takes what it is given and acks none of it.
struct AcksNothing(Arc<AtomicUsize>);

#[async_trait]
impl RecordProcessor for AcksNothing {
    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        _: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        self.0.fetch_add(batch.records.len(), Ordering::Relaxed);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn q2_what_is_read_ahead_and_what_is_out_unacked_is_bounded() {
    let mut fleet = Fleet::new(1);
    let (read, given) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let consumer = ConsumerConfig {
        acks: Acks::Explicit,
        batch_records: 10,
        prefetch_records: 100,
        max_unacked_records: 50,
        ..ConsumerConfig::default()
    };
    let config = fleet.config().consumer(consumer);
    let source = Counted { inner: fleet.stream.source(), read: Arc::clone(&read) };
    let counter = Arc::clone(&given);
    let factory = move |_: &ShardStart| AcksNothing(Arc::clone(&counter));
    let _worker = fleet.start_on(config, Arc::new(source), factory);
    for _ in 0..10 {
        fleet.put(100);
        fleet.pass(Duration::from_secs(5)).await;
    }
    assert_eq!(given.load(Ordering::Relaxed), 50, "the bound of unacked records");
    assert_eq!(read.load(Ordering::Relaxed), 150, "and that of records read ahead");
}
