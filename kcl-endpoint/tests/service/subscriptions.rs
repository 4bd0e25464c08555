//! SubscribeToShard.

use std::time::Duration;

use serde_json::{Value, json};

use crate::events::{Encoding, Events};
use crate::world::{SHARD, START, World, arn, base64, keys};

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
async fn a_subscription_lasts_five_minutes_and_no_longer() {
    let (world, consumer) = world().await;
    let mut events = Events::open(&world, &consumer, from("LATEST")).await;
    for _ in 0..59 {
        world.pass(Duration::from_secs(5));
        assert!(keys(&events.records().await).is_empty());
    }
    world.pass(Duration::from_millis(4999));
    world.put("s", "a", "").await;
    assert_eq!(keys(&events.records().await), ["a"], "a millisecond before the end");
    world.pass(Duration::from_millis(1));
    assert!(events.next().await.is_none());
}

/// Puts a record of 600,000 bytes, of which an event takes one.
async fn put_large(world: &World, key: &str) {
    let data = base64(&vec![0; 600_000]);
    let put = json!({"StreamName": "s", "PartitionKey": key, "Data": data});
    world.ok("PutRecord", put).await;
}

#[tokio::test]
async fn an_event_tells_how_far_its_last_record_is_behind() {
    let (world, consumer) = world().await;
    for key in ["a", "b", "c"] {
        put_large(&world, key).await;
        world.pass(Duration::from_secs(10));
    }
    world.pass(Duration::from_millis(7));
    let mut events = Events::open(&world, &consumer, from("TRIM_HORIZON")).await;
    for (key, behind) in [("a", 30_007), ("b", 20_007), ("c", 0)] {
        let event = events.records().await;
        assert_eq!(
            (keys(&event), &event["MillisBehindLatest"]),
            (vec![key.into()], &json!(behind))
        );
    }
}

#[tokio::test]
async fn events_are_in_cbor_for_who_asks_in_cbor() {
    let (world, consumer) = world().await;
    world.put("s", "a", "x").await;
    let put = world.put("s", "b", "\0\u{1}").await;
    let open = || Events::open_in(Encoding::Cbor, &world, &consumer, from("TRIM_HORIZON"));
    let mut events = open().await;
    let event = events.records().await;
    assert_eq!(keys(&event), ["a", "b"]);
    let last = json!({"PartitionKey": "b", "Data": {"bytes": [0, 1]},
        "SequenceNumber": put["SequenceNumber"],
        "ApproximateArrivalTimestamp": {"tag": [1, START]}});
    assert_eq!(event["Records"][1], last);
    assert_eq!(event["ContinuationSequenceNumber"], put["SequenceNumber"]);
    assert_eq!(event["MillisBehindLatest"], 0);
    world.pass(Duration::from_secs(5));
    assert_eq!(events.records().await["Records"], json!([]));
    let mut second = open().await;
    let over = events.next().await.unwrap();
    assert!(over.headers.contains("exception") && over.headers.contains("ResourceInUseException"));
    assert_eq!(over.told["message"], "Another subscription of this consumer took over.");
    assert!(events.next().await.is_none());
    assert_eq!(keys(&second.records().await), ["a", "b"]);
    let split = json!({"StreamName": "s", "ShardToSplit": SHARD, "NewStartingHashKey": "5"});
    world.ok("SplitShard", split).await;
    let end = second.records().await;
    assert!(end.get("ContinuationSequenceNumber").is_none_or(Value::is_null));
    let child = json!({"ShardId": "shardId-000000000001", "ParentShards": [SHARD],
        "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": "4"}});
    assert_eq!(end["ChildShards"][0], child);
    assert!(second.next().await.is_none());
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
async fn each_consumer_has_two_mebibytes_a_second_of_its_own() {
    let world = World::limited().await;
    world.stream("s", 1).await;
    let consumers = [world.consumer("s", "c").await, world.consumer("s", "d").await];
    for key in ["a", "b", "c", "d", "e"] {
        put_large(&world, key).await;
        world.pass(Duration::from_secs(1));
    }
    let mut all = Vec::new();
    for consumer in &consumers {
        let mut events = Events::open(&world, consumer, from("TRIM_HORIZON")).await;
        // On a clock that stands: what is beyond the rate after these waits.
        for key in ["a", "b", "c", "d"] {
            assert_eq!(keys(&events.records().await), [key]);
        }
        all.push(events);
    }
    world.pass(Duration::from_millis(145));
    for events in &mut all {
        assert_eq!(keys(&events.records().await), ["e"]);
    }
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
