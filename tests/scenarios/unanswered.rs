//! Requests whose answers are lost while the table itself works.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use kcl_core::protocol::{CasOutcome, ConditionalWrite, Row, RowKey, WorkerState, WorkerWrite};
use kcl_core::{EventKind, LeaseTable, Scan, Scheduler, TableError, async_trait};
use kcl_lease_local::MemoryLeaseTable;
use kcl_testkit::history::What;

use crate::fleet::{D, Fleet, shard};

const SETTLED: Duration = Duration::from_secs(10);

/// A table of which some requests come to nothing, and nobody is told so.
struct Lossy {
    table: MemoryLeaseTable,
    /// No write to a lease arrives.
    loses_leases: AtomicBool,
    /// How many did not.
    lost: AtomicU32,
    /// Reads of the table's own row that still fail once a worker has registered.
    unread: AtomicU32,
    registered: AtomicBool,
}

impl Lossy {
    fn new(fleet: &Fleet, unread: u32) -> Arc<Self> {
        Arc::new(Self {
            table: fleet.table.clone(),
            loses_leases: AtomicBool::new(false),
            lost: AtomicU32::new(0),
            unread: AtomicU32::new(unread),
            registered: AtomicBool::new(false),
        })
    }
}

#[async_trait]
impl LeaseTable for Lossy {
    async fn prepare(&self) -> Result<String, TableError> {
        self.table.prepare().await
    }
    async fn scan(&self, scope: Scan) -> Result<Vec<Row>, TableError> {
        self.table.scan(scope).await
    }
    async fn read(&self, key: &RowKey) -> Result<Option<Row>, TableError> {
        if *key == RowKey::Table && self.registered.load(Ordering::Relaxed) {
            let unread = self.unread.load(Ordering::Relaxed);
            if unread > 0 {
                self.unread.store(unread - 1, Ordering::Relaxed);
                return Err(TableError::Throttled);
            }
        }
        self.table.read(key).await
    }
    async fn write(&self, write: &ConditionalWrite) -> Result<CasOutcome, TableError> {
        if matches!(write, ConditionalWrite::Worker(WorkerWrite::Create(_))) {
            self.registered.store(true, Ordering::Relaxed);
        }
        if matches!(write, ConditionalWrite::Lease(_)) && self.loses_leases.load(Ordering::Relaxed)
        {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return Err(TableError::Unknown("cut off".to_owned()));
        }
        self.table.write(write).await
    }
    async fn write_all(&self, writes: &[ConditionalWrite]) -> Result<CasOutcome, TableError> {
        self.table.write_all(writes).await
    }
}

fn start(fleet: &mut Fleet, table: &Arc<Lossy>) -> (kcl_core::Handle, tokio::task::AbortHandle) {
    let (config, note) = (fleet.config(), fleet.note());
    let (table, source) = (Arc::clone(table), Arc::new(fleet.stream.source()));
    let scheduler = Scheduler::new(config, table, source, note).unwrap();
    (scheduler.handle(), tokio::spawn(scheduler.run()).abort_handle())
}

#[tokio::test(start_paused = true)]
async fn ownership_writes_that_stay_unknown_are_repeated_at_a_pace_and_hold_up_nothing_else() {
    let mut fleet = Fleet::new(2);
    let table = Lossy::new(&fleet, 0);
    let (handle, _task) = start(&mut fleet, &table);
    fleet.pass(SETTLED).await;
    table.loses_leases.store(true, Ordering::Relaxed);
    handle.drain(&shard(0)).await.unwrap();
    fleet.pass(SETTLED).await;
    let lost = table.lost.load(Ordering::Relaxed);
    assert!((3..50).contains(&lost), "{lost} writes in 10 s");
    // It beats on, and once its writes arrive it has everything again.
    table.loses_leases.store(false, Ordering::Relaxed);
    let (one, other) = (handle.status().worker, fleet.workers().await);
    assert!(other.iter().any(|row| Some(&row.id) == one.as_ref() && !row.state.is_dead()));
    fleet.pass(SETTLED).await;
    fleet.put(20);
    fleet.pass(SETTLED).await;
    assert_eq!(fleet.amiss().await, []);
}

#[tokio::test(start_paused = true)]
async fn a_registration_that_cannot_go_on_leaves_no_living_row_behind() {
    let mut fleet = Fleet::new(2);
    let table = Lossy::new(&fleet, 1);
    let (handle, _task) = start(&mut fleet, &table);
    fleet.pass(Duration::from_secs(3)).await;
    assert_eq!(handle.status().shards.len(), 2);
    let rows = fleet.workers().await;
    let live: Vec<_> = rows.iter().filter(|row| row.state == WorkerState::Live).collect();
    assert_eq!((rows.len(), live.len()), (2, 1), "{rows:?}");
}

#[tokio::test(start_paused = true)]
async fn heartbeats_that_fail_are_told_once_each_time_they_begin_to() {
    let mut fleet = Fleet::new(2);
    let worker = fleet.start();
    for _ in 0..2 {
        fleet.pass(SETTLED).await;
        worker.cable.pull();
        fleet.pass(D * 2).await;
        worker.cable.plug();
    }
    fleet.pass(SETTLED).await;
    let told = fleet.recorder.history().into_iter().filter_map(|entry| match entry.what {
        What::Event(event) => match event.kind {
            EventKind::HeartbeatsFail { error } => Some(error),
            _ => None,
        },
        _ => None,
    });
    let told: Vec<_> = told.collect();
    assert_eq!(told, ["the lease table is unavailable: the cable is pulled"; 2]);
}
