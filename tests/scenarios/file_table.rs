//! Two schedulers of one process on a lease table in a file, by the machine's own clock: writes to
//! a file take real time.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use kcl_core::protocol::{Fence, Position, ShardId};
use kcl_core::{
    Checkpointer, Config, Handle, ProcessorError, RecordBatch, RecordProcessor, Scheduler,
    ShardStart, SystemClock, WorkerError,
};
use kcl_lease_local::FileLeaseTable;
use kcl_stream_local::{Engine, NewRecord, Stream, StreamOptions};
use tokio::task::JoinHandle;

const SHARDS: u32 = 4;
const RECORDS: usize = 40;

/// What was delivered, in order, of each shard.
type Given = Arc<Mutex<BTreeMap<ShardId, Vec<(Fence, Position)>>>>;

struct Note {
    start: ShardStart,
    given: Given,
}

#[async_trait]
impl RecordProcessor for Note {
    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        _: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        let mut given = self.given.lock().unwrap();
        let of_shard = given.entry(self.start.shard.clone()).or_default();
        of_shard.extend(batch.records.iter().map(|record| (self.start.fence, record.position)));
        Ok(())
    }
}

/// A process: one file, some schedulers on it.
struct Process {
    table: Arc<FileLeaseTable>,
    stream: Stream,
    given: Given,
}

struct Running {
    handle: Handle,
    task: JoinHandle<Result<(), WorkerError>>,
}

impl Process {
    fn start(path: &Path, stream: &Stream) -> Self {
        let table = Arc::new(FileLeaseTable::open(path).unwrap());
        Self { table, stream: stream.clone(), given: Given::default() }
    }

    fn scheduler(&self, name: &str) -> Running {
        let config = Config::new("orders")
            .worker_name(name)
            .lease_duration(Duration::from_millis(1500))
            .blocking_grace(Duration::ZERO);
        let given = Arc::clone(&self.given);
        let factory =
            move |start: &ShardStart| Note { start: start.clone(), given: Arc::clone(&given) };
        let source = Arc::new(self.stream.source());
        let table = Arc::clone(&self.table);
        let scheduler = Scheduler::new(config, table, source, factory).unwrap();
        Running { handle: scheduler.handle(), task: tokio::spawn(scheduler.run()) }
    }

    fn put(&self) {
        for key in 0..RECORDS {
            self.stream.put(NewRecord::new(format!("key-{key}"), vec![0; 8])).unwrap();
        }
    }

    fn delivered(&self) -> usize {
        self.given.lock().unwrap().values().map(Vec::len).sum()
    }

    /// In each shard fences never fall, and records come in order, each once.
    fn check(&self) {
        for (shard, given) in &*self.given.lock().unwrap() {
            let rises = given.is_sorted_by(|a, b| a.0 <= b.0 && a.1 < b.1);
            assert!(rises, "{shard}: {given:?}");
        }
    }
}

impl Running {
    fn shards(&self) -> usize {
        self.handle.status().shards.len()
    }
    async fn leave(self) {
        self.handle.shutdown().await;
        self.task.await.unwrap().unwrap();
    }
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("half a minute passed without: {what}");
}

fn fresh_path() -> PathBuf {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let next = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let name = format!("kcl-schedulers-{}-{next}.redb", std::process::id());
    let path = std::env::temp_dir().join(name);
    // Left behind by a run that did not end well, under the same process id.
    let _ = std::fs::remove_file(&path);
    path
}

fn stream() -> Stream {
    let engine = Engine::new(Arc::new(SystemClock));
    engine.create_stream("orders", SHARDS, StreamOptions::unlimited()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_schedulers_share_a_file_and_the_next_process_goes_on_at_their_checkpoints() {
    let (path, stream) = (fresh_path(), stream());
    let process = Process::start(&path, &stream);
    let (first, second) = (process.scheduler("first"), process.scheduler("second"));
    until("two shards each", || first.shards() == 2 && second.shards() == 2).await;
    process.put();
    until("all delivered", || process.delivered() == RECORDS).await;
    first.leave().await;
    until("all shards at the second", || second.shards() == SHARDS as usize).await;
    process.put();
    until("all delivered", || process.delivered() == 2 * RECORDS).await;
    process.check();
    second.leave().await;
    drop(process);

    let next = Process::start(&path, &stream);
    let third = next.scheduler("third");
    until("all shards at the third", || third.shards() == SHARDS as usize).await;
    next.put();
    until("what is new is delivered", || next.delivered() >= RECORDS).await;
    third.leave().await;
    next.check();
    assert_eq!(next.delivered(), RECORDS, "nothing again that the file says is done");
    drop(next);
    std::fs::remove_file(path).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scheduler_that_dies_is_declared_dead_by_the_other_one_on_the_file() {
    let (path, stream) = (fresh_path(), stream());
    let process = Process::start(&path, &stream);
    let (first, second) = (process.scheduler("first"), process.scheduler("second"));
    until("two shards each", || first.shards() == 2 && second.shards() == 2).await;
    first.task.abort();
    until("all shards at the second", || second.shards() == SHARDS as usize).await;
    process.put();
    until("all delivered", || process.delivered() == RECORDS).await;
    process.check();
    second.leave().await;
    drop(process);
    std::fs::remove_file(path).unwrap();
}
