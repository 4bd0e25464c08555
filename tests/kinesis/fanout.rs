//! Enhanced fan-out through the real client.

use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::error::ProvideErrorMetadata;
use aws_sdk_kinesis::operation::subscribe_to_shard::SubscribeToShardOutput;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{
    ConsumerStatus, ShardIteratorType, StartingPosition, SubscribeToShardEvent,
    SubscribeToShardEventStream,
};

use crate::local::{self, Forward};

const ARN: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/s";
const SHARD: &str = "shardId-000000000000";

async fn register(client: &Client, name: &str) -> String {
    let registered = client.register_stream_consumer().stream_arn(ARN).consumer_name(name);
    registered.send().await.unwrap().consumer.unwrap().consumer_arn
}

fn position(kind: ShardIteratorType, sequence: Option<&str>) -> StartingPosition {
    let position = StartingPosition::builder().r#type(kind);
    position.set_sequence_number(sequence.map(str::to_owned)).build().unwrap()
}

/// A subscription, or the name of the error.
async fn subscribe(
    client: &Client,
    consumer: &str,
    shard: &str,
    position: StartingPosition,
) -> Result<SubscribeToShardOutput, String> {
    let subscribe = client.subscribe_to_shard().consumer_arn(consumer).shard_id(shard);
    let subscribed = subscribe.starting_position(position).send().await;
    subscribed.map_err(|error| error.code().unwrap_or_default().to_owned())
}

async fn from_start(client: &Client, consumer: &str, shard: &str) -> SubscribeToShardOutput {
    let position = position(ShardIteratorType::TrimHorizon, None);
    subscribe(client, consumer, shard, position).await.unwrap()
}

async fn next(output: &mut SubscribeToShardOutput) -> Option<SubscribeToShardEvent> {
    match output.event_stream.recv().await.unwrap()? {
        SubscribeToShardEventStream::SubscribeToShardEvent(event) => Some(event),
        other => panic!("{other:?}"),
    }
}

async fn put(client: &Client, text: &str) {
    let put = client.put_record().stream_name("s").partition_key("k").explicit_hash_key("0");
    put.data(Blob::new(text)).send().await.unwrap();
}

fn texts(event: &SubscribeToShardEvent) -> Vec<String> {
    let text = |blob: &Blob| String::from_utf8(blob.as_ref().to_vec()).unwrap();
    event.records().iter().map(|record| text(record.data())).collect()
}

#[tokio::test]
async fn a_consumer_lives_from_register_to_deregister() {
    let second = Duration::from_secs(1);
    let (endpoint, clock) = local::limited(1, second).await;
    let client = local::client(&endpoint);
    let registered = client.register_stream_consumer().stream_arn(ARN).consumer_name("one");
    let consumer = registered.clone().send().await.unwrap().consumer.unwrap();
    assert_eq!(consumer.consumer_status, ConsumerStatus::Creating);
    assert!(consumer.consumer_arn.starts_with(&format!("{ARN}/consumer/one:")), "{consumer:?}");
    let again = registered.send().await.unwrap_err();
    assert_eq!(again.code(), Some("ResourceInUseException"));
    let start = position(ShardIteratorType::Latest, None);
    let early = subscribe(&client, &consumer.consumer_arn, SHARD, start.clone()).await;
    assert_eq!(early.unwrap_err(), "ResourceInUseException", "it is not ACTIVE yet");
    clock.by(second);
    for described in [
        client.describe_stream_consumer().consumer_arn(&consumer.consumer_arn),
        client.describe_stream_consumer().stream_arn(ARN).consumer_name("one"),
    ] {
        let described = described.send().await.unwrap().consumer_description.unwrap();
        assert_eq!(described.consumer_status, ConsumerStatus::Active);
        assert_eq!(described.stream_arn, ARN);
    }
    register(&client, "two").await;
    let page = client.list_stream_consumers().stream_arn(ARN).max_results(1).send().await.unwrap();
    assert_eq!(page.consumers()[0].consumer_name, "one");
    let rest = client.list_stream_consumers().stream_arn(ARN).set_next_token(page.next_token);
    assert_eq!(rest.send().await.unwrap().consumers()[0].consumer_name, "two");
    let refused = client.delete_stream().stream_name("s").send().await.unwrap_err();
    assert_eq!(refused.code(), Some("ResourceInUseException"), "it has consumers");
    let arn = &consumer.consumer_arn;
    client.deregister_stream_consumer().consumer_arn(arn).send().await.unwrap();
    let described = client.describe_stream_consumer().consumer_arn(arn).send().await.unwrap();
    let status = described.consumer_description.unwrap().consumer_status;
    assert_eq!(status, ConsumerStatus::Deleting);
    clock.by(second);
    let gone = client.describe_stream_consumer().consumer_arn(arn).send().await.unwrap_err();
    assert_eq!(gone.code(), Some("ResourceNotFoundException"));
}

