//! Whole workers whose leases are in DynamoDB.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kcl_core::{
    Checkpointer, Config, Handle, LeaseTable, ProcessorError, RecordBatch, RecordProcessor, Scan,
    Scheduler, ShardStart, StreamSource, SystemClock, async_trait,
};
use kcl_lease_dynamo::DynamoLeaseTable;
use kcl_protocol::{Fence, Position, Row, ShardId};
use kcl_stream_local::{Engine, NewRecord, Stream, StreamOptions};
use tokio::task::JoinHandle;

use crate::local::{client_of, endpoint, table};

const SHARDS: u32 = 4;
const KEYS: u32 = 32;
const LEASE_DURATION: Duration = Duration::from_secs(3);

/// What was delivered: per shard, each record in the order of its deliveries.
type Ledger = Arc<Mutex<BTreeMap<ShardId, Vec<(Fence, Position)>>>>;

struct Writer {
    start: ShardStart,
    ledger: Ledger,
}

#[async_trait]
impl RecordProcessor for Writer {
    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        _: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        let mut ledger = self.ledger.lock().unwrap();
        let shard = ledger.entry(self.start.shard.clone()).or_default();
        shard.extend(batch.records.iter().map(|record| (self.start.fence, record.position)));
        Ok(())
    }
}

struct Fleet {
    table: DynamoLeaseTable,
    stream: Stream,
    ledger: Ledger,
}

impl Fleet {
    async fn new(name: &str) -> Option<Self> {
        let (_, table) = table(name).await?;
        let engine = Engine::new(Arc::new(SystemClock));
        let stream = engine.create_stream("orders", SHARDS, StreamOptions::unlimited()).unwrap();
        Some(Self { table, stream, ledger: Ledger::default() })
    }

    /// Starts a worker: its handle, and the task that is the worker.
    fn worker(&self, name: &str) -> (Handle, JoinHandle<()>) {
        let beats = client_of(&endpoint().unwrap());
        self.worker_with(name, self.table.for_liveness(&beats, Duration::from_secs(1)))
    }

    fn worker_with(&self, name: &str, beats: DynamoLeaseTable) -> (Handle, JoinHandle<()>) {
        let ledger = Arc::clone(&self.ledger);
        let factory =
            move |start: &ShardStart| Writer { start: start.clone(), ledger: Arc::clone(&ledger) };
        let config = Config::new("orders-app")
            .worker_name(name)
            .lease_duration(LEASE_DURATION)
            .blocking_grace(Duration::ZERO);
        let source: Arc<dyn StreamSource> = Arc::new(self.stream.source());
        let scheduler = Scheduler::new(config, Arc::new(self.table.clone()), source, factory);
        let scheduler = scheduler.unwrap().liveness_table(Arc::new(beats));
        let handle = scheduler.handle();
        (handle, tokio::spawn(async move { scheduler.run().await.unwrap() }))
    }

    /// Puts a record for each key; returns how many records there are now.
    fn put_round(&self, round: u32) -> usize {
        for key in 0..KEYS {
            self.stream.put(NewRecord::new(format!("key-{key}"), vec![0; 8])).unwrap();
        }
        ((round + 1) * KEYS) as usize
    }

    fn delivered(&self) -> usize {
        let ledger = self.ledger.lock().unwrap();
        let distinct = |seen: &Vec<(Fence, Position)>| {
            seen.iter().map(|(_, at)| at).collect::<BTreeSet<_>>().len()
        };
        ledger.values().map(distinct).sum()
    }

    fn deliveries(&self) -> usize {
        self.ledger.lock().unwrap().values().map(Vec::len).sum()
    }

    async fn until_delivered(&self, count: usize) {
        until(|| self.delivered() >= count, &format!("{count} records delivered")).await;
    }

    /// In each shard fences never fall, and within a fence records come in order.
    fn check_order(&self) {
        for (shard, seen) in &*self.ledger.lock().unwrap() {
            assert!(seen.is_sorted(), "{shard} went back: {seen:?}");
        }
    }
}

/// Looks every 20 ms, for a minute at most.
async fn until(holds: impl Fn() -> bool, what: &str) {
    for _ in 0..3000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("a minute passed without: {what}");
}

