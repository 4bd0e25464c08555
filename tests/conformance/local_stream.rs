//! The bundled engine, pushed.

use std::sync::Arc;
use std::time::Duration;

use kcl_core::protocol::{SequenceNumber, ShardId};
use kcl_core::{Clock, StreamSource, SystemClock, async_trait};
use kcl_stream_local::{Engine, NewRecord, Stream, StreamOptions};
use kcl_testkit::conformance::stream_source::SourceHarness;

struct Local(Stream);

fn fresh() -> Local {
    let engine = Engine::new(Arc::new(SystemClock));
    Local(engine.create_stream("conformance", 2, StreamOptions::unlimited()).unwrap())
}

#[async_trait]
impl SourceHarness for Local {
    fn source(&self) -> Arc<dyn StreamSource> {
        Arc::new(self.0.source())
    }
    async fn put(&self, hash_key: u128, data: &[u8]) -> (ShardId, SequenceNumber) {
        let record = NewRecord::new("key", data.to_vec()).with_hash_key(hash_key);
        let receipt = self.0.put(record).unwrap();
        (receipt.shard.id(), receipt.sequence)
    }
    async fn split(&self, shard: &ShardId, at: u128) {
        self.0.split_shard(shard, at).unwrap();
    }
    async fn merge(&self, shard: &ShardId, adjacent: &ShardId) {
        self.0.merge_shards(shard, adjacent).unwrap();
    }
    async fn next_millisecond(&self) -> u64 {
        next_millisecond().await
    }
}

pub async fn next_millisecond() -> u64 {
    let before = SystemClock.wall_millis();
    while SystemClock.wall_millis() == before {
        SystemClock.sleep(Duration::from_micros(100)).await;
    }
    SystemClock.wall_millis()
}

kcl_testkit::stream_source_suite!(fresh());
