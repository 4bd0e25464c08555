//! A row of a worker that nobody can read: told by its key, and the watch over the others goes on.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kcl_core::protocol::{CasOutcome, ConditionalWrite, Row, RowKey, WorkerId};
use kcl_core::{
    EventKind, Handle, LeaseTable, Scan, Scheduler, TableError, WorkerError, async_trait,
};
use kcl_lease_local::MemoryLeaseTable;
use kcl_testkit::history::{What, check_safety};
use tokio::task::JoinHandle;

use crate::fleet::{D, Fleet};

const SETTLED: Duration = Duration::from_secs(10);

/// A table in which somebody has scribbled over one worker's row.
#[derive(Clone)]
struct Scribbled {
    table: MemoryLeaseTable,
    over: Arc<Mutex<Option<WorkerId>>>,
    /// Scans that still saw the row as it was.
    in_time: Arc<AtomicU32>,
}

impl Scribbled {
    fn new(fleet: &Fleet) -> Self {
        Self { table: fleet.table.clone(), over: Arc::default(), in_time: Arc::default() }
    }
    fn scribble(&self, over: Option<WorkerId>) {
        *self.over.lock().unwrap() = over;
    }
    fn check(&self, wanted: Option<&RowKey>) -> Result<(), TableError> {
        let over = self.over.lock().unwrap();
        let Some(key) = over.clone().map(RowKey::Worker) else { return Ok(()) };
        match wanted.is_none_or(|wanted| *wanted == key) {
            true => Err(bad(&key)),
            false => Ok(()),
        }
    }
}

fn bad(key: &RowKey) -> TableError {
    TableError::BadRow { key: key.to_string(), reason: "heartbeat: missing".into() }
}

#[async_trait]
impl LeaseTable for Scribbled {
    async fn prepare(&self) -> Result<String, TableError> {
        self.table.prepare().await
    }
    async fn scan(&self, scope: Scan) -> Result<Vec<Row>, TableError> {
        let spend = |left: u32| left.checked_sub(1);
        let is_in_time = self.in_time.fetch_update(Relaxed, Relaxed, spend).is_ok();
        if scope == Scan::Coordination && !is_in_time {
            self.check(None)?;
        }
        self.table.scan(scope).await
    }
    async fn read(&self, key: &RowKey) -> Result<Option<Row>, TableError> {
        self.check(Some(key))?;
        self.table.read(key).await
    }
    async fn write(&self, write: &ConditionalWrite) -> Result<CasOutcome, TableError> {
        self.table.write(write).await
    }
    async fn write_all(&self, writes: &[ConditionalWrite]) -> Result<CasOutcome, TableError> {
        self.table.write_all(writes).await
    }
}

type Running = (Handle, JoinHandle<Result<(), WorkerError>>);

fn start(fleet: &mut Fleet, table: &Scribbled) -> Running {
    let (config, note) = (fleet.config(), fleet.note());
    let source = Arc::new(fleet.stream.source());
    let scheduler = Scheduler::new(config, Arc::new(table.clone()), source, note).unwrap();
    (scheduler.handle(), tokio::spawn(scheduler.run()))
}

fn id(running: &Running) -> WorkerId {
    running.0.status().worker.unwrap()
}

fn told(fleet: &Fleet, who: &WorkerId) -> Vec<String> {
    let history = fleet.recorder.history().into_iter();
    let told = history.filter_map(|entry| match entry.what {
        What::Event(event) if event.worker == *who => match event.kind {
            EventKind::WorkersUnreadable { error } => Some(error),
            _ => None,
        },
        _ => None,
    });
    told.collect()
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_cannot_read_the_rows_of_the_others_ends_and_names_the_row() {
    let mut fleet = Fleet::new(2);
    let table = Scribbled::new(&fleet);
    let (other, _running) = start(&mut fleet, &table);
    fleet.pass(SETTLED).await;
    let key = RowKey::Worker(other.status().worker.unwrap());
    table.scribble(other.status().worker);
    // As it binds its stream; and once it has registered, as one does that was declared dead.
    for (in_time, has_registered) in [(0, false), (1, true)] {
        table.in_time.store(in_time, Relaxed);
        let (handle, task) = start(&mut fleet, &table);
        let ended = tokio::time::timeout(D * 2, task).await.expect("it waits for ever").unwrap();
        let Err(WorkerError::Table(error)) = ended else { panic!("{ended:?}") };
        assert_eq!(error, bad(&key));
        assert_eq!(handle.status().workers_unreadable.is_some(), has_registered);
    }
    assert_eq!(other.status().shards.len(), 2, "who runs keeps what it holds");
}

#[tokio::test(start_paused = true)]
async fn the_death_of_others_is_seen_as_soon_beside_a_row_that_nobody_can_read() {
    // The last look that saw the row may be up to a heartbeat old.
    for offset in 0..8 {
        let mut fleet = Fleet::new(6);
        let table = Scribbled::new(&fleet);
        let [_one, victim, third] = [(); 3].map(|()| start(&mut fleet, &table));
        fleet.pass(SETTLED + D / 24 * offset).await;
        table.scribble(Some(id(&third)));
        // Each beats once more.
        fleet.pass(D * 2 / 5).await;
        let dead = id(&victim);
        victim.1.abort();
        // A look may come a heartbeat later than the last beat; then `D`, and the takes.
        fleet.pass(D + D / 3 + D / 6).await;
        let leases = fleet.leases().await.into_iter();
        let left = leases.filter(|lease| lease.owner.as_ref() == Some(&dead)).count();
        assert_eq!(left, 0, "after {offset}: nobody took them");
        assert_eq!(check_safety(&fleet.recorder.history()), []);
    }
}

#[tokio::test(start_paused = true)]
async fn a_row_that_nobody_can_read_is_told_once_until_it_is_mended() {
    let mut fleet = Fleet::new(6);
    let table = Scribbled::new(&fleet);
    let [one, victim, third] = [(); 3].map(|()| start(&mut fleet, &table));
    fleet.pass(SETTLED).await;
    let key = RowKey::Worker(id(&third));
    table.scribble(Some(id(&third)));
    fleet.pass(SETTLED).await;
    for running in [&one, &third] {
        assert_eq!(told(&fleet, &id(running)), [bad(&key).to_string()]);
        assert_eq!(running.0.status().workers_unreadable, Some(bad(&key)));
    }
    victim.1.abort();
    fleet.pass(D * 2).await;
    let shards = |running: &Running| running.0.status().shards.len();
    assert_eq!(shards(&one) + shards(&third), 6);
    table.scribble(None);
    fleet.pass(SETTLED).await;
    assert_eq!(one.0.status().workers_unreadable, None);
    let fourth = start(&mut fleet, &table);
    fleet.pass(SETTLED).await;
    assert_eq!([&one, &third, &fourth].map(shards), [2, 2, 2]);
    assert_eq!(fleet.amiss().await, []);
    assert_eq!(check_safety(&fleet.recorder.history()), []);
}
