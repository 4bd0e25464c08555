//! A fleet on a paused clock, small enough to read a test's story from it.

use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kcl_core::protocol::{
    CasOutcome, ConditionalWrite, Fence, Lease, LeaseKey, Moment, Position, Row, RowKey, ShardId,
    WorkerId, WorkerRow,
};
use kcl_core::{
    Checkpointer, Clock, Config, Handle, LeaseTable, Placement, ProcessorError, ProcessorFactory,
    Record, RecordBatch, RecordProcessor, Scan, Scheduler, ShardStart, StreamSource, TableError,
    TokioClock, WorkerError, async_trait,
};
use kcl_lease_local::MemoryLeaseTable;
use kcl_stream_local::{Engine, NewRecord, Stream, StreamOptions};
use kcl_testkit::history::{
    Recorder, Violation, every_backlog_is_done, every_open_shard_is_held_evenly,
    leases_tile_the_hash_space, nothing_parks,
};
use tokio::task::JoinHandle;

/// The lease duration of every worker here.
pub const D: Duration = Duration::from_secs(3);

pub struct Fleet {
    pub clock: Arc<TokioClock>,
    pub engine: Engine,
    pub stream: Stream,
    pub table: MemoryLeaseTable,
    pub recorder: Recorder,
    started: u32,
}

/// A running worker, and the cable between it and the table.
pub struct Worker {
    pub handle: Handle,
    pub cable: Cable,
    task: JoinHandle<Result<(), WorkerError>>,
}

/// A connection to the table that can be pulled. What goes over it into rows of leases is noted.
#[derive(Clone)]
pub struct Cable {
    table: MemoryLeaseTable,
    recorder: Recorder,
    pulled: Arc<AtomicBool>,
    /// Calls of `prepare` and `scan` since it became loose.
    loose: Arc<Mutex<Option<[u32; 2]>>>,
}

