//! The flights job of the examples, on a stream behind the wire protocol: workers join, die and
//! leave, shards are split and merged, and every figure has to be right.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use examples::flights::audit::Audit;
use examples::flights::feed::{Progress, feed};
use examples::flights::figures::Figures;
use examples::flights::fleet::{Fleet, FleetStream};
use examples::flights::rows;
use examples::flights::script::Script;
use kcl_core::protocol::ShardId;
use kcl_core::{
    Clock, Config, RecordBatch, Scheduler, SourceError, StreamSource, SystemClock, async_trait,
    closure,
};
use kcl_lease_local::MemoryLeaseTable;
use kcl_producer::{
    Aggregation, KinesisSink, Misplaced, Producer, ProducerMetrics, ProducerOptions,
};
use kcl_records::UnpackedSource;
use kcl_stream_kinesis::{FanOut, KinesisSource};
use tokio::task::JoinHandle;

use crate::local;

/// The name of the stream the job reads.
pub const STREAM: &str = "flights";
/// Rows a second: half of what four shards take one by one.
pub const USUAL_RATE: u32 = 2_000;
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The whole job takes a minute on a busy machine.
const PATIENCE: Duration = Duration::from_secs(240);

/// Who reads the stream beside the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beside {
    Nobody,
    /// Another application, by polling: both ask for four reads a second of each shard, which gives
    /// five.
    Another,
}

pub struct Job {
    pub url: String,
    pub fan_out: Option<FanOut>,
    /// How rows share records of the stream.
    pub aggregation: Aggregation,
    /// Rows a second.
    pub rate: u32,
    pub beside: Beside,
}

/// What was met with.
#[derive(Debug)]
pub struct Met {
    pub producer: ProducerMetrics,
    /// Reads of the fleet that were refused for the rate.
    pub throttled_reads: u64,
}

struct ServedStream {
    url: String,
    fan_out: Option<FanOut>,
    /// Those of all workers so far.
    sources: Arc<Mutex<Vec<KinesisSource>>>,
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
        self.sources.lock().unwrap().push(source.clone());
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

/// Starts an application that reads everything, and does nothing with it.
fn start_another(url: &str) -> JoinHandle<()> {
    let source = Arc::new(KinesisSource::builder(local::client_of(url), STREAM).build());
    let processor = closure::batches(|_: &RecordBatch| Ok(()));
    let table = Arc::new(MemoryLeaseTable::new());
    let scheduler = Scheduler::new(Config::new("another"), table, source, processor).unwrap();
    tokio::spawn(async move { scheduler.run().await.unwrap() })
}

/// Runs the whole script.
pub async fn run(job: Job, workers: usize) -> Met {
    let Job { url, fan_out, aggregation, rate, beside } = job;
    let rows = Arc::new(rows::read(None, "tailnum").unwrap());
    let audit = Arc::new(Audit::new(rows.iter().map(|row| row.key.as_str())));
    // A row put twice counts twice: what readers have of a misplaced aggregate is not put again.
    let misplaced = Misplaced::Foreign;
    let options = ProducerOptions { aggregation, misplaced, ..Default::default() };
    let sink = KinesisSink::new(&local::client_of(&url), STREAM);
    let producer = Producer::builder(Arc::new(sink)).options(options).start();
    let another = (beside == Beside::Another).then(|| start_another(&url));
    let sources = Arc::default();
    let stream = ServedStream { url, fan_out, sources: Arc::clone(&sources) };
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
    if let Some(another) = another {
        assert!(!another.is_finished(), "it has read all the time");
        another.abort();
    }
    let sources = sources.lock().unwrap();
    let throttled_reads = sources.iter().map(|source| source.counters().throttled_reads).sum();
    Met { producer: metrics, throttled_reads }
}
