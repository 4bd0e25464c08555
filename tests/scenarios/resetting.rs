//! A reset against workers that start meanwhile, and start positions that are refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kcl_core::protocol::{
    CasOutcome, ConditionalWrite, Fence, LeaseWrite, Row, RowKey, TableWrite, WorkerId, WorkerRow,
    WorkerWrite,
};
use kcl_core::{
    InitialPosition, LeaseTable, ResetTo, Scan, TableError, WorkerError, WorkerPhase, async_trait,
};
use kcl_lease_local::MemoryLeaseTable;
use kcl_stream_local::StreamOptions;
use kcl_testkit::history::no_two_workers_deliver_one_shard;
use tokio::sync::Notify;

use crate::fleet::{D, Fleet};

const SETTLED: Duration = Duration::from_secs(15);

/// Where the reset is held up.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Begin,
    Delete,
}

/// A table whose user stops once, before the write of a kind, until it is told to go on.
struct Held {
    table: MemoryLeaseTable,
    at: Before,
    reached: Arc<Notify>,
    go: Arc<Notify>,
    once: AtomicBool,
}

impl Held {
    fn new(table: &MemoryLeaseTable, at: Before) -> Arc<Self> {
        let (reached, go) = (Arc::default(), Arc::default());
        Arc::new(Self { table: table.clone(), at, reached, go, once: AtomicBool::new(true) })
    }
}

#[async_trait]
impl LeaseTable for Held {
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
        let kind = match write {
            ConditionalWrite::Table(TableWrite::BeginReset { .. }) => Some(Before::Begin),
            ConditionalWrite::Lease(LeaseWrite::Delete { .. }) => Some(Before::Delete),
            _ => None,
        };
        if kind == Some(self.at) && self.once.swap(false, Ordering::Relaxed) {
            self.reached.notify_one();
            self.go.notified().await;
        }
        self.table.write(write).await
    }
    async fn write_all(&self, writes: &[ConditionalWrite]) -> Result<CasOutcome, TableError> {
        self.table.write_all(writes).await
    }
}

/// A fleet that has worked and stopped.
async fn rested() -> Fleet {
    let mut fleet = Fleet::new(3);
    let worker = fleet.start();
    fleet.pass(SETTLED).await;
    fleet.put(30);
    fleet.pass(SETTLED).await;
    worker.handle.shutdown().await;
    fleet
}

fn reset(fleet: &mut Fleet, table: &Arc<Held>) -> tokio::task::JoinHandle<Result<(), WorkerError>> {
    let (config, source, table) = (fleet.config(), fleet.stream.source(), Arc::clone(table));
    let to = ResetTo::Start(InitialPosition::TrimHorizon);
    tokio::spawn(async move { config.reset_to(&*table, &source, to).await })
}

#[tokio::test(start_paused = true)]
async fn a_reset_sees_a_worker_that_registers_after_its_first_look() {
    let mut fleet = rested().await;
    let before = fleet.leases().await.len();
    let table = Held::new(&fleet.table, Before::Begin);
    let reset = reset(&mut fleet, &table);
    table.reached.notified().await;
    let worker = fleet.start();
    fleet.pass(SETTLED).await;
    assert_eq!(worker.shards(), 3);
    table.go.notify_one();
    let error = reset.await.unwrap().unwrap_err();
    assert!(matches!(error, WorkerError::StillRunning { .. }), "{error}");
    fleet.pass(SETTLED).await;
    assert_eq!((worker.shards(), fleet.leases().await.len()), (3, before), "nothing is deleted");
    let other = fleet.start();
    fleet.pass(SETTLED).await;
    assert_eq!(worker.shards() + other.shards(), 3, "and workers may register again");
    assert!(other.shards() > 0);
}

