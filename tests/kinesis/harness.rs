//! A served stream as the conformance suite needs it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::error::ProvideErrorMetadata;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::StreamStatus;
use kcl_core::protocol::{SequenceNumber, ShardId};
use kcl_core::{Clock, StreamSource, SystemClock, async_trait};
use kcl_endpoint::{Endpoint, EndpointConfig};
use kcl_stream_kinesis::{Builder, FanOut, KinesisSource};
use kcl_testkit::conformance::stream_source::SourceHarness;

use crate::kcl_built::kcl;
use crate::{kcl_serve, local};

pub struct Served {
    pub client: Client,
    stream: String,
    way: Way,
    pace: SuitePace,
    sources: AtomicUsize,
    /// Stops when dropped; none if somebody else's engine serves.
    _server: Option<Box<dyn Send + Sync>>,
}

#[derive(Clone, Copy)]
pub enum Way {
    Polling,
    FanOut,
}

/// How often sources ask.
#[derive(Clone, Copy)]
enum SuitePace {
    Brief,
    /// As users have it.
    Default,
}

/// Served without the service's rates, and read as fast as it goes.
pub async fn served(way: Way) -> Served {
    on(local::endpoint(2).await, way, SuitePace::Brief)
}

/// Served within the service's rates, and read as by default.
pub async fn throttled(way: Way) -> Served {
    let config = EndpointConfig { streams: vec![("s".to_owned(), 2)], ..Default::default() };
    on(Endpoint::start(config).await.unwrap(), way, SuitePace::Default)
}

fn on(endpoint: Endpoint, way: Way, pace: SuitePace) -> Served {
    let client = local::client(&endpoint);
    let (stream, sources) = ("s".to_owned(), AtomicUsize::new(0));
    Served { client, stream, way, pace, sources, _server: Some(Box::new(endpoint)) }
}

/// Served by `kcl serve`, a process of its own, within the service's rates; read as by default.
pub async fn by_program(way: Way) -> Served {
    // Brief, since whoever waits for the end of it uses up the rate of looks at the stream.
    let words = ["--streams", "s:2", "--transition-ms", "100"];
    let program = kcl_serve::Served::start(&kcl(), &words).unwrap();
    let client = local::client_of(&program.url);
    let (stream, pace, sources) = ("s".to_owned(), SuitePace::Default, AtomicUsize::new(0));
    active(&client, &stream).await;
    Served { client, stream, way, pace, sources, _server: Some(Box::new(program)) }
}

/// A fresh stream of an engine that somebody else started; read by polling.
#[cfg(feature = "third-party")]
pub async fn elsewhere(url: &str) -> Served {
    static STREAMS: AtomicUsize = AtomicUsize::new(0);
    let client = local::client_of(url);
    let stream = format!("suite-{}", STREAMS.fetch_add(1, Ordering::Relaxed));
    client.create_stream().stream_name(&stream).shard_count(2).send().await.unwrap();
    active(&client, &stream).await;
    let sources = AtomicUsize::new(0);
    let (way, pace) = (Way::Polling, SuitePace::Brief);
    Served { client, stream, way, pace, sources, _server: None }
}

/// Waits until the stream can be resharded.
async fn active(client: &Client, stream: &str) {
    loop {
        match client.describe_stream_summary().stream_name(stream).send().await {
            Ok(told) => {
                let told = told.stream_description_summary.unwrap();
                if told.stream_status == StreamStatus::Active {
                    return;
                }
            }
            // Asked more than 20 times a second.
            Err(error) if error.code() == Some("LimitExceededException") => {}
            Err(error) => panic!("{error:?}"),
        }
        SystemClock.sleep(Duration::from_millis(20)).await;
    }
}

/// Puts into the stream `s`.
pub async fn put(client: &Client, hash_key: u128, data: &[u8]) -> (ShardId, SequenceNumber) {
    put_to(client, "s", hash_key, data).await
}

pub async fn put_to(
    client: &Client,
    stream: &str,
    hash_key: u128,
    data: &[u8],
) -> (ShardId, SequenceNumber) {
    let put = client.put_record().stream_name(stream).partition_key("key");
    let put = put.explicit_hash_key(hash_key.to_string()).data(Blob::new(data));
    let answer = put.send().await.unwrap();
    (ShardId::new(&answer.shard_id), answer.sequence_number.parse().unwrap())
}

async fn split(client: &Client, stream: &str, shard: &ShardId, at: u128) {
    let split = client.split_shard().stream_name(stream);
    let split = split.shard_to_split(shard.as_str()).new_starting_hash_key(at.to_string());
    split.send().await.unwrap();
    active(client, stream).await;
}

async fn merge(client: &Client, stream: &str, shard: &ShardId, adjacent: &ShardId) {
    let merge = client.merge_shards().stream_name(stream);
    let merge = merge.shard_to_merge(shard.as_str());
    merge.adjacent_shard_to_merge(adjacent.as_str()).send().await.unwrap();
    active(client, stream).await;
}

#[async_trait]
impl SourceHarness for Served {
    /// Each is an application of its own, so by fan-out with a consumer of its own.
    fn source(&self) -> Arc<dyn StreamSource> {
        let builder: Builder = KinesisSource::builder(self.client.clone(), self.stream.as_str());
        let brief = Duration::from_millis(5);
        Arc::new(match (self.way, self.pace) {
            (Way::Polling, SuitePace::Brief) => builder.idle(brief).read_interval(brief).build(),
            (Way::Polling, SuitePace::Default) => builder.build(),
            (Way::FanOut, _) => {
                let number = self.sources.fetch_add(1, Ordering::Relaxed);
                builder.fan_out(FanOut::register(format!("app-{number}"))).build()
            }
        })
    }
    async fn put(&self, hash_key: u128, data: &[u8]) -> (ShardId, SequenceNumber) {
        put_to(&self.client, &self.stream, hash_key, data).await
    }
    async fn split(&self, shard: &ShardId, at: u128) {
        split(&self.client, &self.stream, shard, at).await;
    }
    async fn merge(&self, shard: &ShardId, adjacent: &ShardId) {
        merge(&self.client, &self.stream, shard, adjacent).await;
    }
    async fn next_millisecond(&self) -> u64 {
        SystemClock.sleep(Duration::from_millis(2)).await;
        SystemClock.wall_millis()
    }
}
