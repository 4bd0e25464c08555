//! One worker on several streams of the service, taken on and given up while it runs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_kinesis::Client;
use kcl_core::protocol::{Row, StreamName};
use kcl_core::{
    Clock, Config, LeaseTable, ProcessorFactory, RecordBatch, Scan, Scheduler, StreamSource,
    SystemClock, closure,
};
use kcl_endpoint::{Endpoint, EndpointConfig};
use kcl_lease_local::MemoryLeaseTable;
use kcl_stream_kinesis::{FanOut, KinesisSource, StreamRef};
use kcl_stream_local::Throughput;

use crate::harness::put_to;
use crate::identity::id_of;
use crate::local;

/// The data that processors of each stream were given.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<BTreeMap<&'static str, Vec<String>>>>);

impl Seen {
    fn note(&self, stream: &'static str) -> impl ProcessorFactory + use<> {
        let seen = Arc::clone(&self.0);
        closure::batches(move |batch: &RecordBatch| {
            let data = batch.records.iter();
            let data = data.map(|record| String::from_utf8_lossy(&record.data).into_owned());
            seen.lock().unwrap().entry(stream).or_default().extend(data);
            Ok(())
        })
    }
    /// Waits until a stream's processors were given these, in any order of its shards.
    async fn are(&self, stream: &str, expected: &[&str]) {
        let of = || self.0.lock().unwrap().get(stream).cloned().unwrap_or_default();
        let came = async {
            while of().len() < expected.len() {
                SystemClock.sleep(Duration::from_millis(10)).await;
            }
        };
        let is_in_time = tokio::time::timeout(Duration::from_secs(30), came).await.is_ok();
        let mut seen = of();
        seen.sort();
        assert_eq!(seen, expected, "{stream}");
        assert!(is_in_time);
    }
}

fn arn(stream: &str) -> String {
    format!("arn:aws:kinesis:us-east-1:000000000000:stream/{stream}")
}

async fn endpoint() -> Endpoint {
    let config = EndpointConfig {
        streams: [("a", 2), ("b", 1), ("c", 2)].map(|(name, of)| (name.to_owned(), of)).to_vec(),
        throughput: Throughput::Unlimited,
        ..EndpointConfig::default()
    };
    Endpoint::start(config).await.unwrap()
}

/// One record for each end of the hash keys.
async fn put(client: &Client, stream: &str, texts: [&str; 2]) {
    for (text, hash_key) in texts.into_iter().zip([0, u128::MAX]) {
        put_to(client, stream, hash_key, text.as_bytes()).await;
    }
}

async fn are_read_taken_on_and_given_up(fan_out: Option<FanOut>) {
    let endpoint = endpoint().await;
    let (client, table) = (local::client_by_id(&endpoint), Arc::new(MemoryLeaseTable::new()));
    let source = |stream: StreamRef| -> Arc<dyn StreamSource> {
        let builder = KinesisSource::builder(client.clone(), stream);
        let builder = builder.idle(Duration::from_millis(20));
        Arc::new(match &fan_out {
            Some(consumer) => builder.fan_out(consumer.clone()).build(),
            None => builder.build(),
        })
    };
    let by_id = async |stream| StreamRef::Id(id_of(&client, stream).await);
    let seen = Seen::default();
    let scheduler = Scheduler::new(
        Config::new("app"),
        Arc::clone(&table) as _,
        source("a".into()),
        seen.note("a"),
    );
    let scheduler = scheduler.unwrap().stream(source(by_id("b").await), seen.note("b"));
    let handle = scheduler.handle();
    let running = tokio::spawn(scheduler.run());
    for stream in ["a", "b", "c"] {
        put(&client, stream, [&format!("{stream}1"), &format!("{stream}2")]).await;
    }
    seen.are("a", &["a1", "a2"]).await;
    seen.are("b", &["b1", "b2"]).await;
    seen.are("c", &[]).await;
    handle.add_stream(source(arn("c").as_str().into()), seen.note("c")).await.unwrap();
    seen.are("c", &["c1", "c2"]).await;
    handle.remove_stream(&StreamName::new(arn("c"))).await.unwrap();
    put(&client, "c", ["c3", "c4"]).await;
    put(&client, "a", ["a3", "a4"]).await;
    seen.are("a", &["a1", "a2", "a3", "a4"]).await;
    seen.are("c", &["c1", "c2"]).await;
    handle.add_stream(source(by_id("c").await), seen.note("c")).await.unwrap();
    seen.are("c", &["c1", "c2", "c3", "c4"]).await;
    handle.shutdown().await;
    running.await.unwrap().unwrap();
    let keys = lease_keys(&table).await;
    assert_eq!(keys, expected_keys(&client).await);
}

async fn lease_keys(table: &MemoryLeaseTable) -> Vec<String> {
    let rows = table.scan(Scan::Leases).await.unwrap().into_iter();
    let keys = rows.filter_map(|row| match row {
        Row::Lease(lease) => Some(lease.key.to_string()),
        _ => None,
    });
    keys.collect()
}

/// Account, stream, second of its creation, shard.
async fn expected_keys(client: &Client) -> Vec<String> {
    let mut keys = Vec::new();
    for (stream, shards) in [("a", 2), ("b", 1), ("c", 2)] {
        let about = client.describe_stream_summary().stream_name(stream).send().await.unwrap();
        let created = about.stream_description_summary.unwrap().stream_creation_timestamp.secs();
        for shard in 0..shards {
            keys.push(format!("000000000000:{stream}:{created}:shardId-{shard:012}"));
        }
    }
    keys
}

#[tokio::test]
async fn several_polled_streams_are_read_taken_on_and_given_up_and_go_on_at_their_checkpoints() {
    are_read_taken_on_and_given_up(None).await;
}

#[tokio::test]
async fn several_pushed_streams_are_read_taken_on_and_given_up_and_go_on_at_their_checkpoints() {
    are_read_taken_on_and_given_up(Some(FanOut::register("app"))).await;
}
