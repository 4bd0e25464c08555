//! The scripted surroundings of a consumer.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use kcl_protocol::{
    CasOutcome, Checkpoint, ConditionalWrite, Fence, HashKeyRange, Lease, LeaseChange, LeaseKey,
    LeaseWrite, Moment, Position, Row, RowKey, Rules, SequenceNumber, ShardId, StreamName,
    WorkerId,
};
use tokio::sync::{Notify, mpsc, watch};

use crate::consumer::{
    Assignment, Budget, ConsumerCommand, ConsumerConfig, ConsumerContext, ConsumerStatus, Exit,
    consumer,
};
use crate::event::{Event, EventKind};
use crate::permit::{Permit, Validity};
use crate::policy::{ErrorPolicy, RetryThenStop};
use crate::*;

pub fn p(number: u128) -> Position {
    SequenceNumber::from_parts(0, number).into()
}

pub fn ps(number: u128, subsequence: u64) -> Position {
    Position { subsequence, ..p(number) }
}

pub fn at(number: u128) -> Checkpoint {
    Checkpoint::At(p(number))
}

pub fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub fn record(number: u128) -> Record {
    Record {
        position: p(number),
        partition_key: "k".into(),
        data: Bytes::from_static(b"data"),
        arrival_millis: 0,
        unreadable: None,
    }
}

/// A shard whose records are pushed by the test.
#[derive(Default)]
pub struct Shelf {
    state: Mutex<ShelfState>,
    changed: Notify,
}

#[derive(Default)]
struct ShelfState {
    records: Vec<Record>,
    children: Option<Vec<ChildShard>>,
    errors: VecDeque<SourceError>,
    opened: Vec<ReadFrom>,
}

impl Shelf {
    fn state(&self) -> MutexGuard<'_, ShelfState> {
        self.state.lock().unwrap()
    }
    pub fn put(&self, numbers: impl IntoIterator<Item = u128>) {
        self.state().records.extend(numbers.into_iter().map(record));
        self.changed.notify_waiters();
    }
    /// Makes a record that is there one that cannot be opened, or one that can.
    pub fn mark(&self, number: u128, reason: Option<&str>) {
        let mut state = self.state();
        let marked = state.records.iter_mut().find(|record| record.position == p(number));
        let reason = reason.map(|reason| Arc::new(Unreadable { reason: reason.into() }));
        marked.unwrap().unreadable = reason;
    }
    /// Sub-records of one aggregate, by their subsequence numbers.
    pub fn put_subs(&self, number: u128, subs: impl IntoIterator<Item = u64>) {
        let of = |sub| Record { position: ps(number, sub), ..record(number) };
        self.state().records.extend(subs.into_iter().map(of));
        self.changed.notify_waiters();
    }
    pub fn end(&self, children: Vec<ChildShard>) {
        self.state().children = Some(children);
        self.changed.notify_waiters();
    }
    pub fn fail(&self, error: SourceError) {
        self.state().errors.push_back(error);
        self.changed.notify_waiters();
    }
    /// Errors that wait to be met.
    pub fn faults(&self) -> usize {
        self.state().errors.len()
    }
    pub fn opened(&self) -> Vec<ReadFrom> {
        self.state().opened.clone()
    }
}

pub struct ShelfSource(pub Arc<Shelf>);

#[async_trait]
impl StreamSource for ShelfSource {
    async fn describe(&self) -> Result<StreamDescription, SourceError> {
        Err(SourceError::Refused("not used".into()))
    }
    async fn list_shards(&self) -> Result<Vec<Shard>, SourceError> {
        Err(SourceError::Refused("not used".into()))
    }
    async fn open(&self, _: &ShardId, from: ReadFrom) -> Result<Box<dyn ShardReader>, SourceError> {
        let mut state = self.0.state();
        state.opened.push(from);
        let next = match from {
            ReadFrom::After(after) => state.records.partition_point(|r| r.position <= after),
            _ => 0,
        };
        drop(state);
        Ok(Box::new(ShelfReader { shelf: Arc::clone(&self.0), next, at_tip: false }))
    }
}

struct ShelfReader {
    shelf: Arc<Shelf>,
    next: usize,
    at_tip: bool,
}

#[async_trait]
impl ShardReader for ShelfReader {
    async fn next(&mut self, limit: ReadLimit) -> Result<ReadOutcome, SourceError> {
        loop {
            let changed = self.shelf.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let mut state = self.shelf.state();
                if let Some(error) = state.errors.pop_front() {
                    return Err(error);
                }
                let records: Vec<_> =
                    state.records[self.next..].iter().take(limit.records).cloned().collect();
                if !records.is_empty() {
                    self.next += records.len();
                    self.at_tip = false;
                    return Ok(ReadOutcome::Records { records, behind_millis: 0 });
                }
                if let Some(children) = &state.children {
                    return Ok(ReadOutcome::ShardEnd { children: children.clone() });
                }
            }
            if !self.at_tip {
                self.at_tip = true;
                return Ok(ReadOutcome::CaughtUp);
            }
            changed.await;
        }
    }
}