impl Cable {
    pub fn new(table: &MemoryLeaseTable, recorder: &Recorder) -> Self {
        let (table, recorder) = (table.clone(), recorder.clone());
        Self { table, recorder, pulled: Arc::default(), loose: Arc::default() }
    }
    pub fn pull(&self) {
        self.pulled.store(true, Ordering::Relaxed);
    }
    pub fn plug(&self) {
        self.pulled.store(false, Ordering::Relaxed);
    }
    /// From now on one `prepare` in four works, and every second `scan`.
    pub fn loosen(&self) {
        *self.loose.lock().unwrap() = Some([0; 2]);
    }
    fn check_loose(&self, call: usize, works_every: u32) -> Result<(), TableError> {
        let mut loose = self.loose.lock().unwrap();
        let Some(calls) = loose.as_mut() else { return Ok(()) };
        calls[call] += 1;
        match calls[call].is_multiple_of(works_every) {
            true => Ok(()),
            false => Err(TableError::Throttled),
        }
    }
    fn check(&self) -> Result<(), TableError> {
        match self.pulled.load(Ordering::Relaxed) {
            true => Err(TableError::Unavailable("the cable is pulled".into())),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl LeaseTable for Cable {
    async fn prepare(&self) -> Result<String, TableError> {
        self.check()?;
        self.check_loose(0, 4)?;
        self.table.prepare().await
    }
    async fn scan(&self, scope: Scan) -> Result<Vec<Row>, TableError> {
        self.check()?;
        self.check_loose(1, 2)?;
        self.table.scan(scope).await
    }
    async fn read(&self, key: &RowKey) -> Result<Option<Row>, TableError> {
        self.check()?;
        self.table.read(key).await
    }
    async fn write(&self, write: &ConditionalWrite) -> Result<CasOutcome, TableError> {
        self.check()?;
        let writes = std::slice::from_ref(write);
        self.recorder.rows_written(&self.table, writes, self.table.write(write)).await
    }
    async fn write_all(&self, writes: &[ConditionalWrite]) -> Result<CasOutcome, TableError> {
        self.check()?;
        self.recorder.rows_written(&self.table, writes, self.table.write_all(writes)).await
    }
}

/// Makes processors that note what the checkers go by.
#[derive(Clone)]
pub struct Notes {
    recorder: Recorder,
    clock: Arc<TokioClock>,
}

impl Notes {
    /// One for this shard; what it was told as it was made is noted.
    pub fn of(&self, start: &ShardStart) -> Note {
        self.under(LeaseKey::new(start.shard.as_str()), start)
    }
    /// The same where leases have other keys.
    pub fn under(&self, lease: LeaseKey, start: &ShardStart) -> Note {
        self.recorder.found(&lease, start);
        Note { notes: self.clone(), lease, fence: start.fence }
    }
}

/// Notes what it is given, that it is polled in the middle of a batch, and that it is done.
pub struct Note {
    notes: Notes,
    pub lease: LeaseKey,
    pub fence: Fence,
}

impl Note {
    pub fn given(&self, records: &[Record]) {
        self.notes.recorder.given(&self.lease, records);
    }
    pub fn acked(&self, records: &[Record]) {
        let positions = records.iter().map(|record| record.position).collect();
        self.notes.recorder.acked(&self.lease, self.fence, positions);
    }
    pub fn preparing(&self, position: Position) {
        self.notes.recorder.preparing(&self.lease, position);
    }
    /// Notes that it is polled now: a call notes it once it has waited for something.
    pub fn polled(&self, with: &Checkpointer) {
        self.notes.recorder.polled(&self.lease, with, &*self.notes.clock);
    }
    /// Works for so long, in so many polls.
    pub async fn work(&self, each: Duration, polls: u32, with: &Checkpointer) {
        for _ in 0..polls {
            self.notes.clock.sleep(each).await;
            self.polled(with);
        }
    }
}

#[async_trait]
impl RecordProcessor for Note {
    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        checkpointer: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        self.given(&batch.records);
        tokio::task::yield_now().await;
        self.polled(checkpointer);
        self.acked(&batch.records);
        Ok(())
    }
}

impl Fleet {
    pub fn new(shards: u32) -> Self {
        let clock = Arc::new(TokioClock::starting_at(1_700_000_000_000));
        let engine = Engine::new(clock.clone());
        let stream = engine.create_stream("s", shards, StreamOptions::unlimited()).unwrap();
        let recorder = Recorder::new(clock.clone());
        let table = MemoryLeaseTable::new();
        Self { clock, engine, stream, table, recorder, started: 0 }
    }

    pub fn config(&mut self) -> Config {
        self.started += 1;
        Config::new("app")
            .worker_name(format!("w{}", self.started))
            .lease_duration(D)
            .placement(Placement::Inline)
            .seed(seed_of_test().wrapping_add(u64::from(self.started)))
            .observer(Arc::new(self.recorder.clone()))
            .clock(self.clock.clone())
    }

    pub fn notes(&self) -> Notes {
        Notes { recorder: self.recorder.clone(), clock: Arc::clone(&self.clock) }
    }
    pub fn note(&self) -> impl ProcessorFactory {
        let notes = self.notes();
        move |start: &ShardStart| notes.of(start)
    }

    pub fn start(&mut self) -> Worker {
        let (config, note) = (self.config(), self.note());
        self.start_with(config, note)
    }

    pub fn start_with(&self, config: Config, factory: impl ProcessorFactory) -> Worker {
        self.start_on(config, Arc::new(self.stream.source()), factory)
    }

    pub fn start_on(
        &self,
        config: Config,
        source: Arc<dyn StreamSource>,
        factory: impl ProcessorFactory,
    ) -> Worker {
        let cable = self.cable();
        let scheduler = Scheduler::new(config, Arc::new(cable.clone()), source, factory).unwrap();
        let handle = scheduler.handle();
        Worker { handle, cable, task: tokio::spawn(scheduler.run()) }
    }

    pub fn cable(&self) -> Cable {
        Cable::new(&self.table, &self.recorder)
    }

    pub fn put(&self, count: u32) {
        for number in 0..count {
            let receipt = self.stream.put(NewRecord::new(format!("k{number}"), "data")).unwrap();
            self.recorder.put(&receipt.shard.id(), [Position::from(receipt.sequence)]);
        }
    }

    pub async fn pass(&self, duration: Duration) {
        self.clock.sleep(duration).await;
    }
    pub fn clock_millis(&self) -> u64 {
        self.clock.wall_millis()
    }
    pub fn now(&self) -> Moment {
        self.clock.monotonic()
    }

    pub async fn leases(&self) -> Vec<Lease> {
        let rows = self.table.scan(Scan::Leases).await.unwrap();
        rows.into_iter().filter_map(Row::into_lease).collect()
    }
    pub async fn lease(&self, shard: &str) -> Lease {
        let leases = self.leases().await;
        leases.into_iter().find(|lease| lease.key.as_str() == shard).unwrap()
    }
    pub async fn workers(&self) -> Vec<WorkerRow> {
        let rows = self.table.scan(Scan::Coordination).await.unwrap();
        rows.into_iter().filter_map(Row::into_worker).collect()
    }
    /// What P1, P6 and P8 ask of a fleet that has come to rest.
    pub async fn amiss(&self) -> Vec<Violation> {
        let (at, workers) = (self.now(), self.workers().await);
        let leases = self.leases().await.into_iter().map(|lease| (lease.key.clone(), lease));
        let leases = leases.collect();
        let shards = self.stream.source().list_shards().await.unwrap();
        let mut amiss = every_open_shard_is_held_evenly(at, &workers, &leases, &shards);
        amiss.extend(leases_tile_the_hash_space(at, &leases, &shards));
        let history = self.recorder.history();
        amiss.extend(every_backlog_is_done(at, &leases, &history));
        amiss.extend(nothing_parks(at, at, &history, &leases));
        amiss
    }
    /// Notes of which parents each shard was made: for the checkers, after every reshard.
    pub async fn note_shards(&self) {
        for shard in self.stream.source().list_shards().await.unwrap() {
            self.recorder.shard_made(&shard.id, shard.parents);
        }
    }
    pub async fn open_shards(&self) -> Vec<ShardId> {
        let shards = self.stream.source().list_shards().await.unwrap();
        shards.into_iter().filter(|shard| shard.is_open).map(|shard| shard.id).collect()
    }
}

impl Worker {
    pub fn id(&self) -> Option<WorkerId> {
        self.handle.status().worker
    }
    pub fn shards(&self) -> usize {
        self.handle.status().shards.len()
    }
    /// Kills it without a word.
    pub fn kill(self) {
        self.task.abort();
    }
    pub async fn end(self) -> Result<(), WorkerError> {
        self.task.await.unwrap()
    }
}

/// Tests run side by side in one process. Fleets with the same seeds would have the same worker
/// ids, and take each other's hints for theirs.
fn seed_of_test() -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    std::thread::current().name().hash(&mut hasher);
    hasher.finish()
}

/// Shard ids as the engine gives them.
pub fn shard(number: u32) -> ShardId {
    ShardId::from(format!("shardId-{number:012}"))
}