fn held(handle: &Handle) -> usize {
    handle.status().shards.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_share_a_stream_and_a_stop_hands_all_over_without_duplicates() {
    let Some(fleet) = Fleet::new("share").await else { return };
    let (first, ran) = fleet.worker("first");
    fleet.until_delivered(fleet.put_round(0)).await;
    let (second, second_ran) = fleet.worker("second");
    until(|| held(&first) == 2 && held(&second) == 2, "two shards each").await;
    fleet.until_delivered(fleet.put_round(1)).await;
    first.shutdown().await;
    ran.await.unwrap();
    let all = fleet.put_round(2);
    fleet.until_delivered(all).await;
    assert_eq!(fleet.deliveries(), all, "a record was delivered twice");
    fleet.check_order();
    second.shutdown().await;
    second_ran.await.unwrap();
    let leases = fleet.table.scan(Scan::Leases).await.unwrap();
    let unowned = |row: &Row| matches!(row, Row::Lease(lease) if lease.owner.is_none());
    assert_eq!(leases.len(), SHARDS as usize);
    assert!(leases.iter().all(unowned), "{leases:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_workers_shards_go_on_elsewhere_under_higher_fences() {
    let Some(fleet) = Fleet::new("kill").await else { return };
    let (first, ran) = fleet.worker("first");
    let (second, second_ran) = fleet.worker("second");
    until(|| held(&first) == 2 && held(&second) == 2, "two shards each").await;
    fleet.until_delivered(fleet.put_round(0)).await;
    ran.abort();
    fleet.until_delivered(fleet.put_round(1)).await;
    until(|| held(&second) == SHARDS as usize, "all shards at the survivor").await;
    fleet.check_order();
    second.shutdown().await;
    second_ran.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resharded_stream_is_read_on_without_loss() {
    let Some(fleet) = Fleet::new("reshard").await else { return };
    let (worker, ran) = fleet.worker("only");
    fleet.until_delivered(fleet.put_round(0)).await;
    let shard = ShardId::new("shardId-000000000000");
    let middle = u128::MAX / u128::from(SHARDS) / 2;
    fleet.stream.split_shard(&shard, middle).unwrap();
    fleet.until_delivered(fleet.put_round(1)).await;
    let lease = kcl_protocol::RowKey::Lease(shard.as_str().into());
    let Some(Row::Lease(parent)) = fleet.table.read(&lease).await.unwrap() else { panic!() };
    assert!(parent.is_ended() && parent.owner.is_none() && parent.children.len() == 2);
    fleet.check_order();
    worker.shutdown().await;
    ran.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_fleet_sends_one_heartbeat_and_one_scan_a_worker_and_interval() {
    let Some(fleet) = Fleet::new("idle").await else { return };
    let beats = || {
        let client = client_of(&endpoint().unwrap());
        fleet.table.for_liveness(&client, Duration::from_secs(1))
    };
    let tables = [beats(), beats()];
    let (first, first_ran) = fleet.worker_with("first", tables[0].clone());
    let (second, second_ran) = fleet.worker_with("second", tables[1].clone());
    until(|| held(&first) == 2 && held(&second) == 2, "two shards each").await;
    // The end of what the move of shards brought with it.
    tokio::time::sleep(LEASE_DURATION).await;
    let before = (fleet.table.requests(), tables.each_ref().map(DynamoLeaseTable::requests));
    let intervals = 6;
    tokio::time::sleep(LEASE_DURATION / 3 * intervals).await;
    let most = u64::from(intervals) + 1;
    for (table, before) in tables.iter().zip(before.1) {
        let now = table.requests();
        let (beats, scans) = (now.updates - before.updates, now.scan_pages - before.scan_pages);
        assert!(beats <= most && scans <= most, "{beats} heartbeats, {scans} scans");
        assert!(beats > 0, "no heartbeats: is it alive?");
        assert_eq!(now.total() - before.total(), beats + scans, "nothing else: {now:?}");
    }
    let now = fleet.table.requests();
    let others = now.total() - before.0.total();
    assert!(now.writes() - before.0.writes() <= 1, "a round at most: {:?} {now:?}", before.0);
    assert!(others <= 2 * most, "{others} other requests: {:?} {now:?}", before.0);
    first.shutdown().await;
    second.shutdown().await;
    first_ran.await.unwrap();
    second_ran.await.unwrap();
}
