//! What an engine does with a store that fails or takes its time.

mod common;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{START, drain, ids};
use kcl_core::TokioClock;
use kcl_core::protocol::StreamName;
use kcl_stream_local::{
    Engine, EngineError, Entry, Journal, NewRecord, Saved, ShardNumber, Store, StoreError, Stream,
    StreamOptions, StreamRow, Throughput,
};

/// A bound for what comes at once, on a machine that is busy with something else.
const SOON: Duration = Duration::from_secs(20);

/// Keeps what it is given, on a thread of its own.
struct Sending(Sender<Entry>);

impl fmt::Debug for Sending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sending")
    }
}

impl Journal for Sending {
    fn append(&self, entry: Entry) -> Result<(), Entry> {
        self.0.send(entry).map_err(|unsent| unsent.0)
    }
    fn is_behind(&self) -> bool {
        false
    }
    fn expire(&self, _: u64) {}
}

/// Rows in memory; fails, and waits, when told so.
#[derive(Default)]
struct Rows {
    by_name: Mutex<BTreeMap<StreamName, StreamRow>>,
    is_full: AtomicBool,
    /// The next call says that it has begun, and goes on when told.
    pause: Mutex<Option<(Sender<()>, Receiver<()>)>>,
}

impl Rows {
    fn call(&self) -> Result<(), StoreError> {
        let pause = self.pause.lock().unwrap().take();
        if let Some((begun, go_on)) = pause {
            begun.send(()).unwrap();
            // Not for ever, so that a test that fails also ends.
            let _ = go_on.recv_timeout(3 * SOON);
        }
        match self.is_full.load(Ordering::Relaxed) {
            true => Err(StoreError("the disk is full".into())),
            false => Ok(()),
        }
    }

    /// Pauses the next call; the first end tells of it, the second lets it go on.
    fn pause(&self) -> (Receiver<()>, Sender<()>) {
        let ((begun, told), (let_go, go_on)) = (channel(), channel());
        *self.pause.lock().unwrap() = Some((begun, go_on));
        (told, let_go)
    }
}

impl Store for Rows {
    fn load(&self) -> Result<Saved, StoreError> {
        Ok(Saved::default())
    }
    fn create(&self, row: &StreamRow) -> Result<Arc<dyn Journal>, StoreError> {
        self.save(row)?;
        let (sender, entries) = channel::<Entry>();
        std::thread::spawn(move || entries.into_iter().for_each(Entry::keep));
        Ok(Arc::new(Sending(sender)))
    }
    fn save(&self, row: &StreamRow) -> Result<(), StoreError> {
        self.call()?;
        self.by_name.lock().unwrap().insert(row.name.clone(), row.clone());
        Ok(())
    }
    fn delete(&self, name: &StreamName, _: u64) -> Result<(), StoreError> {
        self.call()?;
        self.by_name.lock().unwrap().remove(name);
        Ok(())
    }
}

fn engine() -> (Engine, Arc<Rows>) {
    let rows = Arc::new(Rows::default());
    let clock = Arc::new(TokioClock::starting_at(START));
    (Engine::open(clock, rows.clone()).unwrap(), rows)
}

fn create(engine: &Engine, name: &str) -> Stream {
    engine.create_stream(name, 1, StreamOptions::unlimited()).unwrap()
}

fn put(stream: &Stream, text: &'static str) {
    stream.put(NewRecord::new("key", text)).unwrap();
}

/// What a call on another thread returns, if it does.
fn soon<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (sender, result) = channel();
    std::thread::spawn(move || sender.send(call()));
    result.recv_timeout(SOON).ok()
}