/// A lease table of one shelf of rows that answers as scripted.
#[derive(Default)]
pub struct Table {
    rows: Mutex<BTreeMap<RowKey, Row>>,
    faults: Mutex<VecDeque<Fault>>,
    pub writes: Mutex<Vec<ConditionalWrite>>,
    pub effects: Mutex<Vec<u32>>,
}

#[derive(Clone, Debug)]
pub enum Fault {
    /// The write applies, its reply is lost.
    ReplyLost,
    /// The write does not apply.
    Error(TableError),
}

impl Table {
    pub fn lease(&self) -> Lease {
        let rows = self.rows.lock().unwrap();
        rows.get(&RowKey::Lease(key())).cloned().and_then(Row::into_lease).unwrap()
    }
    pub fn put(&self, lease: Lease) {
        self.rows.lock().unwrap().insert(RowKey::Lease(key()), Row::Lease(lease));
    }
    pub fn fail(&self, fault: Fault) {
        self.faults.lock().unwrap().push_back(fault);
    }
    /// Faults that wait to be met.
    pub fn faults(&self) -> usize {
        self.faults.lock().unwrap().len()
    }
    pub fn checkpoints(&self) -> Vec<Checkpoint> {
        let writes = self.writes.lock().unwrap();
        let changes = writes.iter().flat_map(|write| match write {
            ConditionalWrite::Lease(LeaseWrite::Update { change, .. }) => change.clone(),
            _ => Vec::new(),
        });
        changes
            .filter_map(|change| match change {
                LeaseChange::Checkpoint(checkpoint) => Some(checkpoint),
                _ => None,
            })
            .collect()
    }

    fn apply(
        &self,
        write: &ConditionalWrite,
        effect: Option<u32>,
    ) -> Result<CasOutcome, TableError> {
        self.writes.lock().unwrap().push(write.clone());
        let fault = self.faults.lock().unwrap().pop_front();
        if let Some(Fault::Error(error)) = fault {
            return Err(error);
        }
        let mut rows = self.rows.lock().unwrap();
        let outcome = match write.apply(rows.get(&write.key())) {
            Ok(row) => {
                if let Some(row) = &row {
                    rows.insert(write.key(), row.clone());
                }
                self.effects.lock().unwrap().extend(effect);
                CasOutcome::Won(row)
            }
            Err(_) => CasOutcome::Lost(rows.get(&write.key()).cloned()),
        };
        match fault {
            Some(Fault::ReplyLost) => Err(TableError::Unknown("scripted".into())),
            _ => Ok(outcome),
        }
    }
}

#[async_trait]
impl LeaseTable for Table {
    async fn prepare(&self) -> Result<String, TableError> {
        Ok("table".into())
    }
    async fn scan(&self, _: Scan) -> Result<Vec<Row>, TableError> {
        Ok(self.rows.lock().unwrap().values().cloned().collect())
    }
    async fn read(&self, key: &RowKey) -> Result<Option<Row>, TableError> {
        Ok(self.rows.lock().unwrap().get(key).cloned())
    }
    async fn write(&self, write: &ConditionalWrite) -> Result<CasOutcome, TableError> {
        self.apply(write, None)
    }
    async fn write_all(&self, _: &[ConditionalWrite]) -> Result<CasOutcome, TableError> {
        Err(TableError::Refused("not used".into()))
    }
    fn supports_effects(&self) -> bool {
        true
    }
    async fn write_with(
        &self,
        write: &ConditionalWrite,
        effects: &Effects,
    ) -> Result<CasOutcome, TableError> {
        self.apply(write, effects.downcast::<u32>().copied())
    }
}

pub fn key() -> LeaseKey {
    LeaseKey::new("shardId-000000000000")
}

pub fn child(id: &str) -> ChildShard {
    ChildShard {
        id: ShardId::new(id),
        parents: BTreeSet::from([ShardId::new(key().as_str())]),
        range: HashKeyRange::FULL,
    }
}

/// What a scripted processor does with each call.
pub type Script = dyn Fn(Called) -> BoxFuture<'static, Result<(), ProcessorError>> + Send + Sync;
pub use futures_util::future::BoxFuture;

/// A call as a processor sees it.
#[derive(Clone, Debug)]
pub enum Called {
    Initialize(ShardStart),
    Records(Vec<u128>, u32, Checkpointer),
    Ended,
    Shutdown(Checkpointer),
    LeaseLost,
}

pub struct Scripted {
    log: Log,
    script: Arc<Script>,
}

pub type Log = Arc<Mutex<Vec<String>>>;

impl Scripted {
    async fn called(&self, called: Called) -> Result<(), ProcessorError> {
        self.log.lock().unwrap().push(match &called {
            Called::Initialize(start) => format!("initialize {}", start.checkpoint),
            Called::Records(numbers, _, _) => format!("records {numbers:?}"),
            Called::Ended => "ended".into(),
            Called::Shutdown(_) => "shutdown".into(),
            Called::LeaseLost => "lost".into(),
        });
        (self.script)(called).await
    }
}

