//! Shard sync against others that sync at the same time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use kcl_core::protocol::{CasOutcome, ConditionalWrite, LeaseWrite, Row, RowKey, ShardId};
use kcl_core::{
    Clock, EventKind, LeaseTable, ReadFrom, Scan, Scheduler, Shard, ShardReader, SourceError,
    StreamDescription, StreamSource, TableError, TokioClock, async_trait,
};
use kcl_lease_local::MemoryLeaseTable;
use kcl_stream_local::{LocalSource, StreamOptions};
use kcl_testkit::history::What;

use crate::fleet::{Cable, D, Fleet};

/// Answers the first scan of the leases late, with what they were when it was asked.
struct LateScan {
    table: MemoryLeaseTable,
    clock: Arc<TokioClock>,
    is_first: AtomicBool,
}

#[async_trait]
impl LeaseTable for LateScan {
    async fn prepare(&self) -> Result<String, TableError> {
        self.table.prepare().await
    }
    async fn scan(&self, scope: Scan) -> Result<Vec<Row>, TableError> {
        let rows = self.table.scan(scope).await;
        if scope == Scan::Leases && self.is_first.swap(false, Ordering::Relaxed) {
            self.clock.sleep(Duration::from_millis(2_500)).await;
        }
        rows
    }
    async fn read(&self, key: &RowKey) -> Result<Option<Row>, TableError> {
        self.table.read(key).await
    }
    async fn write(&self, write: &ConditionalWrite) -> Result<CasOutcome, TableError> {
        self.table.write(write).await
    }
    async fn write_all(&self, writes: &[ConditionalWrite]) -> Result<CasOutcome, TableError> {
        self.table.write_all(writes).await
    }
}

/// Answers the first request that makes a lease late, and counts all of them. No cable is between
/// these and the table.
struct LateCreate {
    table: MemoryLeaseTable,
    cable: Cable,
    clock: Arc<TokioClock>,
    creates: Arc<AtomicU32>,
}

#[async_trait]
impl LeaseTable for LateCreate {
    async fn prepare(&self) -> Result<String, TableError> {
        self.cable.prepare().await
    }
    async fn scan(&self, scope: Scan) -> Result<Vec<Row>, TableError> {
        self.cable.scan(scope).await
    }
    async fn read(&self, key: &RowKey) -> Result<Option<Row>, TableError> {
        self.cable.read(key).await
    }
    async fn write(&self, write: &ConditionalWrite) -> Result<CasOutcome, TableError> {
        if !matches!(write, ConditionalWrite::Lease(LeaseWrite::Create(_))) {
            return self.cable.write(write).await;
        }
        if self.creates.fetch_add(1, Ordering::Relaxed) == 0 {
            self.clock.sleep(D * 3).await;
        }
        self.table.write(write).await
    }
    async fn write_all(&self, writes: &[ConditionalWrite]) -> Result<CasOutcome, TableError> {
        self.cable.write_all(writes).await
    }
}

/// Lists its shards so many times, and fails from then on.
struct Lists {
    source: LocalSource,
    times: u32,
    listings: Arc<AtomicU32>,
}

impl Lists {
    fn times(times: u32, source: LocalSource) -> Self {
        Self { source, times, listings: Arc::default() }
    }
}

