//! SubscribeToShard.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::world::{SHARD, World, arn, keys};

/// The events of one subscription.
struct Events {
    stream: TcpStream,
    bytes: Vec<u8>,
}

/// One event: its headers as text, and what it carries.
struct Event {
    headers: String,
    told: Value,
}

impl Events {
    async fn open(world: &World, consumer: &str, position: Value) -> Self {
        let body = json!({"ConsumerARN": consumer, "ShardId": SHARD, "StartingPosition": position});
        let body = body.to_string();
        let request = format!(
            "POST / HTTP/1.1\r\nhost: here\r\nx-amz-target: Kinesis_20131202.SubscribeToShard\r\n\
             content-type: application/x-amz-json-1.1\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = world.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut events = Self { stream, bytes: Vec::new() };
        let head = events.until(b"\r\n\r\n").await.unwrap();
        let head = String::from_utf8(head).unwrap().to_lowercase();
        assert!(
            head.starts_with("http/1.1 200") && head.contains("application/vnd.amazon.eventstream")
        );
        let first = events.next().await.unwrap();
        assert!(first.headers.contains("initial-response"), "{}", first.headers);
        events
    }
    async fn until(&mut self, mark: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.bytes.windows(mark.len()).position(|window| window == mark) {
                return Some(self.bytes.drain(..at + mark.len()).collect());
            }
            if self.stream.read_buf(&mut self.bytes).await.unwrap() == 0 {
                return None;
            }
        }
    }
    /// The next event; none once the answer has ended.
    async fn next(&mut self) -> Option<Event> {
        let line = self.until(b"\r\n").await?;
        let length = usize::from_str_radix(std::str::from_utf8(&line).unwrap().trim(), 16).unwrap();
        while self.bytes.len() < length + 2 {
            assert_ne!(self.stream.read_buf(&mut self.bytes).await.unwrap(), 0);
        }
        let frame: Vec<u8> = self.bytes.drain(..length + 2).take(length).collect();
        if frame.is_empty() {
            return None;
        }
        let number = |at: usize| u32::from_be_bytes(frame[at..at + 4].try_into().unwrap()) as usize;
        assert_eq!(number(0), frame.len());
        assert_eq!(number(frame.len() - 4), crc32fast::hash(&frame[..frame.len() - 4]) as usize);
        let headers = String::from_utf8_lossy(&frame[12..12 + number(4)]).into_owned();
        let told = serde_json::from_slice(&frame[12 + number(4)..frame.len() - 4]).unwrap();
        Some(Event { headers, told })
    }
    /// The next event with records.
    async fn records(&mut self) -> Value {
        let event = self.next().await.unwrap();
        assert!(event.headers.contains("SubscribeToShardEvent"), "{}", event.headers);
        event.told
    }
}

async fn world() -> (World, String) {
    let world = World::new().await;
    world.stream("s", 1).await;
    let consumer = world.consumer("s", "c").await;
    (world, consumer)
}

fn from(kind: &str) -> Value {
    json!({"Type": kind})
}

#[tokio::test]
async fn records_come_as_they_are_put_with_the_place_to_go_on() {
    let (world, consumer) = world().await;
    let mut events = Events::open(&world, &consumer, from("LATEST")).await;
    let put = world.put("s", "a", "x").await;
    let event = events.records().await;
    assert_eq!(keys(&event), ["a"]);
    assert_eq!(event["ContinuationSequenceNumber"], put["SequenceNumber"]);
    assert_eq!(event["MillisBehindLatest"], 0);
    assert!(event.get("ChildShards").is_none());
}