#[tokio::test]
async fn a_stream_has_at_most_twenty_consumers() {
    let endpoint = local::endpoint(1).await;
    let client = local::client(&endpoint);
    for number in 0..20 {
        register(&client, &format!("c{number}")).await;
    }
    let above = client.register_stream_consumer().stream_arn(ARN).consumer_name("above");
    assert_eq!(above.send().await.unwrap_err().code(), Some("LimitExceededException"));
    let summary = client.describe_stream_summary().stream_name("s").send().await.unwrap();
    assert_eq!(summary.stream_description_summary.unwrap().consumer_count, Some(20));
}

#[tokio::test]
async fn events_come_as_records_arrive_and_a_continuation_resumes_after_them() {
    let (endpoint, clock) = local::limited(1, Duration::ZERO).await;
    let client = local::client(&endpoint);
    let consumer = register(&client, "c").await;
    put(&client, "a").await;
    let mut output = from_start(&client, &consumer, SHARD).await;
    let first = next(&mut output).await.unwrap();
    assert_eq!((texts(&first), first.millis_behind_latest), (vec!["a".to_owned()], 0));
    assert_eq!(first.continuation_sequence_number, first.records()[0].sequence_number);
    put(&client, "b").await;
    assert_eq!(texts(&next(&mut output).await.unwrap()), ["b"]);
    // Idle: an event without records every five seconds, with the place to go on.
    clock.by(Duration::from_secs(5));
    let idle = next(&mut output).await.unwrap();
    assert_eq!((texts(&idle).len(), idle.millis_behind_latest), (0, 0));
    put(&client, "c").await;
    assert_eq!(texts(&next(&mut output).await.unwrap()), ["c"]);
    for (kind, expected) in [
        (ShardIteratorType::AfterSequenceNumber, &["c"][..]),
        (ShardIteratorType::AtSequenceNumber, &["b", "c"][..]),
    ] {
        clock.by(Duration::from_secs(5));
        let place = position(kind, Some(&idle.continuation_sequence_number));
        let mut resumed = subscribe(&client, &consumer, SHARD, place).await.unwrap();
        assert_eq!(texts(&next(&mut resumed).await.unwrap()), expected);
    }
}

#[tokio::test]
async fn an_idle_subscription_to_an_empty_shard_has_a_place_to_go_on() {
    let (endpoint, clock) = local::limited(1, Duration::ZERO).await;
    let client = local::client(&endpoint);
    let consumer = register(&client, "c").await;
    let latest = position(ShardIteratorType::Latest, None);
    let mut output = subscribe(&client, &consumer, SHARD, latest).await.unwrap();
    clock.by(Duration::from_secs(5));
    let idle = next(&mut output).await.unwrap();
    put(&client, "a").await;
    clock.by(Duration::from_secs(5));
    let place = &idle.continuation_sequence_number;
    let after = position(ShardIteratorType::AfterSequenceNumber, Some(place));
    let mut resumed = subscribe(&client, &consumer, SHARD, after).await.unwrap();
    assert_eq!(texts(&next(&mut resumed).await.unwrap()), ["a"]);
}

#[tokio::test]
async fn a_second_subscription_is_refused_for_five_seconds_and_then_takes_over() {
    let (endpoint, clock) = local::limited(1, Duration::ZERO).await;
    let client = local::client(&endpoint);
    let (consumer, other) = (register(&client, "c").await, register(&client, "d").await);
    let mut first = from_start(&client, &consumer, SHARD).await;
    let latest = position(ShardIteratorType::Latest, None);
    let early = subscribe(&client, &consumer, SHARD, latest.clone()).await;
    assert_eq!(early.unwrap_err(), "ResourceInUseException");
    // Another consumer has subscriptions of its own.
    subscribe(&client, &other, SHARD, latest).await.unwrap();
    clock.by(Duration::from_secs(5));
    let mut second = from_start(&client, &consumer, SHARD).await;
    loop {
        match first.event_stream.recv().await {
            // The idle event of the five seconds.
            Ok(Some(_)) => {}
            Ok(None) => panic!("it ended without a word"),
            Err(error) => {
                let error = error.into_service_error();
                assert!(error.is_resource_in_use_exception(), "{error:?}");
                break;
            }
        }
    }
    put(&client, "a").await;
    assert_eq!(texts(&next(&mut second).await.unwrap()), ["a"]);
}

#[tokio::test]
async fn a_subscription_lasts_five_minutes_and_less_if_its_consumer_goes() {
    let (endpoint, clock) = local::limited(2, Duration::ZERO).await;
    let client = local::client(&endpoint);
    let consumer = register(&client, "c").await;
    let mut output = from_start(&client, &consumer, SHARD).await;
    clock.by(Duration::from_secs(300));
    while next(&mut output).await.is_some() {}
    let mut output = from_start(&client, &consumer, SHARD).await;
    client.deregister_stream_consumer().consumer_arn(&consumer).send().await.unwrap();
    let error = output.event_stream.recv().await.unwrap_err().into_service_error();
    assert!(error.is_resource_not_found_exception(), "{error:?}");
}

