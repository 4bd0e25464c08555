//! What the tests of this crate share.
#![allow(dead_code, reason = "each test file uses its part")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kcl_core::protocol::{Moment, SequenceNumber};
use kcl_core::{Clock, ReadFrom};
use kcl_stream_disk::{DiskOptions, DiskStore};
use kcl_stream_local::{Engine, EngineError, NewRecord, ShardNumber, Stream, StreamOptions};

/// A clock moved by hand.
pub struct Hand(AtomicU64);

impl Hand {
    pub fn new() -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(1_700_000_000_000)))
    }
    pub fn advance_hours(&self, hours: u64) {
        self.0.fetch_add(hours * 3_600_000, Ordering::Relaxed);
    }
}

#[async_trait::async_trait]
impl Clock for Hand {
    fn monotonic(&self) -> Moment {
        Moment(Duration::from_millis(self.wall_millis()))
    }
    fn wall_millis(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
    async fn sleep_until(&self, _: Moment) {}
}

pub fn open_with(
    folder: &Path,
    clock: &Arc<Hand>,
    options: DiskOptions,
) -> Result<Engine, EngineError> {
    let store = DiskStore::open(folder, options)?;
    Engine::open(Arc::clone(clock) as Arc<dyn Clock>, Arc::new(store))
}

pub fn open(folder: &Path, clock: &Arc<Hand>) -> Engine {
    open_with(folder, clock, DiskOptions::default()).unwrap()
}

pub fn create(engine: &Engine, shards: u32) -> Stream {
    engine.create_stream("orders", shards, StreamOptions::unlimited()).unwrap()
}

pub fn put(stream: &Stream, text: impl ToString) -> SequenceNumber {
    stream.put(NewRecord::new("key", text.to_string())).unwrap().sequence
}

/// The data of every record of a shard, with its sequence number.
pub fn numbered(stream: &Stream, shard: u32) -> Vec<(SequenceNumber, String)> {
    let id = ShardNumber(shard).id();
    let mut next = Some(stream.shard_iterator(&id, ReadFrom::TrimHorizon).unwrap());
    let mut found = Vec::new();
    while let Some(iterator) = next {
        let got = stream.get_records(&iterator, 1000).unwrap();
        let text = |data: &[u8]| String::from_utf8_lossy(data).into_owned();
        found.extend(got.records.iter().map(|r| (r.position.sequence, text(&r.data))));
        next = got.next.filter(|_| !got.records.is_empty());
    }
    found
}

pub fn texts(stream: &Stream, shard: u32) -> Vec<String> {
    numbered(stream, shard).into_iter().map(|(_, text)| text).collect()
}

/// The segments of the only stream, oldest first.
pub fn segments(folder: &Path) -> Vec<PathBuf> {
    let streams = std::fs::read_dir(folder.join("streams")).unwrap();
    let own = streams.map(|entry| entry.unwrap().path()).next().unwrap();
    let files = std::fs::read_dir(own).unwrap();
    let mut files: Vec<_> = files.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}