#[tokio::test(start_paused = true)]
async fn a_change_that_cannot_be_kept_is_not_made() {
    let (engine, rows) = engine();
    let stream = create(&engine, "s");
    stream.set_retention_hours(168).unwrap();
    put(&stream, "old");
    tokio::time::advance(Duration::from_secs(100 * 3600)).await;
    let before = stream.describe().unwrap();
    rows.is_full.store(true, Ordering::Relaxed);
    let failed = |result: Result<(), EngineError>| {
        assert!(matches!(result, Err(EngineError::Store(_))), "{result:?}");
        assert_eq!(stream.describe().unwrap(), before);
    };
    failed(stream.set_retention_hours(24));
    failed(stream.set_retention_hours(200));
    failed(stream.set_max_record_bytes(1));
    failed(stream.set_memory_bytes(1));
    failed(stream.set_throughput(Throughput::Provisioned));
    failed(engine.delete_stream("s"));
    engine.sweep();
    assert_eq!(drain(&stream, 0), ["old"]);
    put(&engine.stream("s").unwrap(), "new");
    rows.is_full.store(false, Ordering::Relaxed);
    stream.set_retention_hours(24).unwrap();
    assert_eq!(drain(&stream, 0), ["new"]);
    assert_eq!(rows.by_name.lock().unwrap()[stream.name()].options.retention_hours, 24);
    engine.delete_stream("s").unwrap();
    assert!(engine.stream("s").is_err());
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_stream_that_is_being_made() {
    let (engine, rows) = engine();
    put(&create(&engine, "first"), "x");
    let (begun, let_go) = rows.pause();
    let other = engine.clone();
    let making = std::thread::spawn(move || create(&other, "second"));
    begun.recv_timeout(SOON).unwrap();
    let other = engine.clone();
    let meanwhile = soon(move || {
        let again = other.create_stream("second", 1, StreamOptions::unlimited());
        (drain(&other.stream("first").unwrap(), 0), other.list_streams().len(), again.is_err())
    });
    let_go.send(()).unwrap();
    put(&making.join().unwrap(), "x");
    assert_eq!(meanwhile, Some((vec!["x".to_owned()], 1, true)));
    assert_eq!(engine.list_streams().len(), 2);
    // A name whose making failed is free.
    rows.is_full.store(true, Ordering::Relaxed);
    assert!(engine.create_stream("third", 1, StreamOptions::unlimited()).is_err());
    rows.is_full.store(false, Ordering::Relaxed);
    create(&engine, "third");
}

#[tokio::test(start_paused = true)]
async fn reads_do_not_wait_for_a_reshard_that_is_being_kept_and_puts_do() {
    let (engine, rows) = engine();
    let stream = create(&engine, "s");
    put(&stream, "before");
    let (begun, let_go) = rows.pause();
    let (splitter, putter, reader) = (stream.clone(), stream.clone(), stream.clone());
    let split = move || splitter.split_shard(&ShardNumber(0).id(), 1 << 127);
    let splitting = std::thread::spawn(split);
    begun.recv_timeout(SOON).unwrap();
    let record = NewRecord::new("key", "after").with_hash_key(0);
    let putting = std::thread::spawn(move || putter.put(record).unwrap().shard);
    let meanwhile = soon(move || (drain(&reader, 0), ids(&reader)));
    let was_put = putting.is_finished();
    let_go.send(()).unwrap();
    splitting.join().unwrap().unwrap();
    assert_eq!(meanwhile, Some((vec!["before".to_owned()], vec![0])));
    assert!(!was_put);
    assert_eq!(putting.join().unwrap(), ShardNumber(1));
    assert_eq!(ids(&stream), [0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_deleted_while_it_is_split_does_not_come_back() {
    let (engine, rows) = engine();
    let stream = create(&engine, "s");
    let (begun, let_go) = rows.pause();
    let splitter = stream.clone();
    let split = move || splitter.split_shard(&ShardNumber(0).id(), 1 << 127);
    let splitting = std::thread::spawn(split);
    begun.recv_timeout(SOON).unwrap();
    let (deleted, is_deleted) = channel();
    let other = engine.clone();
    std::thread::spawn(move || {
        other.delete_stream("s").unwrap();
        deleted.send(())
    });
    // One that does not wait for the split is done by then, as a rule.
    let early = is_deleted.recv_timeout(Duration::from_millis(100));
    let_go.send(()).unwrap();
    splitting.join().unwrap().unwrap();
    if early.is_err() {
        is_deleted.recv_timeout(SOON).unwrap();
    }
    assert!(rows.by_name.lock().unwrap().is_empty(), "the split has brought it back");
    let again = stream.split_shard(&ShardNumber(1).id(), 1 << 126);
    assert!(matches!(again, Err(EngineError::StreamNotFound(_))), "{again:?}");
    assert!(matches!(stream.set_retention_hours(48), Err(EngineError::StreamNotFound(_))));
    assert!(rows.by_name.lock().unwrap().is_empty());
}