#[async_trait]
impl StreamSource for Lists {
    async fn describe(&self) -> Result<StreamDescription, SourceError> {
        self.source.describe().await
    }
    async fn list_shards(&self) -> Result<Vec<Shard>, SourceError> {
        match self.listings.fetch_add(1, Ordering::Relaxed) < self.times {
            true => self.source.list_shards().await,
            false => Err(SourceError::Unavailable("not now".into())),
        }
    }
    async fn open(
        &self,
        shard: &ShardId,
        from: ReadFrom,
    ) -> Result<Box<dyn ShardReader>, SourceError> {
        self.source.open(shard, from).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_first_sync_that_another_worker_ends_meanwhile_makes_no_row_look_deleted() {
    let mut fleet = Fleet::new(4);
    let (config, note) = (fleet.config(), fleet.note());
    let table = LateScan {
        table: fleet.table.clone(),
        clock: fleet.clock.clone(),
        is_first: AtomicBool::new(true),
    };
    let config = config.reconcile_every(Duration::from_secs(1));
    let source = Lists::times(1, fleet.stream.source());
    let late = Scheduler::new(config, Arc::new(table), Arc::new(source), note);
    tokio::spawn(late.unwrap().run());
    fleet.pass(Duration::from_secs(1)).await;
    let _quick = fleet.start();
    fleet.pass(Duration::from_secs(20)).await;
    let is_report = |what: &What| {
        matches!(what, What::Event(event)
            if matches!(event.kind, EventKind::LeaseRowDeleted { .. }))
    };
    assert!(!fleet.recorder.history().iter().any(|entry| is_report(&entry.what)));
    let table = fleet.table.read(&RowKey::Table).await.unwrap();
    let Some(Row::Table(table)) = table else { panic!("no table row") };
    assert_eq!(table.generation, 0);
    assert!(fleet.leases().await.iter().all(|lease| lease.owner.is_some()));
}

/// Others may have made all of them since, and somebody may have deleted one.
#[tokio::test(start_paused = true)]
async fn a_worker_that_is_overdue_after_making_one_lease_makes_no_other() {
    let mut fleet = Fleet::new(4);
    let (config, note) = (fleet.config(), fleet.note());
    let cable = fleet.cable();
    let table = LateCreate {
        table: fleet.table.clone(),
        cable: cable.clone(),
        clock: fleet.clock.clone(),
        creates: Arc::default(),
    };
    let creates = Arc::clone(&table.creates);
    let source = Arc::new(fleet.stream.source());
    let worker = Scheduler::new(config, Arc::new(table), source, note).unwrap();
    tokio::spawn(worker.run());
    fleet.pass(D / 3).await;
    cable.pull();
    fleet.pass(D * 4).await;
    assert_eq!((creates.load(Ordering::Relaxed), fleet.leases().await.len()), (1, 1));
    cable.plug();
    fleet.pass(Duration::from_secs(20)).await;
    assert!(fleet.leases().await.iter().all(|lease| lease.owner.is_some()));
    assert_eq!(fleet.amiss().await, []);
}

#[tokio::test(start_paused = true)]
async fn rounds_go_on_after_every_try_of_one_has_failed() {
    let mut fleet = Fleet::new(2);
    let (config, note) = (fleet.config(), fleet.note());
    let worker = fleet.start_with(config.reconcile_every(Duration::from_secs(10)), note);
    fleet.pass(Duration::from_secs(5)).await;
    worker.cable.pull();
    fleet.pass(Duration::from_secs(20)).await;
    worker.cable.plug();
    let since = fleet.now();
    fleet.pass(Duration::from_secs(30)).await;
    let is_round = |what: &What| match what {
        What::Event(event) => matches!(event.kind, EventKind::RoundWon { .. }),
        _ => false,
    };
    let history = fleet.recorder.history();
    assert!(!history.iter().any(|entry| entry.at < since && is_round(&entry.what)));
    assert!(history.iter().any(|entry| entry.at >= since && is_round(&entry.what)));
}

/// As a deleted stream's workers do: what a service allows is shared by all who describe streams.
#[tokio::test(start_paused = true)]
async fn a_stream_that_cannot_be_listed_is_asked_less_and_less_and_never_more() {
    let mut fleet = Fleet::new(2);
    let (config, note) = (fleet.config(), fleet.note());
    let source = Lists::times(1, fleet.stream.source());
    let listings = Arc::clone(&source.listings);
    let config = config.reconcile_every(Duration::from_secs(30));
    let table = Arc::new(fleet.table.clone());
    let worker = Scheduler::new(config, table, Arc::new(source), note);
    tokio::spawn(worker.unwrap().run());
    let mut minutes = Vec::new();
    for _ in 0..30 {
        let before = listings.load(Ordering::Relaxed);
        fleet.pass(Duration::from_secs(60)).await;
        minutes.push(listings.load(Ordering::Relaxed) - before);
    }
    // Of waits from 4 to 8 s, and two rounds of reconciliation.
    assert!(minutes.iter().skip(1).all(|count| (8..=17).contains(count)), "{minutes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_well_is_not_listed_for_one_that_is_not_and_goes_on_without_it() {
    let mut fleet = Fleet::new(2);
    let (config, note) = (fleet.config(), fleet.note());
    let more = fleet.engine.create_stream("more", 2, StreamOptions::unlimited()).unwrap();
    let well = Lists::times(u32::MAX, fleet.stream.source());
    let ill = Lists::times(0, more.source());
    let (well_listed, ill_listed) = (Arc::clone(&well.listings), Arc::clone(&ill.listings));
    let table = Arc::new(fleet.table.clone());
    let scheduler = Scheduler::new(config, table, Arc::new(well), note).unwrap();
    let scheduler = scheduler.stream(Arc::new(ill), fleet.note()).several_streams();
    let handle = scheduler.handle();
    tokio::spawn(scheduler.run());
    fleet.pass(Duration::from_secs(120)).await;
    assert_eq!(well_listed.load(Ordering::Relaxed), 1);
    assert!(ill_listed.load(Ordering::Relaxed) > 10);
    assert_eq!(handle.status().shards.len(), 0, "nobody knows yet what it would have a part of");
    handle.remove_stream(&more.name().clone()).await.unwrap();
    fleet.pass(Duration::from_secs(20)).await;
    assert_eq!(handle.status().shards.len(), 2);
}
