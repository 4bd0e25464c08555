//! The flights job of the examples, on a stream behind the wire protocol: workers join, die and
//! leave, shards are split and merged, and every figure has to be right.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use examples::flights::audit::Audit;
use examples::flights::figures::Figures;
use examples::flights::fleet::{Fleet, FleetStream};
use examples::flights::rows::{self, KeyedFlight, encode};
use examples::flights::script::Script;
use kcl_core::protocol::ShardId;
use kcl_core::{Clock, SourceError, StreamSource, SystemClock, async_trait};
use kcl_stream_kinesis::{FanOut, KinesisSource};

use crate::local;

/// The name of the stream the job reads.
pub const STREAM: &str = "flights";
/// Puts of many, a second: 2,000 rows, half of what four shards take.
const PUT_EVERY: Duration = Duration::from_millis(100);
const ROWS_A_PUT: usize = 200;
/// The whole job takes a minute on a busy machine.
const PATIENCE: Duration = Duration::from_secs(240);

pub struct ServedStream {
    pub url: String,
    pub fan_out: Option<FanOut>,
}

fn failed(error: impl std::fmt::Debug) -> SourceError {
    SourceError::Unavailable(format!("{error:?}"))
}

#[async_trait]
impl FleetStream for ServedStream {
    /// With a client of its own: each worker is as in a process of its own.
    fn source(&self) -> Arc<dyn StreamSource> {
        let builder = KinesisSource::builder(local::client_of(&self.url), STREAM);
        Arc::new(match &self.fan_out {
            Some(consumer) => builder.fan_out(consumer.clone()).build(),
            None => builder.build(),
        })
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

/// Puts rows in the order of the file; a shard that refuses one refuses those after it in the same
/// put, so that the order within a key holds.
struct Feed {
    client: Client,
    left: VecDeque<(usize, KeyedFlight)>,
    put: usize,
    records: BTreeMap<ShardId, u64>,
}

impl Feed {
    /// Up to so many rows in all.
    async fn put(&mut self, up_to: usize) {
        let count = ROWS_A_PUT.min(up_to.saturating_sub(self.put)).min(self.left.len());
        if count == 0 {
            return;
        }
        let rows: Vec<_> = self.left.drain(..count).collect();
        let entry = |(number, row): &(usize, KeyedFlight)| {
            let data = Blob::new(encode(*number, &row.flight));
            PutRecordsRequestEntry::builder().partition_key(&row.key).data(data).build().unwrap()
        };
        let entries = rows.iter().map(entry).collect();
        let put = self.client.put_records().stream_name(STREAM).set_records(Some(entries));
        let answer = put.send().await.unwrap();
        let mut refused = Vec::new();
        for (row, record) in rows.into_iter().zip(answer.records()) {
            match record.shard_id() {
                Some(shard) if record.error_code().is_none() => {
                    self.put += 1;
                    *self.records.entry(ShardId::new(shard)).or_default() += 1;
                }
                _ => refused.push(row),
            }
        }
        for row in refused.into_iter().rev() {
            self.left.push_front(row);
        }
    }
}

/// Runs the whole script.
pub async fn run(stream: ServedStream, workers: usize) {
    let rows = rows::read(None, "tailnum").unwrap();
    let audit = Arc::new(Audit::new(rows.iter().map(|row| row.key.as_str())));
    let mut feed = Feed {
        client: local::client_of(&stream.url),
        left: rows.iter().cloned().enumerate().collect(),
        put: 0,
        records: BTreeMap::new(),
    };
    let mut fleet = Fleet::new(stream, audit);
    for _ in 0..workers {
        fleet.start_worker().unwrap();
    }
    let mut script = Script::new(rows.len());
    let started = SystemClock.monotonic();
    while fleet.audit.processed() < rows.len() || !script.is_over() {
        feed.put(script.full_pace_to()).await;
        for said in script.step(feed.put, &feed.records, &mut fleet).await.unwrap() {
            println!("{said}");
        }
        let took = SystemClock.monotonic().since(started);
        let (processed, waits) = (fleet.audit.processed(), script.waits_for());
        assert!(took < PATIENCE, "{processed} of {} processed, waits for {waits:?}", feed.put);
        SystemClock.sleep(PUT_EVERY).await;
    }
    let found = fleet.audit.findings();
    assert_eq!((found.lost, found.out_of_order), (0, 0), "{:?}", found.keys.first());
    assert_eq!(fleet.ledger.figures(), Figures::direct(&rows));
    fleet.shut_down_all();
}