#[tokio::test(start_paused = true)]
async fn a_reset_with_another_streams_source_is_refused_and_changes_nothing() {
    let mut fleet = rested().await;
    let other = fleet.engine.create_stream("returns", 2, StreamOptions::unlimited()).unwrap();
    let rows = async |scan| fleet.table.scan(scan).await.unwrap();
    let before = [rows(Scan::Coordination).await, rows(Scan::Leases).await];
    let config = kcl_core::Config::new("app").clock(fleet.clock.clone());
    let to = ResetTo::Start(InitialPosition::TrimHorizon);
    let error = config.reset_to(&fleet.table, &other.source(), to).await.unwrap_err();
    assert!(matches!(error, WorkerError::OtherStream { .. }), "{error}");
    assert_eq!([rows(Scan::Coordination).await, rows(Scan::Leases).await], before);
    let worker = fleet.start();
    fleet.pass(SETTLED).await;
    assert_eq!(worker.shards(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_starts_during_a_reset_waits_until_it_is_done() {
    let mut fleet = rested().await;
    let table = Held::new(&fleet.table, Before::Delete);
    let reset = reset(&mut fleet, &table);
    table.reached.notified().await;
    let worker = fleet.start();
    fleet.pass(SETTLED).await;
    let status = worker.handle.status();
    assert_eq!((status.phase, status.shards.len()), (WorkerPhase::Starting, 0));
    table.go.notify_one();
    reset.await.unwrap().unwrap();
    fleet.pass(SETTLED).await;
    assert_eq!(worker.shards(), 3);
    let leases = fleet.leases().await;
    assert!(leases.iter().all(|lease| lease.fence >= Fence(Fence::PER_GENERATION)));
    assert_eq!(no_two_workers_deliver_one_shard(&fleet.recorder.history()), []);
}

#[tokio::test(start_paused = true)]
async fn a_registration_whose_row_comes_after_the_look_of_a_reset_leaves_again() {
    let fleet = rested().await;
    let table = &fleet.table;
    let Some(Row::Table(row)) = table.read(&RowKey::Table).await.unwrap() else { panic!() };
    // As if it had read the table row before the reset began: its own row is all it has.
    let timing = kcl_core::protocol::LeaseTiming::new(D, Duration::ZERO);
    let late = WorkerRow::live(WorkerId::new("late"), timing);
    let begin = TableWrite::BeginReset { seen: row.generation };
    assert!(table.write(&ConditionalWrite::Table(begin)).await.unwrap().is_won());
    let put = ConditionalWrite::Worker(WorkerWrite::Create(late));
    assert!(table.write(&put).await.unwrap().is_won());
    let Some(Row::Table(row)) = table.read(&RowKey::Table).await.unwrap() else { panic!() };
    assert!(row.resetting, "what it reads next tells it to leave");
    let mut fleet = fleet;
    let worker = fleet.start();
    fleet.pass(SETTLED).await;
    assert_eq!(worker.handle.status().phase, WorkerPhase::Starting);
    // The reset is run again, for it was broken off.
    let held = Held::new(&fleet.table, Before::Begin);
    let reset = reset(&mut fleet, &held);
    held.reached.notified().await;
    held.go.notify_one();
    reset.await.unwrap().unwrap();
    fleet.pass(SETTLED).await;
    assert_eq!(worker.shards(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_start_ahead_of_the_streams_own_time_is_refused_by_name() {
    let mut fleet = Fleet::new(1);
    let now = fleet.clock_millis();
    let ahead = fleet.config().initial_position(InitialPosition::AtTimestamp(now + 60_000));
    let note = fleet.note();
    let error = fleet.start_with(ahead, note).end().await.unwrap_err();
    let WorkerError::StartInFuture { at_millis, .. } = &error else { panic!("{error}") };
    assert_eq!(*at_millis, now + 60_000);
    assert!(error.to_string().contains("initial_position"), "{error}");
    let passed = fleet.config().initial_position(InitialPosition::AtTimestamp(now));
    let note = fleet.note();
    let worker = fleet.start_with(passed, note);
    fleet.pass(SETTLED).await;
    assert_eq!(worker.shards(), 1);
}
