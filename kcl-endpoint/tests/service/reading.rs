//! GetShardIterator and GetRecords.

use std::time::Duration;

use serde_json::{Value, json};

use crate::world::{HOUR, SHARD, START, World, arn, base64, keys};

/// A stream of one shard with the records a, b and c, a second apart, and their numbers.
async fn three() -> (World, Vec<String>) {
    let world = World::new().await;
    world.stream("s", 1).await;
    let mut numbers = Vec::new();
    for key in ["a", "b", "c"] {
        let put = world.put("s", key, key).await;
        numbers.push(put["SequenceNumber"].as_str().unwrap().to_owned());
        world.pass(Duration::from_secs(1));
    }
    (world, numbers)
}

#[tokio::test]
async fn each_type_of_iterator_begins_where_it_says() {
    let (world, numbers) = three().await;
    let second = START as f64 / 1000.0 + 1.0;
    let at = |kind: &str| json!({"ShardIteratorType": kind, "StartingSequenceNumber": numbers[1]});
    let time = |seconds: f64| json!({"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": seconds});
    for (request, expected) in [
        (json!({"ShardIteratorType": "TRIM_HORIZON"}), vec!["a", "b", "c"]),
        (json!({"ShardIteratorType": "LATEST"}), vec![]),
        (at("AT_SEQUENCE_NUMBER"), vec!["b", "c"]),
        (at("AFTER_SEQUENCE_NUMBER"), vec!["c"]),
        (time(second), vec!["b", "c"]),
        (time(second + 0.001), vec!["c"]),
        (time(1.0), vec!["a", "b", "c"]),
        (time(second + 2.0), vec![]),
    ] {
        let iterator = world.iterator("s", request.clone()).await;
        assert_eq!(world.keys(&iterator).await, expected, "{request}");
    }
}

#[tokio::test]
async fn latest_is_fixed_when_the_iterator_is_given_out() {
    let (world, _) = three().await;
    let iterator = world.iterator("s", json!({"ShardIteratorType": "LATEST"})).await;
    world.put("s", "d", "").await;
    assert_eq!(world.keys(&iterator).await, ["d"]);
}

#[tokio::test]
async fn what_an_iterator_needs_is_asked_for() {
    let (world, _) = three().await;
    let ask = |more: Value| {
        let mut request = json!({"StreamName": "s", "ShardId": SHARD});
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        request
    };
    for (more, error) in [
        (json!({"ShardIteratorType": "AT_SEQUENCE_NUMBER"}), "InvalidArgumentException"),
        (json!({"ShardIteratorType": "AFTER_SEQUENCE_NUMBER"}), "InvalidArgumentException"),
        (json!({"ShardIteratorType": "AT_TIMESTAMP"}), "InvalidArgumentException"),
        (
            json!({"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": world.now_seconds() + 60.0}),
            "InvalidArgumentException",
        ),
        (
            json!({"ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": "5"}),
            "InvalidArgumentException",
        ),
        (json!({"ShardIteratorType": "SOMEWHERE"}), "ValidationException"),
        (json!({}), "ValidationException"),
        (json!({"ShardIteratorType": "LATEST", "ShardId": null}), "ValidationException"),
        (
            json!({"ShardIteratorType": "LATEST", "ShardId": "shardId-000000000009"}),
            "ResourceNotFoundException",
        ),
        (json!({"ShardIteratorType": "LATEST", "ShardId": "x"}), "ResourceNotFoundException"),
        (json!({"ShardIteratorType": "LATEST", "StreamName": "t"}), "ResourceNotFoundException"),
    ] {
        world.refused("GetShardIterator", ask(more), error).await;
    }
}

#[tokio::test]
async fn a_record_comes_with_everything_that_is_known_of_it() {
    let (world, numbers) = three().await;
    let got = world.read(&world.whole_of("s").await).await;
    let record = &got["Records"][1];
    assert_eq!(record["SequenceNumber"], numbers[1].as_str());
    assert_eq!(record["Data"], base64(b"b"));
    assert_eq!(record["PartitionKey"], "b");
    let arrival = record["ApproximateArrivalTimestamp"].as_f64().unwrap();
    assert!((arrival - (START as f64 / 1000.0 + 1.0)).abs() < 0.0005, "{arrival}");
    assert!(record.get("EncryptionType").is_none(), "it is not encrypted");
    assert!(got["NextShardIterator"].is_string() && got.get("ChildShards").is_none());
}

