//! Rates: what a shard takes and gives in a second, and how often operations may be called.

use std::time::Duration;

use serde_json::{Value, json};

use crate::world::{SHARD, World, arn, base64};

const SECOND: Duration = Duration::from_secs(1);

async fn world(shards: u32) -> World {
    let world = World::limited().await;
    world.stream("s", shards).await;
    world
}

fn many(count: usize, bytes: usize) -> Value {
    let data = base64(&vec![0; bytes]);
    let records = vec![json!({"PartitionKey": "k", "Data": data}); count];
    json!({"StreamName": "s", "Records": records})
}

#[tokio::test]
async fn a_shard_takes_a_thousand_records_a_second() {
    let world = world(1).await;
    for _ in 0..2 {
        assert_eq!(world.ok("PutRecords", many(500, 1)).await["FailedRecordCount"], 0);
    }
    let told = world.ok("PutRecords", many(2, 1)).await;
    assert_eq!(told["FailedRecordCount"], 2);
    let refused = &told["Records"][0];
    assert_eq!(refused["ErrorCode"], "ProvisionedThroughputExceededException");
    let message =
        "Rate exceeded for shard shardId-000000000000 in stream s under account 000000000000.";
    assert_eq!(refused["ErrorMessage"], message);
    assert!(refused.get("SequenceNumber").is_none() && refused.get("ShardId").is_none());
    let one = json!({"StreamName": "s", "PartitionKey": "k", "Data": "eA=="});
    let error = "ProvisionedThroughputExceededException";
    world.refused("PutRecord", one.clone(), error).await;
    world.pass(SECOND);
    world.ok("PutRecord", one).await;
}

#[tokio::test]
async fn a_shard_takes_a_mebibyte_a_second_and_the_rest_of_a_put_is_refused() {
    let world = world(1).await;
    let told = world.ok("PutRecords", many(5, 300_000)).await;
    assert_eq!(told["FailedRecordCount"], 2);
    let codes: Vec<_> = told["Records"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it.get("ErrorCode").is_some())
        .collect();
    assert_eq!(codes, [false, false, false, true, true]);
}

#[tokio::test]
async fn one_full_shard_does_not_hold_up_another() {
    let world = world(2).await;
    for _ in 0..2 {
        world.ok("PutRecords", many(500, 1)).await;
    }
    let records = json!([{"PartitionKey": "k", "Data": ""}, {"PartitionKey": "a", "Data": ""}]);
    let told = world.ok("PutRecords", json!({"StreamName": "s", "Records": records})).await;
    assert_eq!(told["FailedRecordCount"], 1);
    assert!(told["Records"][1]["SequenceNumber"].is_string());
}

#[tokio::test]
async fn a_shard_answers_five_reads_a_second_to_all_together() {
    let world = world(1).await;
    let [one, other] = [world.whole_of("s").await, world.whole_of("s").await];
    for iterator in [&one, &other, &one, &other, &one] {
        world.read(iterator).await;
    }
    let error = "ProvisionedThroughputExceededException";
    world.refused("GetRecords", json!({"ShardIterator": other}), error).await;
    world.pass(SECOND);
    world.read(&other).await;
}