/// Every record of a shard, and the children at its end.
async fn drain(client: &Client, consumer: &str, shard: &str) -> (Vec<String>, Vec<String>) {
    let mut output = from_start(client, consumer, shard).await;
    let mut data = Vec::new();
    let mut children = Vec::new();
    while let Some(event) = next(&mut output).await {
        data.extend(texts(&event));
        children.extend(event.child_shards().iter().map(|child| child.shard_id.clone()));
        // The client turns none into an empty text.
        assert_eq!(event.continuation_sequence_number.is_empty(), !children.is_empty());
    }
    (data, children)
}

#[tokio::test]
async fn fan_out_follows_a_split_and_a_merge_to_the_children() {
    let endpoint = local::endpoint(1).await;
    let client = local::client(&endpoint);
    let consumer = register(&client, "c").await;
    put(&client, "a").await;
    let split = client.split_shard().stream_name("s").shard_to_split(SHARD);
    split.new_starting_hash_key("1000").send().await.unwrap();
    put(&client, "b").await;
    let lower = "shardId-000000000001";
    let merge = client.merge_shards().stream_name("s").shard_to_merge(lower);
    merge.adjacent_shard_to_merge("shardId-000000000002").send().await.unwrap();
    put(&client, "c").await;
    let (data, children) = drain(&client, &consumer, SHARD).await;
    assert_eq!(data, ["a"]);
    assert_eq!(children, [lower, "shardId-000000000002"]);
    let (data, children) = drain(&client, &consumer, lower).await;
    assert_eq!(
        (&data[..], &children[..]),
        (&["b".into()][..], &["shardId-000000000003".into()][..])
    );
    let mut last = from_start(&client, &consumer, "shardId-000000000003").await;
    assert_eq!(texts(&next(&mut last).await.unwrap()), ["c"]);
}

#[tokio::test]
async fn a_waiting_subscription_learns_of_the_end_of_its_shard() {
    let endpoint = local::endpoint(1).await;
    let client = local::client(&endpoint);
    let consumer = register(&client, "c").await;
    let mut output = from_start(&client, &consumer, SHARD).await;
    let split = client.split_shard().stream_name("s").shard_to_split(SHARD);
    split.new_starting_hash_key("1000").send().await.unwrap();
    let end = next(&mut output).await.unwrap();
    assert_eq!(end.child_shards().len(), 2);
    assert!(next(&mut output).await.is_none());
}

async fn put_large(client: &Client, clock: &Forward, bytes: usize) {
    clock.by(Duration::from_secs(2));
    let put =
        client.put_record().stream_name("s").partition_key("k").data(Blob::new(vec![0; bytes]));
    put.send().await.unwrap();
}

#[tokio::test]
async fn a_subscription_gets_two_mebibytes_a_second() {
    let (endpoint, clock) = local::limited(1, Duration::ZERO).await;
    let client = local::client(&endpoint);
    let consumer = register(&client, "c").await;
    for _ in 0..4 {
        put_large(&client, &clock, 1_000_000).await;
    }
    let mut output = from_start(&client, &consumer, SHARD).await;
    // A second's worth comes at once, and the one that passes it; the next waits.
    let mut got = 0;
    while got < 3 {
        got += next(&mut output).await.unwrap().records().len();
    }
    let waits = tokio::time::timeout(Duration::from_millis(50), next(&mut output));
    assert!(waits.await.is_err(), "the rate is used up");
    clock.by(Duration::from_secs(1));
    assert_eq!(next(&mut output).await.unwrap().records().len(), 1);
}

#[tokio::test]
async fn wrong_subscriptions_are_refused_before_any_event() {
    let endpoint = local::endpoint(1).await;
    let client = local::client(&endpoint);
    let consumer = register(&client, "c").await;
    let start = || position(ShardIteratorType::TrimHorizon, None);
    let unknown = consumer.replace("/c:", "/d:");
    for (consumer, shard, place, expected) in [
        (unknown.as_str(), SHARD, start(), "ResourceNotFoundException"),
        (&consumer, "shardId-000000000009", start(), "ResourceNotFoundException"),
        ("arn:aws:kinesis:x", SHARD, start(), "ValidationException"),
        (
            &consumer,
            SHARD,
            position(ShardIteratorType::AtSequenceNumber, Some("12")),
            "InvalidArgumentException",
        ),
    ] {
        let refused = subscribe(&client, consumer, shard, place).await;
        assert_eq!(refused.unwrap_err(), expected, "{consumer} {shard}");
    }
    let dry = client.subscribe_to_shard().consumer_arn(&consumer).shard_id(SHARD).dry_run(true);
    let dry = dry.starting_position(start()).send().await.unwrap_err();
    assert_eq!(dry.code(), Some("DryRunOperationException"));
}
