//! What the tests of this crate share.
#![allow(dead_code, reason = "each test file uses its part")]

use std::sync::Arc;

use kcl_core::{ReadFrom, ReadLimit, TokioClock};
use kcl_stream_local::{Engine, NewRecord, ShardFilter, ShardNumber, Stream};

/// As much as there is.
pub const ALL: ReadLimit = ReadLimit { records: usize::MAX, bytes: usize::MAX };

/// Unix milliseconds at which every test begins.
pub const START: u64 = 1_700_000_000_000;

/// An engine on tokio's clock.
pub fn engine() -> Engine {
    Engine::new(Arc::new(TokioClock::starting_at(START)))
}

/// A record for a shard that is open.
pub fn key_for(stream: &Stream, shard: u32) -> NewRecord {
    let infos = stream.list_shards(&ShardFilter::AtLatest).unwrap();
    let info = infos.iter().find(|info| info.number.0 == shard).unwrap();
    NewRecord::new("key", "x").with_hash_key(info.range.start)
}

/// The ids of all shards listed.
pub fn ids(stream: &Stream) -> Vec<u32> {
    let infos = stream.list_shards(&ShardFilter::FromTrimHorizon).unwrap();
    infos.iter().map(|info| info.number.0).collect()
}

/// The data of every record of a shard, pulled. Needs an unlimited stream.
pub fn drain(stream: &Stream, shard: u32) -> Vec<String> {
    let id = ShardNumber(shard).id();
    let mut next = Some(stream.shard_iterator(&id, ReadFrom::TrimHorizon).unwrap());
    let mut texts = Vec::new();
    while let Some(iterator) = next {
        let got = stream.get_records(&iterator, 1000).unwrap();
        texts.extend(got.records.iter().map(|r| String::from_utf8_lossy(&r.data).into_owned()));
        next = got.next.filter(|_| !got.records.is_empty());
    }
    texts
}