#[tokio::test]
async fn after_ten_mebibytes_a_shard_gives_nothing_for_five_seconds() {
    let world = world(1).await;
    for _ in 0..11 {
        world.ok("PutRecords", many(1, 1_000_000)).await;
        world.pass(SECOND);
    }
    let got = world.read(&world.whole_of("s").await).await;
    assert_eq!(got["Records"].as_array().unwrap().len(), 10);
    let next = json!({"ShardIterator": got["NextShardIterator"]});
    for _ in 0..4 {
        world.pass(SECOND);
        let error = "ProvisionedThroughputExceededException";
        world.refused("GetRecords", next.clone(), error).await;
    }
    world.pass(SECOND);
    let got = world.ok("GetRecords", next).await;
    assert_eq!(got["Records"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn after_more_than_two_mebibytes_a_shard_gives_nothing_for_as_long_as_they_take() {
    let world = world(1).await;
    for _ in 0..3 {
        world.ok("PutRecords", many(1, 1_000_000)).await;
        world.pass(SECOND);
    }
    let got = world.read(&world.whole_of("s").await).await;
    assert_eq!(got["Records"].as_array().unwrap().len(), 3);
    let next = json!({"ShardIterator": got["NextShardIterator"]});
    world.pass(SECOND);
    world.refused("GetRecords", next.clone(), "ProvisionedThroughputExceededException").await;
    world.pass(SECOND);
    world.ok("GetRecords", next).await;
}

#[tokio::test]
async fn a_shard_gives_five_iterators_a_second() {
    let world = world(2).await;
    let of =
        |shard: &str| json!({"StreamName": "s", "ShardId": shard, "ShardIteratorType": "LATEST"});
    for _ in 0..5 {
        world.ok("GetShardIterator", of(SHARD)).await;
    }
    let error = "ProvisionedThroughputExceededException";
    world.refused("GetShardIterator", of(SHARD), error).await;
    world.ok("GetShardIterator", of("shardId-000000000001")).await;
    world.pass(SECOND);
    world.ok("GetShardIterator", of(SHARD)).await;
}

#[tokio::test]
async fn operations_on_streams_have_their_rates() {
    let world = world(1).await;
    world.pass(SECOND);
    let s = json!({"StreamName": "s"});
    for (operation, request, most) in [
        ("ListStreams", json!({}), 5),
        ("DescribeStream", s.clone(), 10),
        ("DescribeStreamSummary", s.clone(), 20),
        ("DescribeLimits", json!({}), 1),
        ("DescribeAccountSettings", json!({}), 5),
        ("ListTagsForStream", s.clone(), 5),
        ("AddTagsToStream", json!({"StreamName": "s", "Tags": {"k": "v"}}), 5),
        ("ListStreamConsumers", json!({"StreamARN": arn("s")}), 5),
        ("ListShards", s.clone(), 1000),
    ] {
        for _ in 0..most {
            world.ok(operation, request.clone()).await;
        }
        let told = world.refused(operation, request.clone(), "LimitExceededException").await;
        assert!(told.starts_with(&format!("Rate exceeded for {operation}")), "{told}");
        world.pass(SECOND);
        world.ok(operation, request).await;
    }
}

#[tokio::test]
async fn operations_that_change_streams_have_their_rates_also_where_they_are_refused() {
    let world = world(1).await;
    let consumer = world.consumer("s", "c").await;
    world.pass(SECOND);
    let named = |more: Value| {
        let mut request = json!({"StreamName": "s"});
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        request
    };
    let other = "shardId-000000000007";
    let committed = json!({"MinimumThroughputBillingCommitment": {"Status": "ENABLED"}});
    for (operation, request, most) in [
        ("CreateStream", named(json!({"ShardCount": 1})), 5),
        ("DeleteStream", json!({"StreamName": "nowhere"}), 5),
        ("SplitShard", named(json!({"ShardToSplit": other, "NewStartingHashKey": "5"})), 5),
        ("MergeShards", named(json!({"ShardToMerge": other, "AdjacentShardToMerge": SHARD})), 5),
        (
            "UpdateShardCount",
            named(json!({"TargetShardCount": 9, "ScalingType": "UNIFORM_SCALING"})),
            10,
        ),
        ("RemoveTagsFromStream", named(json!({"TagKeys": ["k"]})), 5),
        ("RegisterStreamConsumer", json!({"StreamARN": arn("s"), "ConsumerName": "c"}), 5),
        ("DeregisterStreamConsumer", json!({"StreamARN": arn("s"), "ConsumerName": "d"}), 5),
        ("DescribeStreamConsumer", json!({"ConsumerARN": consumer}), 20),
        ("UpdateAccountSettings", committed, 5),
        ("UpdateStreamWarmThroughput", named(json!({"WarmThroughputMiBps": 1})), 5),
    ] {
        let rate = format!("Rate exceeded for {operation}");
        let is_over = async || {
            let told = world.call(operation, request.clone()).await.json();
            let over = told["message"].as_str().is_some_and(|told| told.starts_with(&rate));
            assert!(!over || told["__type"] == "LimitExceededException", "{told}");
            over
        };
        for number in 0..most {
            assert!(!is_over().await, "{operation} {number}");
        }
        assert!(is_over().await, "{operation}");
        world.pass(SECOND);
        assert!(!is_over().await, "{operation} a second later");
    }
}

#[tokio::test]
async fn five_streams_are_made_in_a_second_and_a_wrong_request_does_not_count() {
    let world = World::limited().await;
    let wrong = json!({"StreamName": "a b", "ShardCount": 1});
    world.refused("CreateStream", wrong, "ValidationException").await;
    for number in 0..5 {
        world.stream(&format!("s{number}"), 1).await;
    }
    let sixth = json!({"StreamName": "s5", "ShardCount": 1});
    world.refused("CreateStream", sixth.clone(), "LimitExceededException").await;
    world.pass(SECOND);
    world.ok("CreateStream", sixth).await;
}

#[tokio::test]
async fn without_limits_nothing_is_counted() {
    let world = World::new().await;
    world.stream("s", 1).await;
    for _ in 0..30 {
        world.summary("s").await;
        world.whole_of("s").await;
        assert_eq!(world.ok("PutRecords", many(500, 1)).await["FailedRecordCount"], 0);
    }
}