#[tokio::test]
async fn the_next_iterator_goes_on_and_an_old_one_reads_again() {
    let (world, _) = three().await;
    let first = world.whole_of("s").await;
    let got = world.ok("GetRecords", json!({"ShardIterator": first, "Limit": 2})).await;
    assert_eq!(keys(&got), ["a", "b"]);
    assert_eq!(world.keys(got["NextShardIterator"].as_str().unwrap()).await, ["c"]);
    assert_eq!(world.keys(&first).await, ["a", "b", "c"]);
}

#[tokio::test]
async fn how_far_behind_a_reader_is_is_told() {
    let (world, _) = three().await;
    let first = world.whole_of("s").await;
    let got = world.ok("GetRecords", json!({"ShardIterator": first, "Limit": 1})).await;
    assert_eq!(got["MillisBehindLatest"], 3000);
    let got = world.read(&first).await;
    assert_eq!(got["MillisBehindLatest"], 0);
    let got = world.read(got["NextShardIterator"].as_str().unwrap()).await;
    assert_eq!(
        (got["Records"].as_array().unwrap().len(), &got["MillisBehindLatest"]),
        (0, &json!(0))
    );
}

#[tokio::test]
async fn a_read_has_1_to_10000_records() {
    let (world, _) = three().await;
    let iterator = world.whole_of("s").await;
    for (bad, error) in [
        (0, "ValidationException"),
        (-1, "ValidationException"),
        (10_001, "InvalidArgumentException"),
        (i32::MAX, "InvalidArgumentException"),
    ] {
        let request = json!({"ShardIterator": iterator, "Limit": bad});
        world.refused("GetRecords", request, error).await;
    }
    world.ok("GetRecords", json!({"ShardIterator": iterator, "Limit": 10_000})).await;
}

#[tokio::test]
async fn a_read_has_ten_mebibytes_at_most() {
    let world = World::new().await;
    world.stream("s", 1).await;
    let data = base64(&vec![0; 1_000_000]);
    for _ in 0..2 {
        let records = vec![json!({"PartitionKey": "k", "Data": data}); 6];
        world.ok("PutRecords", json!({"StreamName": "s", "Records": records})).await;
    }
    let got = world.read(&world.whole_of("s").await).await;
    assert_eq!(got["Records"].as_array().unwrap().len(), 10);
    let rest = world.read(got["NextShardIterator"].as_str().unwrap()).await;
    assert_eq!(rest["Records"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn an_iterator_is_good_for_five_minutes() {
    let (world, _) = three().await;
    let iterator = world.whole_of("s").await;
    world.pass(Duration::from_secs(300));
    assert_eq!(world.keys(&iterator).await.len(), 3);
    world.pass(Duration::from_millis(1));
    let request = json!({"ShardIterator": iterator});
    world.refused("GetRecords", request, "ExpiredIteratorException").await;
}

#[tokio::test]
async fn an_iterator_is_not_made_by_hand_and_is_of_one_stream() {
    let (world, _) = three().await;
    let iterator = world.whole_of("s").await;
    assert!(iterator.len() <= 512);
    let mut forged = iterator.clone().into_bytes();
    forged[10] ^= 1;
    for bad in ["AAAA", &"A".repeat(200), &String::from_utf8(forged).unwrap(), "ä"] {
        let request = json!({"ShardIterator": bad});
        world.refused("GetRecords", request, "InvalidArgumentException").await;
    }
    for bad in ["", &"A".repeat(513)] {
        world.refused("GetRecords", json!({"ShardIterator": bad}), "ValidationException").await;
    }
    world.ok("GetRecords", json!({"ShardIterator": iterator, "StreamARN": arn("s")})).await;
    let other = json!({"ShardIterator": iterator, "StreamARN": arn("t")});
    world.refused("GetRecords", other, "InvalidArgumentException").await;
    world.ok("DeleteStream", json!({"StreamName": "s"})).await;
    let gone = json!({"ShardIterator": iterator});
    world.refused("GetRecords", gone.clone(), "ResourceNotFoundException").await;
    world.stream("s", 1).await;
    world.refused("GetRecords", gone, "InvalidArgumentException").await;
}

#[tokio::test]
async fn a_record_is_kept_for_the_retention() {
    let (world, numbers) = three().await;
    world.pass(24 * HOUR - Duration::from_secs(3));
    assert_eq!(world.keys(&world.whole_of("s").await).await, ["b", "c"]);
    let gone =
        json!({"ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": numbers[0]});
    let oldest = world.iterator("s", gone).await;
    assert_eq!(world.keys(&oldest).await, ["b", "c"], "from the trim horizon");
}
