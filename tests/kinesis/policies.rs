//! The policies of docs/policies: with them a worker reads, and with any action less it does not.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_kinesis::Client;
use kcl_core::{
    Clock, Config, ReadFrom, ReadOutcome, RecordBatch, Scheduler, SourceError, StreamSource,
    SystemClock, closure,
};
use kcl_endpoint::{AccessKeys, Endpoint, EndpointConfig};
use kcl_lease_local::MemoryLeaseTable;
use kcl_producer::{Aggregation, KinesisSink, Producer, ProducerOptions};
use kcl_stream_kinesis::{FanOut, KinesisSource};
use kcl_stream_local::Throughput;
use serde_json::Value;

use crate::harness::put;
use crate::local;
use crate::pushed::{LIMIT, first_shard};

const POLLING: &str = include_str!("../../docs/policies/kinesis-polling.json");
const FAN_OUT: &str = include_str!("../../docs/policies/kinesis-fan-out.json");
const SECRET: &str = "0123456789abcdef";
/// May do everything.
const OWNER: &str = "OWNER";
/// Has the policy.
const READER: &str = "READER";

fn actions(policy: &str) -> BTreeSet<&str> {
    policy.split('"').filter(|text| text.starts_with("kinesis:")).collect()
}

/// The policy as the endpoint has it, without one action.
fn statements(policy: &str, without: Option<&str>) -> String {
    let policy: Value = serde_json::from_str(policy).unwrap();
    let statements = policy["Statement"].as_array().unwrap().iter().map(|statement| {
        let allowed = statement["Action"].as_array().unwrap().iter();
        let allowed: Vec<_> = allowed.filter(|action| action.as_str() != without).collect();
        let resource = statement["Resource"].to_string();
        let resource = resource.replace("REGION", "us-east-1").replace("ACCOUNT", "000000000000");
        let resource = resource.replace("stream/STREAM", "stream/s").replace("CONSUMER", "app");
        format!(
            "[[key.statement]]\nEffect = {}\nAction = {}\nResource = {resource}\n",
            statement["Effect"],
            serde_json::to_string(&allowed).unwrap()
        )
    });
    statements.collect()
}

/// An endpoint with the two keys, and a client with each.
async fn guarded(statements: &str) -> (Endpoint, Client, Client) {
    let all = "[[key.statement]]\nEffect = \"Allow\"\nAction = \"*\"\nResource = \"*\"\n";
    let keys = [(OWNER, all), (READER, statements)].map(|(id, statements)| {
        format!("[[key]]\nid = \"{id}\"\nsecret = \"{SECRET}\"\n{statements}")
    });
    let config = EndpointConfig {
        streams: vec![("s".to_owned(), 1)],
        throughput: Throughput::Unlimited,
        auth: Some(AccessKeys::from_toml(&keys.concat()).unwrap()),
        ..EndpointConfig::default()
    };
    let endpoint = Endpoint::start(config).await.unwrap();
    let client = |id| local::client_with_key(&endpoint.url(), id, SECRET);
    let (owner, reader) = (client(OWNER), client(READER));
    (endpoint, owner, reader)
}

fn source(client: &Client, fan_out: Option<FanOut>) -> KinesisSource {
    let builder = KinesisSource::builder(client.clone(), "s").idle(Duration::from_millis(20));
    match fan_out {
        Some(consumer) => builder.fan_out(consumer).build(),
        None => builder.build(),
    }
}

