//! A table in which a worker's row does not decode, and a fleet on it.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use kcl_core::protocol::{
    CasOutcome, ConditionalWrite, InboxEntry, Row, RowKey, WorkerChange, WorkerId, WorkerWrite,
};
use kcl_core::{
    Config, EventKind, Handle, LeaseTable, Scan, Scheduler, TableError, WorkerError, async_trait,
};
use kcl_lease_local::MemoryLeaseTable;
use kcl_testkit::history::What;
use tokio::task::JoinHandle;

use crate::fleet::Fleet;

/// A table in which somebody has scribbled over one worker's row.
#[derive(Clone)]
pub struct Scribbled {
    table: MemoryLeaseTable,
    pub over: Arc<Mutex<Option<WorkerId>>>,
    /// Replies have the row in them, as on DynamoDB: of a write that applies nobody knows.
    pub replies_with_rows: Arc<AtomicBool>,
    /// The row that the next ask goes into is scribbled over with it.
    pub at_ask: Arc<AtomicBool>,
    /// Nobody may read workers' rows now, as while permissions change.
    pub refused: Arc<AtomicBool>,
    /// Scans that still saw the row as it was.
    pub in_time: Arc<AtomicU32>,
}

impl Scribbled {
    pub fn new(fleet: &Fleet) -> Self {
        Self {
            table: fleet.table.clone(),
            over: Arc::default(),
            replies_with_rows: Arc::default(),
            at_ask: Arc::default(),
            refused: Arc::default(),
            in_time: Arc::default(),
        }
    }
    pub fn scribble(&self, over: Option<WorkerId>) {
        *self.over.lock().unwrap() = over;
    }
    fn check(&self, wanted: Option<&RowKey>) -> Result<(), TableError> {
        let is_of_workers = matches!(wanted, None | Some(RowKey::Worker(_)));
        if is_of_workers && self.refused.load(Relaxed) {
            return Err(TableError::Refused("no permission".into()));
        }
        let over = self.over.lock().unwrap();
        let Some(key) = over.clone().map(RowKey::Worker) else { return Ok(()) };
        match wanted.is_none_or(|wanted| *wanted == key) {
            true => Err(bad(&key)),
            false => Ok(()),
        }
    }
}

pub fn bad(key: &RowKey) -> TableError {
    TableError::BadRow { key: key.to_string(), reason: "heartbeat: missing".into() }
}

/// Whom a write asks for leases.
fn asked(write: &ConditionalWrite) -> Option<WorkerId> {
    let ConditionalWrite::Worker(WorkerWrite::Update { id, change, .. }) = write else {
        return None;
    };
    let is_ask =
        |change: &WorkerChange| matches!(change, WorkerChange::InboxPut(_, InboxEntry::Ask { .. }));
    change.iter().any(is_ask).then(|| id.clone())
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
        let outcome = self.table.write(write).await?;
        let key = write.key();
        if let Some(asked) = asked(write)
            && self.at_ask.swap(false, Relaxed)
        {
            self.scribble(Some(asked));
        }
        if !self.replies_with_rows.load(Relaxed) || self.check(Some(&key)).is_ok() {
            return Ok(outcome);
        }
        match outcome.is_won() {
            true => Err(TableError::Unknown(bad(&key).to_string())),
            false => Err(bad(&key)),
        }
    }
    async fn write_all(&self, writes: &[ConditionalWrite]) -> Result<CasOutcome, TableError> {
        self.table.write_all(writes).await
    }
}

pub type Running = (Handle, JoinHandle<Result<(), WorkerError>>);

pub fn start(fleet: &mut Fleet, table: &Scribbled) -> Running {
    let config = fleet.config();
    start_with(fleet, table, config)
}

pub fn start_with(fleet: &Fleet, table: &Scribbled, config: Config) -> Running {
    let note = fleet.note();
    let source = Arc::new(fleet.stream.source());
    let scheduler = Scheduler::new(config, Arc::new(table.clone()), source, note).unwrap();
    (scheduler.handle(), tokio::spawn(scheduler.run()))
}

pub fn id(running: &Running) -> WorkerId {
    running.0.status().worker.unwrap()
}

pub fn shards(running: &Running) -> usize {
    running.0.status().shards.len()
}

pub fn events(fleet: &Fleet) -> impl Iterator<Item = (WorkerId, EventKind)> {
    fleet.recorder.history().into_iter().filter_map(|entry| match entry.what {
        What::Event(event) => Some((event.worker, event.kind)),
        _ => None,
    })
}

pub fn told(fleet: &Fleet, who: &WorkerId) -> Vec<String> {
    let told =
        events(fleet).filter(|(worker, _)| worker == who).filter_map(|(_, kind)| match kind {
            EventKind::WorkersUnreadable { error } => Some(error),
            _ => None,
        });
    told.collect()
}