#[async_trait]
impl RecordProcessor for Scripted {
    async fn initialize(&mut self, start: &ShardStart) -> Result<(), ProcessorError> {
        self.called(Called::Initialize(start.clone())).await
    }
    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        checkpointer: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        let numbers = batch.records.iter().map(|r| r.position.sequence.parts().1).collect();
        self.called(Called::Records(numbers, batch.attempt, checkpointer.clone())).await
    }
    async fn shard_ended(&mut self, _: &ShardEnd) -> Result<(), ProcessorError> {
        self.called(Called::Ended).await
    }
    async fn shutdown_requested(&mut self, checkpointer: &Checkpointer) {
        let _ = self.called(Called::Shutdown(checkpointer.clone())).await;
    }
    async fn lease_lost(&mut self) {
        let _ = self.called(Called::LeaseLost).await;
    }
}

/// Everything a test sets before it starts a consumer.
pub struct World {
    pub config: ConsumerConfig,
    pub budget: Arc<Budget>,
    pub policy: Arc<dyn ErrorPolicy>,
    pub dead_letters: Option<Arc<dyn DeadLetterSink>>,
    pub lease: Lease,
    pub table: Arc<Table>,
    pub shelf: Arc<Shelf>,
    pub clock: Arc<dyn Clock>,
    pub validity: Arc<Validity>,
    pub permit: Permit,
    pub log: Log,
    pub events: Arc<Mutex<Vec<Event>>>,
}

/// A running consumer.
pub struct Running {
    pub commands: mpsc::Sender<ConsumerCommand>,
    pub status: watch::Receiver<ConsumerStatus>,
    pub task: tokio::task::JoinHandle<Exit>,
}

impl Running {
    pub async fn tell(&self, command: ConsumerCommand) {
        self.commands.send(command).await.unwrap();
    }
}

impl World {
    pub fn new() -> Self {
        let clock: Arc<dyn Clock> = Arc::new(TokioClock::starting_at(0));
        let validity = Validity::new(Arc::clone(&clock));
        validity.set(Moment(secs(1_000_000)));
        let mut lease = Lease::unowned(key(), Checkpoint::TrimHorizon, HashKeyRange::FULL);
        (lease.owner, lease.fence) = (Some(WorkerId::new("w")), Fence(7));
        let table = Arc::new(Table::default());
        table.put(lease.clone());
        Self {
            config: ConsumerConfig::default(),
            budget: Budget::new(ReadLimit { records: 1_000_000, bytes: 256 << 20 }),
            policy: Arc::new(RetryThenStop::default()),
            dead_letters: None,
            permit: Permit::new(key(), Fence(7), Arc::clone(&validity)),
            lease,
            table,
            shelf: Arc::default(),
            clock,
            validity,
            log: Log::default(),
            events: Arc::default(),
        }
    }

    pub fn start<F, R>(&self, script: F) -> Running
    where
        F: Fn(Called) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), ProcessorError>> + Send + 'static,
    {
        let script: Arc<Script> = Arc::new(move |called| Box::pin(script(called)));
        let (log, events) = (Arc::clone(&self.log), Arc::clone(&self.events));
        let factory =
            move |_: &ShardStart| Scripted { log: Arc::clone(&log), script: Arc::clone(&script) };
        let ctx = ConsumerContext {
            rules: Rules::ALL,
            table: Arc::clone(&self.table) as Arc<dyn LeaseTable>,
            clock: Arc::clone(&self.clock),
            factory: Arc::new(factory),
            policy: Arc::clone(&self.policy),
            dead_letters: self.dead_letters.clone(),
            config: self.config.clone(),
            budget: Arc::clone(&self.budget),
            observer: Arc::new(move |event: &Event| events.lock().unwrap().push(event.clone())),
            worker: WorkerId::new("w"),
        };
        let assignment = Assignment {
            lease: self.lease.clone(),
            stream: StreamName::new("s"),
            source: Arc::new(ShelfSource(Arc::clone(&self.shelf))),
            permit: self.permit.clone(),
        };
        let (commands, inbox) = mpsc::channel(8);
        let starting = ConsumerStatus::starting(&self.lease, self.clock.monotonic());
        let (show, status) = watch::channel(starting);
        let task = tokio::spawn(consumer(Arc::new(ctx), assignment, inbox, show));
        Running { commands, status, task }
    }

    pub fn calls(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    pub fn has_event(&self, wanted: impl Fn(&EventKind) -> bool) -> bool {
        self.events.lock().unwrap().iter().any(|event| wanted(&event.kind))
    }

    /// Lets everything that can go on go on, without any time passing.
    pub async fn settle(&self) {
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
    }

    /// Ends validity now.
    pub fn expire(&self) {
        self.validity.set(Moment::default());
    }

    /// Brings validity back.
    pub fn grant(&self) {
        self.validity.set(Moment(secs(1_000_000)));
    }
}

pub async fn ok(_: Called) -> Result<(), ProcessorError> {
    Ok(())
}