/// A worker reads what is put before and after a split.
async fn reads_through_a_split(policy: &str, fan_out: Option<FanOut>) {
    let (_endpoint, owner, reader) = guarded(&statements(policy, None)).await;
    let seen = Arc::new(Mutex::new(0));
    let count = Arc::clone(&seen);
    let note = closure::batches(move |batch: &RecordBatch| {
        *count.lock().unwrap() += batch.records.len();
        Ok(())
    });
    let (table, source) = (Arc::new(MemoryLeaseTable::new()), Arc::new(source(&reader, fan_out)));
    let scheduler = Scheduler::new(Config::new("app"), table, source, note).unwrap();
    let handle = scheduler.handle();
    let running = tokio::spawn(scheduler.run());
    let are_seen = async |wanted: usize| {
        let came = async {
            while *seen.lock().unwrap() < wanted {
                assert!(!running.is_finished(), "the worker has ended");
                SystemClock.sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), came).await.expect("all are seen");
    };
    put(&owner, 0, b"before").await;
    are_seen(1).await;
    let split = owner.split_shard().stream_name("s").shard_to_split(first_shard().as_str());
    split.new_starting_hash_key((1u128 << 127).to_string()).send().await.unwrap();
    put(&owner, 0, b"after").await;
    put(&owner, u128::MAX, b"after").await;
    are_seen(3).await;
    handle.shutdown().await;
    running.await.unwrap().unwrap();
}

/// What a worker asks at a start, and of a shard.
async fn reads(source: &KinesisSource) -> Result<(), SourceError> {
    source.describe().await?;
    source.list_shards().await?;
    let mut reader = source.open(&first_shard(), ReadFrom::TrimHorizon).await?;
    let read = tokio::time::timeout(Duration::from_secs(10), reader.next(LIMIT));
    let outcome = read.await.expect("there is a record")?;
    assert!(matches!(outcome, ReadOutcome::Records { .. }), "{outcome:?}");
    Ok(())
}

async fn needs_each_action(policy: &str, fan_out: Option<FanOut>) {
    for action in actions(policy) {
        let (_endpoint, owner, reader) = guarded(&statements(policy, Some(action))).await;
        put(&owner, 0, b"x").await;
        let refused = reads(&source(&reader, fan_out.clone())).await.expect_err(action);
        assert!(matches!(refused, SourceError::Refused(_)), "{action}: {refused:?}");
        // What the service says, and what the source asks for.
        let name = action.strip_prefix("kinesis:").unwrap();
        assert!(refused.to_string().matches(name).count() >= 2, "{action}: {refused}");
    }
}

#[tokio::test]
async fn a_polling_worker_reads_with_its_policy_and_needs_each_action_of_it() {
    reads_through_a_split(POLLING, None).await;
    needs_each_action(POLLING, None).await;
}

#[tokio::test]
async fn a_fan_out_worker_reads_with_its_policy_and_needs_each_action_of_it() {
    let consumer = Some(FanOut::register("app"));
    reads_through_a_split(FAN_OUT, consumer.clone()).await;
    needs_each_action(FAN_OUT, consumer).await;
}

#[tokio::test]
async fn a_fan_out_worker_that_is_given_an_arn_registers_nothing() {
    let without = statements(FAN_OUT, Some("kinesis:RegisterStreamConsumer"));
    let (_endpoint, owner, reader) = guarded(&without).await;
    let register = owner.register_stream_consumer().consumer_name("app");
    let stream = "arn:aws:kinesis:us-east-1:000000000000:stream/s";
    let registered = register.stream_arn(stream).send().await.unwrap();
    let arn = registered.consumer.unwrap().consumer_arn;
    put(&owner, 0, b"x").await;
    reads(&source(&reader, Some(FanOut::arn(arn)))).await.unwrap();
}

#[tokio::test]
async fn a_producer_that_may_only_put_puts_each_record_by_itself() {
    let statement = "[[key.statement]]\nEffect = \"Allow\"\nAction = \"kinesis:PutRecords\"\n\
                     Resource = \"arn:aws:kinesis:us-east-1:000000000000:stream/s\"\n";
    let (_endpoint, _, putter) = guarded(statement).await;
    let options = ProducerOptions { aggregation: Aggregation::KPL, ..Default::default() };
    let sink = KinesisSink::new(&putter, "s");
    let producer = Producer::builder(Arc::new(sink)).options(options).start();
    let mut deliveries = Vec::new();
    for number in 0..20 {
        deliveries.push(producer.put(format!("key-{number}"), "x").await.unwrap());
    }
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    let metrics = producer.metrics();
    assert_eq!((metrics.put_records, metrics.stream_records), (20, 20), "{metrics:?}");
    assert!(metrics.failed_listings > 0, "{metrics:?}");
}
