//! A source that unpacks, over the bundled engine: of records that stand alone, and of aggregates.

use std::sync::Arc;

use kcl_core::protocol::{SequenceNumber, ShardId};
use kcl_core::{StreamSource, SystemClock, async_trait};
use kcl_records::{AggregateBuilder, UnpackedSource};
use kcl_stream_local::{Engine, NewRecord, Stream, StreamOptions};
use kcl_testkit::conformance::stream_source::SourceHarness;

use crate::local_stream::next_millisecond;

#[derive(Clone, Copy)]
enum Packed {
    Plain,
    /// Each record as an aggregate of one.
    Alone,
}

struct Unpacked {
    stream: Stream,
    packed: Packed,
}

impl Unpacked {
    fn fresh(packed: Packed) -> Self {
        let engine = Engine::new(Arc::new(SystemClock));
        let options = StreamOptions::unlimited();
        Self { stream: engine.create_stream("conformance", 2, options).unwrap(), packed }
    }
}

#[async_trait]
impl SourceHarness for Unpacked {
    fn source(&self) -> Arc<dyn StreamSource> {
        Arc::new(UnpackedSource::new(self.stream.source()))
    }
    async fn put(&self, hash_key: u128, data: &[u8]) -> (ShardId, SequenceNumber) {
        let data = match self.packed {
            Packed::Plain => data.to_vec().into(),
            Packed::Alone => {
                let mut builder = AggregateBuilder::new();
                builder.push(&"key".into(), Some(hash_key), data);
                builder.finish()
            }
        };
        let record = NewRecord::new("key", data).with_hash_key(hash_key);
        let receipt = self.stream.put(record).unwrap();
        (receipt.shard.id(), receipt.sequence)
    }
    async fn split(&self, shard: &ShardId, at: u128) {
        self.stream.split_shard(shard, at).unwrap();
    }
    async fn merge(&self, shard: &ShardId, adjacent: &ShardId) {
        self.stream.merge_shards(shard, adjacent).unwrap();
    }
    async fn next_millisecond(&self) -> u64 {
        next_millisecond().await
    }
}

mod plain {
    use super::*;
    kcl_testkit::stream_source_suite!(Unpacked::fresh(Packed::Plain));
}

mod aggregated {
    use super::*;
    kcl_testkit::stream_source_suite!(Unpacked::fresh(Packed::Alone));
}