#[tokio::test]
async fn a_subscription_begins_at_any_position() {
    let (world, consumer) = world().await;
    let mut numbers = Vec::new();
    for key in ["a", "b", "c"] {
        numbers.push(world.put("s", key, "").await["SequenceNumber"].clone());
        world.pass(Duration::from_secs(10));
    }
    let second = world.now_seconds() - 20.0;
    for (position, expected) in [
        (from("TRIM_HORIZON"), vec!["a", "b", "c"]),
        (json!({"Type": "AT_SEQUENCE_NUMBER", "SequenceNumber": numbers[1]}), vec!["b", "c"]),
        (json!({"Type": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": numbers[1]}), vec!["c"]),
        (json!({"Type": "AT_TIMESTAMP", "Timestamp": second}), vec!["b", "c"]),
    ] {
        let mut events = Events::open(&world, &consumer, position).await;
        assert_eq!(keys(&events.records().await), expected);
        world.pass(Duration::from_secs(5));
    }
}

#[tokio::test]
async fn a_quiet_subscription_says_so_every_five_seconds() {
    let (world, consumer) = world().await;
    let put = world.put("s", "a", "").await;
    let mut events = Events::open(&world, &consumer, from("LATEST")).await;
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        world.pass(Duration::from_secs(5));
        let event = events.records().await;
        assert!(keys(&event).is_empty());
        assert_eq!(event["ContinuationSequenceNumber"], put["SequenceNumber"]);
        assert_eq!(event["MillisBehindLatest"], 0);
    }
}

#[tokio::test]
async fn the_end_of_a_shard_names_its_children_and_ends_the_events() {
    let (world, consumer) = world().await;
    world.put("s", "a", "").await;
    let mut events = Events::open(&world, &consumer, from("TRIM_HORIZON")).await;
    assert_eq!(keys(&events.records().await), ["a"]);
    let split = json!({"StreamName": "s", "ShardToSplit": SHARD, "NewStartingHashKey": "5"});
    world.ok("SplitShard", split).await;
    let end = events.records().await;
    assert!(end.get("ContinuationSequenceNumber").is_none_or(Value::is_null));
    let children = end["ChildShards"].as_array().unwrap();
    assert_eq!(children.len(), 2);
    assert_eq!(children[0]["ParentShards"], json!([SHARD]));
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn a_subscription_lasts_five_minutes() {
    let (world, consumer) = world().await;
    let mut events = Events::open(&world, &consumer, from("LATEST")).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    world.pass(Duration::from_secs(300));
    while let Some(event) = events.next().await {
        assert!(event.headers.contains("SubscribeToShardEvent"));
    }
}

#[tokio::test]
async fn a_second_subscription_is_refused_for_five_seconds_and_then_takes_over() {
    let (world, consumer) = world().await;
    let mut first = Events::open(&world, &consumer, from("LATEST")).await;
    let again =
        json!({"ConsumerARN": consumer, "ShardId": SHARD, "StartingPosition": from("LATEST")});
    world.refused("SubscribeToShard", again.clone(), "ResourceInUseException").await;
    world.pass(Duration::from_millis(4999));
    world.refused("SubscribeToShard", again, "ResourceInUseException").await;
    world.pass(Duration::from_millis(1));
    let mut second = Events::open(&world, &consumer, from("LATEST")).await;
    let last = loop {
        let event = first.next().await.unwrap();
        if event.headers.contains("exception") {
            break event;
        }
    };
    assert!(last.headers.contains("ResourceInUseException"), "{}", last.headers);
    assert!(last.told["message"].is_string());
    assert!(first.next().await.is_none());
    world.put("s", "a", "").await;
    assert_eq!(keys(&second.records().await), ["a"]);
}

#[tokio::test]
async fn two_consumers_do_not_hold_each_other_up() {
    let (world, consumer) = world().await;
    let other = world.consumer("s", "d").await;
    let mut events = Events::open(&world, &consumer, from("LATEST")).await;
    let mut others = Events::open(&world, &other, from("LATEST")).await;
    world.put("s", "a", "").await;
    assert_eq!(keys(&events.records().await), ["a"]);
    assert_eq!(keys(&others.records().await), ["a"]);
}

#[tokio::test]
async fn a_deregistered_consumer_and_a_deleted_stream_end_their_subscriptions() {
    let (world, consumer) = world().await;
    let mut events = Events::open(&world, &consumer, from("LATEST")).await;
    world.ok("DeregisterStreamConsumer", json!({"ConsumerARN": consumer})).await;
    let last = events.next().await.unwrap();
    assert!(last.headers.contains("ResourceNotFoundException"), "{}", last.headers);
    assert!(events.next().await.is_none());
    let consumer = world.consumer("s", "d").await;
    let mut events = Events::open(&world, &consumer, from("LATEST")).await;
    world.ok("DeleteStream", json!({"StreamName": "s", "EnforceConsumerDeletion": true})).await;
    let last = events.next().await.unwrap();
    assert!(last.headers.contains("ResourceNotFoundException"), "{}", last.headers);
}

#[tokio::test]
async fn what_cannot_be_subscribed_to_is_refused_before_any_event() {
    let (world, consumer) = world().await;
    let ask = |more: Value| {
        let mut request = json!({"ConsumerARN": consumer, "ShardId": SHARD,
            "StartingPosition": from("LATEST")});
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        request
    };
    let nobody = format!("{}/consumer/nobody:1", arn("s"));
    for (more, error) in [
        (json!({"ConsumerARN": nobody}), "ResourceNotFoundException"),
        (json!({"ConsumerARN": "x"}), "ValidationException"),
        (json!({"ConsumerARN": null}), "ValidationException"),
        (json!({"ShardId": "shardId-000000000007"}), "ResourceNotFoundException"),
        (json!({"ShardId": null}), "ValidationException"),
        (json!({"StartingPosition": null}), "ValidationException"),
        (json!({"StartingPosition": {"Type": "OTHER"}}), "ValidationException"),
        (json!({"StartingPosition": {"Type": "AT_SEQUENCE_NUMBER"}}), "InvalidArgumentException"),
        (json!({"StartingPosition": {"Type": "AT_TIMESTAMP"}}), "InvalidArgumentException"),
        (json!({"DryRun": true}), "DryRunOperationException"),
    ] {
        world.refused("SubscribeToShard", ask(more), error).await;
    }
}

#[tokio::test]
async fn a_consumer_that_is_being_created_cannot_subscribe_yet() {
    let world = World::slow().await;
    world.stream("s", 1).await;
    world.pass(Duration::from_secs(1));
    let consumer = world.consumer("s", "c").await;
    let ask =
        json!({"ConsumerARN": consumer, "ShardId": SHARD, "StartingPosition": from("LATEST")});
    world.refused("SubscribeToShard", ask, "ResourceInUseException").await;
    world.pass(Duration::from_secs(1));
    Events::open(&world, &consumer, from("LATEST")).await;
}
