//! Producers of the bundled engine.

use std::sync::Arc;
use std::time::Duration;

use kcl_core::protocol::{SequenceNumber, ShardId};
use kcl_core::{Clock, StreamSource, TokioClock, async_trait};
use kcl_producer::PutSink;
use kcl_records::UnpackedSource;
use kcl_stream_local::{Engine, Stream, StreamOptions};
use kcl_testkit::Unordered;
use kcl_testkit::conformance::put_sink::{self, SinkHarness};
use kcl_testkit::conformance::stream_source::SourceHarness;

struct Local {
    stream: Stream,
    source: Arc<dyn StreamSource>,
    clock: Arc<dyn Clock>,
}

fn fresh() -> Local {
    let clock: Arc<dyn Clock> = Arc::new(TokioClock::starting_at(1_700_000_000_000));
    let engine = Engine::new(Arc::clone(&clock));
    let stream = engine.create_stream("conformance", 2, StreamOptions::unlimited()).unwrap();
    let source = Arc::new(stream.source());
    Local { stream, source, clock }
}

#[async_trait]
impl SourceHarness for Local {
    fn source(&self) -> Arc<dyn StreamSource> {
        Arc::clone(&self.source)
    }
    async fn put(&self, _: u128, _: &[u8]) -> (ShardId, SequenceNumber) {
        unreachable!("producers put here")
    }
    async fn split(&self, shard: &ShardId, at: u128) {
        self.stream.split_shard(shard, at).unwrap();
    }
    async fn merge(&self, shard: &ShardId, adjacent: &ShardId) {
        self.stream.merge_shards(shard, adjacent).unwrap();
    }
    async fn next_millisecond(&self) -> u64 {
        self.clock.wall_millis()
    }
}

impl SinkHarness for Local {
    fn sink(&self) -> Arc<dyn PutSink> {
        Arc::new(self.stream.clone())
    }
    fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }
}

kcl_testkit::put_sink_suite!(fresh());

/// On a paused clock. Half of the seeds see a sink that keeps no order within a request, as
/// Kinesis keeps none.
#[tokio::test(start_paused = true)]
async fn no_seed_of_faults_and_reshards_loses_a_record_or_changes_an_order() {
    for seed in 0..200 {
        let mut local = fresh();
        // Read as workers read; the others by the suite's own hand.
        if seed % 4 < 2 {
            local.source = Arc::new(UnpackedSource::new(local.stream.source()));
        }
        let sink = match seed % 2 {
            0 => local.sink(),
            _ => Arc::new(Unordered(local.sink())),
        };
        put_sink::faults(&local, sink, seed, Duration::from_millis(100)).await;
    }
}
