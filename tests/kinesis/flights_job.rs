//! The flights job of the examples, on a stream behind the wire protocol: workers join, die and
//! leave, shards are split and merged, and every figure has to be right.

use std::sync::Arc;
use std::time::Duration;

use examples::flights::audit::Audit;
use examples::flights::feed::{Progress, feed};
use examples::flights::figures::Figures;
use examples::flights::fleet::{Fleet, FleetStream};
use examples::flights::rows;
use examples::flights::script::Script;
use kcl_core::protocol::ShardId;
use kcl_core::{Clock, SourceError, StreamSource, SystemClock, async_trait};
use kcl_producer::{
    Aggregation, KinesisSink, Misplaced, Producer, ProducerMetrics, ProducerOptions,
};
use kcl_records::UnpackedSource;
use kcl_stream_kinesis::{FanOut, KinesisSource};

use crate::local;

/// The name of the stream the job reads.
pub const STREAM: &str = "flights";
/// Rows a second: half of what four shards take one by one.
pub const USUAL_RATE: u32 = 2_000;
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The whole job takes a minute on a busy machine.
const PATIENCE: Duration = Duration::from_secs(240);

pub struct ServedStream {
    pub url: String,
    pub fan_out: Option<FanOut>,
    /// How rows share records of the stream.
    pub aggregation: Aggregation,
    /// Rows a second.
    pub rate: u32,
}

fn failed(error: impl std::fmt::Debug) -> SourceError {
    SourceError::Unavailable(format!("{error:?}"))
}

#[async_trait]
impl FleetStream for ServedStream {
    /// With a client of its own: each worker is as in a process of its own.
    fn source(&self) -> Arc<dyn StreamSource> {
        let builder = KinesisSource::builder(local::client_of(&self.url), STREAM);
        let source = match &self.fan_out {
            Some(consumer) => builder.fan_out(consumer.clone()).build(),
            None => builder.build(),
        };
        Arc::new(UnpackedSource::new(source))
    }
    async fn split(&self, shard: &ShardId, at: u128) -> Result<(), SourceError> {
        let split = local::client_of(&self.url).split_shard().stream_name(STREAM);
        let split = split.shard_to_split(shard.as_str()).new_starting_hash_key(at.to_string());
        split.send().await.map(drop).map_err(failed)
    }
    async fn merge(&self, shard: &ShardId, adjacent: &ShardId) -> Result<(), SourceError> {
        let merge = local::client_of(&self.url).merge_shards().stream_name(STREAM);
        let merge = merge.shard_to_merge(shard.as_str());
        let merge = merge.adjacent_shard_to_merge(adjacent.as_str());
        merge.send().await.map(drop).map_err(failed)
    }
}

/// Runs the whole script; what the producer met.
pub async fn run(stream: ServedStream, workers: usize) -> ProducerMetrics {
    let rows = Arc::new(rows::read(None, "tailnum").unwrap());
    let audit = Arc::new(Audit::new(rows.iter().map(|row| row.key.as_str())));
    let (aggregation, rate) = (stream.aggregation, stream.rate);
    // A row put twice counts twice: what readers have of a misplaced aggregate is not put again.
    let misplaced = Misplaced::Foreign;
    let options = ProducerOptions { aggregation, misplaced, ..Default::default() };
    let sink = KinesisSink::new(&local::client_of(&stream.url), STREAM);
    let producer = Producer::builder(Arc::new(sink)).options(options).start();
    let mut fleet = Fleet::new(stream, audit);
    for _ in 0..workers {
        fleet.start_worker().unwrap();
    }
    let progress = Arc::new(Progress::default());
    let fed = feed(Arc::clone(&rows), producer.clone(), rate, Arc::clone(&progress));
    let feeding = tokio::spawn(fed);
    let mut script = Script::new(rows.len());
    let started = SystemClock.monotonic();
    while fleet.audit.processed() < rows.len() || !script.is_over() {
        progress.allow(script.full_pace_to());
        let (put, records) = (progress.put(), progress.records());
        for said in script.step(put, &records, &mut fleet).await.unwrap() {
            println!("{said}");
        }
        let took = SystemClock.monotonic().since(started);
        let (processed, waits) = (fleet.audit.processed(), script.waits_for());
        assert!(took < PATIENCE, "{processed} of {put} processed, waits for {waits:?}");
        SystemClock.sleep(LOOK_EVERY).await;
    }
    feeding.await.unwrap().unwrap();
    let found = fleet.audit.findings();
    assert_eq!((found.lost, found.out_of_order), (0, 0), "{:?}", found.keys.first());
    assert_eq!(fleet.ledger.figures(), Figures::direct(&rows));
    let metrics = producer.metrics();
    assert!(metrics.put_records >= rows.len() as u64, "{metrics:?}");
    let shared = metrics.stream_records < metrics.put_records;
    assert_eq!(shared, aggregation != Aggregation::Off, "{metrics:?}");
    fleet.shut_down_all();
    metrics
}
