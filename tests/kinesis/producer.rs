//! Producers through the real client: the conformance suite of every sink, and what the service's
//! limits make of them.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_kinesis::Client;
use kcl_core::protocol::{SequenceNumber, ShardId};
use kcl_core::{Clock, StreamSource, SystemClock, async_trait};
use kcl_endpoint::{Endpoint, EndpointConfig};
use kcl_producer::{
    Aggregation, KinesisSink, Producer, ProducerOptions, PutFailure, PutSink, Shutdown,
};
use kcl_stream_kinesis::KinesisSource;
use kcl_testkit::conformance::put_sink::SinkHarness;
use kcl_testkit::conformance::stream_source::SourceHarness;

use crate::local;
use crate::one_layer::read_request;

struct Putting {
    client: Client,
    /// Stops when dropped.
    _endpoint: Endpoint,
}

async fn fresh() -> Putting {
    let endpoint = local::endpoint(2).await;
    Putting { client: local::client(&endpoint), _endpoint: endpoint }
}

#[async_trait]
impl SourceHarness for Putting {
    fn source(&self) -> Arc<dyn StreamSource> {
        let brief = Duration::from_millis(2);
        let source = KinesisSource::builder(self.client.clone(), "s");
        Arc::new(source.idle(brief).read_interval(brief).build())
    }
    async fn put(&self, _: u128, _: &[u8]) -> (ShardId, SequenceNumber) {
        unreachable!("producers put here")
    }
    async fn split(&self, shard: &ShardId, at: u128) {
        let split = self.client.split_shard().stream_name("s");
        let split = split.shard_to_split(shard.as_str()).new_starting_hash_key(at.to_string());
        split.send().await.unwrap();
    }
    async fn merge(&self, shard: &ShardId, adjacent: &ShardId) {
        let merge = self.client.merge_shards().stream_name("s");
        let merge = merge.shard_to_merge(shard.as_str());
        merge.adjacent_shard_to_merge(adjacent.as_str()).send().await.unwrap();
    }
    async fn next_millisecond(&self) -> u64 {
        SystemClock.sleep(Duration::from_millis(2)).await;
        SystemClock.wall_millis()
    }
}

impl SinkHarness for Putting {
    fn sink(&self) -> Arc<dyn PutSink> {
        Arc::new(KinesisSink::new(&self.client, "s"))
    }
    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(SystemClock)
    }
}

kcl_testkit::put_sink_suite!(fresh().await);

#[tokio::test]
async fn throttled_records_are_put_in_the_end() {
    let config = EndpointConfig { streams: vec![("s".to_owned(), 1)], ..EndpointConfig::default() };
    let endpoint = Endpoint::start(config).await.unwrap();
    let sink = KinesisSink::new(&local::client(&endpoint), "s");
    let producer = Producer::builder(Arc::new(sink)).start();
    let mut deliveries = Vec::new();
    for number in 0..1500 {
        deliveries.push(producer.put(format!("key-{number}"), "x").await.unwrap());
    }
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    let metrics = producer.metrics();
    assert!(metrics.throttled_stream_records > 0 && metrics.retried_records > 0, "{metrics:?}");
    assert_eq!((metrics.put_records, metrics.waiting_records), (1500, 0));
}

#[tokio::test]
async fn a_stream_that_is_not_there_and_a_service_that_is_gone_are_told() {
    let endpoint = local::endpoint(1).await;
    let client = local::client(&endpoint);
    let options = ProducerOptions { aggregation: Aggregation::KPL, ..Default::default() };
    let nowhere = KinesisSink::new(&client, "nowhere");
    let producer = Producer::builder(Arc::new(nowhere)).options(options).start();
    let failure = producer.put("key", "x").await.unwrap().await.unwrap_err();
    let why = failure.to_string();
    assert!(why.contains("ResourceNotFoundException for stream nowhere"), "{why}");
    assert!(matches!(failure, PutFailure::StreamRefuses { .. }), "{failure:?}");

    let url = endpoint.url();
    let address = url.strip_prefix("http://").unwrap();
    drop(endpoint);
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        SystemClock.sleep(Duration::from_millis(5)).await;
    }
    let patience = Duration::from_millis(200);
    let options = ProducerOptions { patience, ..Default::default() };
    // Without a connection from before, of which nobody could say what went over it.
    let sink = KinesisSink::new(&local::client_of(&url), "s");
    let producer = Producer::builder(Arc::new(sink)).options(options).start();
    let failure = producer.put("key", "x").await.unwrap().await.unwrap_err();
    assert!(matches!(failure, PutFailure::GivenUp { .. }), "{failure:?}");
    assert_eq!(producer.shutdown(Duration::from_secs(5)).await, Shutdown::Flushed);
}

#[tokio::test]
async fn a_record_the_stream_does_not_take_is_refused_and_those_put_with_it_are_not() {
    let endpoint = local::endpoint(1).await;
    // The stream takes records of up to 1 MiB.
    let sink = KinesisSink::new(&local::client(&endpoint), "s").record_bytes(2 << 20);
    let producer = Producer::builder(Arc::new(sink)).start();
    let before = producer.put("a", "x").await.unwrap();
    let large = producer.put("b", vec![0; 3 << 19]).await.unwrap();
    let after = producer.put("c", "x").await.unwrap();
    producer.flush().await;
    let refused = large.await.unwrap_err();
    assert!(matches!(refused, PutFailure::Refused { .. }), "{refused:?}");
    assert!(before.await.is_ok() && after.await.is_ok());
}

/// What becomes of a record sent to a service that is like this one.
async fn fate_at(url: &str) -> PutFailure {
    let options = ProducerOptions { patience: Duration::from_millis(300), ..Default::default() };
    let sink = KinesisSink::new(&local::client_of(url), "s");
    let producer = Producer::builder(Arc::new(sink)).options(options).start();
    producer.put("key", "x").await.unwrap().await.unwrap_err()
}

#[tokio::test]
async fn a_record_whose_answer_was_lost_may_be_there_and_one_that_was_never_sent_is_not() {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let silent = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            read_request(&mut stream).await;
        }
    });
    let lost = fate_at(&url).await;
    assert!(matches!(lost, PutFailure::Unknown { .. }), "{lost:?}");
    silent.abort();
    let _ = silent.await;
    let never_sent = fate_at(&url).await;
    assert!(matches!(never_sent, PutFailure::GivenUp { .. }), "{never_sent:?}");
}

#[tokio::test]
async fn the_key_that_makes_a_shard_hot_is_named_also_in_aggregates() {
    let putting = fresh().await;
    let options = ProducerOptions { aggregation: Aggregation::KPL, ..Default::default() };
    let sink = Arc::new(KinesisSink::new(&putting.client, "s"));
    let producer = Producer::builder(sink).options(options).start();
    for number in 0..2_000 {
        let key = if number % 5 < 3 { "big".to_owned() } else { format!("k{number}") };
        drop(producer.put(key, vec![b'x'; 500]).await.unwrap());
    }
    producer.flush().await;
    let hot = producer.hot_shards();
    let top = hot.first().and_then(|shard| shard.top_keys.first()).expect("a shard is hot");
    assert_eq!(top.key.as_str(), "big");
    assert!((0.55..0.65).contains(&top.of_stream), "{hot:?}");
    assert!(hot[0].to_string().contains("choose a key with more values"), "{}", hot[0]);
}
