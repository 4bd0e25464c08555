//! A worker starts as soon as its table and its streams let it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kcl_core::protocol::{CasOutcome, ConditionalWrite, Row, RowKey, ShardId, StreamWrite};
use kcl_core::{
    Config, LeaseTable, ReadFrom, RecordBatch, Scan, Scheduler, Shard, ShardReader, SourceError,
    StreamDescription, StreamSource, TableError, WorkerError, async_trait, closure,
};
use kcl_lease_local::MemoryLeaseTable;
use kcl_stream_local::{LocalSource, StreamOptions};
use tokio::sync::Barrier;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::fleet::Fleet;

/// A stream whose descriptions fail until it is back.
struct Away {
    source: LocalSource,
    is_back: Arc<AtomicBool>,
}

#[async_trait]
impl StreamSource for Away {
    async fn describe(&self) -> Result<StreamDescription, SourceError> {
        if !self.is_back.load(Ordering::Relaxed) {
            return Err(SourceError::Unavailable("away".to_owned()));
        }
        self.source.describe().await
    }
    async fn list_shards(&self) -> Result<Vec<Shard>, SourceError> {
        self.source.list_shards().await
    }
    async fn open(
        &self,
        shard: &ShardId,
        from: ReadFrom,
    ) -> Result<Box<dyn ShardReader>, SourceError> {
        self.source.open(shard, from).await
    }
}

/// Starts a worker on stream `s`, so often, and on one that is away until this is set.
fn start_half(
    fleet: &mut Fleet,
    times: usize,
) -> (JoinHandle<Result<(), WorkerError>>, Arc<AtomicBool>) {
    let is_back = Arc::new(AtomicBool::new(false));
    let away = fleet.engine.create_stream("away", 1, StreamOptions::unlimited()).unwrap().source();
    let away = Away { source: away, is_back: Arc::clone(&is_back) };
    let ignore = || closure::batches(|_: &RecordBatch| Ok(()));
    let (config, table) = (fleet.config(), Arc::new(fleet.table.clone()));
    let source = || Arc::new(fleet.stream.source());
    let mut scheduler = Scheduler::new(config, table, source(), ignore()).unwrap();
    for _ in 1..times {
        scheduler = scheduler.stream(source(), ignore());
    }
    (tokio::spawn(scheduler.stream(Arc::new(away), ignore()).run()), is_back)
}

#[tokio::test(start_paused = true)]
async fn a_worker_whose_requests_fail_now_and_then_goes_on_where_it_was_in_its_start() {
    let mut fleet = Fleet::new(4);
    let worker = fleet.start();
    worker.cable.loosen();
    fleet.pass(Duration::from_secs(4)).await;
    assert_eq!(worker.handle.status().shards.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_stream_given_twice_is_refused_before_the_next_one_is_waited_for() {
    let mut fleet = Fleet::new(4);
    let (worker, _) = start_half(&mut fleet, 2);
    fleet.pass(Duration::from_secs(5)).await;
    assert!(worker.is_finished());
    let refused = worker.await.unwrap().unwrap_err();
    assert!(matches!(refused, WorkerError::StreamTwice { .. }), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_waited_for_a_stream_makes_no_leases_beside_those_of_another_kind() {
    let mut fleet = Fleet::new(4);
    let (several, is_back) = start_half(&mut fleet, 1);
    fleet.pass(Duration::from_secs(5)).await;
    let single = fleet.start();
    fleet.pass(Duration::from_secs(15)).await;
    is_back.store(true, Ordering::Relaxed);
    fleet.pass(Duration::from_secs(15)).await;
    assert!(several.is_finished());
    let refused = several.await.unwrap().unwrap_err();
    assert!(matches!(refused, WorkerError::OtherKeys { several: true, .. }), "{refused}");
    assert_eq!(single.handle.status().shards.len(), 4);
    assert_eq!(fleet.leases().await.len(), 4);
    single.handle.shutdown().await;
    let again = fleet.start();
    fleet.pass(Duration::from_secs(15)).await;
    assert_eq!(again.handle.status().shards.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn of_two_workers_of_different_kinds_that_start_at_once_one_makes_leases() {
    let mut fleet = Fleet::new(4);
    let (config, table) = (fleet.config(), Arc::new(fleet.table.clone()));
    let ignore = closure::batches(|_: &RecordBatch| Ok(()));
    let source = Arc::new(fleet.stream.source());
    let several = Scheduler::new(config, table, source, ignore).unwrap().several_streams();
    let several = tokio::spawn(several.run());
    let single = fleet.start();
    fleet.pass(Duration::from_secs(15)).await;
    let refused = match several.is_finished() {
        true => several.await.unwrap(),
        false => timeout(Duration::from_secs(1), single.end()).await.unwrap(),
    };
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("the lease table holds"), "{refused}");
    let leases = fleet.leases().await;
    let named = leases.iter().filter(|lease| lease.key.stream_prefix().is_some()).count();
    assert!(named == 0 || named == leases.len(), "{leases:?}");
}

/// A table on which two stream rows are made at once.
struct AtOnce {
    table: MemoryLeaseTable,
    both: Barrier,
}

#[async_trait]
impl LeaseTable for AtOnce {
    async fn prepare(&self) -> Result<String, TableError> {
        self.table.prepare().await
    }
    async fn scan(&self, scope: Scan) -> Result<Vec<Row>, TableError> {
        self.table.scan(scope).await
    }
    async fn read(&self, key: &RowKey) -> Result<Option<Row>, TableError> {
        self.table.read(key).await
    }
    async fn write(&self, write: &ConditionalWrite) -> Result<CasOutcome, TableError> {
        if matches!(write, ConditionalWrite::Stream(StreamWrite::Create(_))) {
            self.both.wait().await;
        }
        self.table.write(write).await
    }
    async fn write_all(&self, writes: &[ConditionalWrite]) -> Result<CasOutcome, TableError> {
        self.table.write_all(writes).await
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_streams_whose_workers_start_on_one_table_at_once_one_is_read() {
    let mut fleet = Fleet::new(4);
    let other = fleet.engine.create_stream("other", 2, StreamOptions::unlimited()).unwrap();
    let table = Arc::new(AtOnce { table: fleet.table.clone(), both: Barrier::new(2) });
    let start = |config: Config, source: LocalSource| {
        let ignore = closure::batches(|_: &RecordBatch| Ok(()));
        let scheduler = Scheduler::new(config, table.clone(), Arc::new(source), ignore).unwrap();
        (scheduler.handle(), tokio::spawn(scheduler.run()))
    };
    let (one, another) = (fleet.config(), fleet.config());
    let workers = [start(one, fleet.stream.source()), start(another, other.source())];
    fleet.pass(Duration::from_secs(15)).await;
    let mut shards = Vec::new();
    for (handle, worker) in workers {
        match worker.is_finished() {
            true => {
                let refused = worker.await.unwrap().unwrap_err();
                assert!(matches!(refused, WorkerError::OtherStream { .. }), "{refused}");
            }
            false => shards.push(handle.status().shards.len()),
        }
    }
    assert_eq!(shards, [fleet.leases().await.len()], "one is refused, the other has it all");
}
