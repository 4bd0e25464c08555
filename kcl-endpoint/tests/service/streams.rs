//! Streams: made, described, listed, removed.

use std::time::Duration;

use serde_json::json;

use crate::world::{SHARD, START, World, arn};

#[tokio::test]
async fn a_new_stream_is_creating_and_then_active() {
    let world = World::slow().await;
    world.stream("s", 1).await;
    assert_eq!(world.status("s").await, "CREATING");
    world.pass(Duration::from_secs(1));
    assert_eq!(world.status("s").await, "ACTIVE");
}

#[tokio::test]
async fn a_stream_that_is_being_created_takes_and_gives_no_records() {
    let world = World::slow().await;
    world.stream("s", 1).await;
    let put = json!({"StreamName": "s", "PartitionKey": "k", "Data": "eA=="});
    world.refused("PutRecord", put, "ResourceNotFoundException").await;
    let shard = "shardId-000000000000";
    let iterator = json!({"StreamName": "s", "ShardId": shard, "ShardIteratorType": "LATEST"});
    world.refused("GetShardIterator", iterator, "ResourceNotFoundException").await;
}

#[tokio::test]
async fn the_name_of_a_stream_is_taken_once() {
    let world = World::new().await;
    world.stream("s", 1).await;
    let again = json!({"StreamName": "s", "ShardCount": 1});
    let told = world.refused("CreateStream", again, "ResourceInUseException").await;
    assert!(told.contains('s'), "{told}");
}

#[tokio::test]
async fn a_name_has_1_to_128_of_few_characters() {
    let world = World::new().await;
    world.stream(&"a".repeat(128), 1).await;
    world.stream("A_z.0-9", 1).await;
    for bad in ["", "a b", "a/b", "ä", &"a".repeat(129)] {
        let request = json!({"StreamName": bad, "ShardCount": 1});
        world.refused("CreateStream", request, "ValidationException").await;
    }
}

#[tokio::test]
async fn a_provisioned_stream_needs_a_number_of_shards() {
    let world = World::new().await;
    for count in [json!(0), json!(-1), json!(null)] {
        let request = json!({"StreamName": "s", "ShardCount": count});
        world.refused("CreateStream", request, "ValidationException").await;
    }
    let request = json!({"StreamName": "s", "ShardCount": 20_001});
    world.refused("CreateStream", request, "LimitExceededException").await;
}

#[tokio::test]
async fn provisioned_streams_have_twenty_thousand_open_shards_together() {
    let world = World::new().await;
    for (name, shards) in [("r", 10_000), ("s", 9_998), ("t", 2)] {
        world.stream(name, shards).await;
    }
    let scale = json!({"StreamName": "t", "TargetShardCount": 3, "ScalingType": "UNIFORM_SCALING"});
    for (operation, request) in [
        ("CreateStream", json!({"StreamName": "u", "ShardCount": 1})),
        (
            "SplitShard",
            json!({"StreamName": "t", "ShardToSplit": SHARD, "NewStartingHashKey": "5"}),
        ),
        ("UpdateShardCount", scale),
    ] {
        let told = world.refused(operation, request, "LimitExceededException").await;
        assert!(told.contains("20000. Limit: 20000."), "{operation}: {told}");
    }
    let on_demand = json!({"StreamMode": "ON_DEMAND"});
    world.ok("CreateStream", json!({"StreamName": "o", "StreamModeDetails": on_demand})).await;
    let merge = json!({"StreamName": "t", "ShardToMerge": SHARD,
        "AdjacentShardToMerge": "shardId-000000000001"});
    world.ok("MergeShards", merge).await;
    world.stream("u", 1).await;
}

#[tokio::test]
async fn an_on_demand_stream_begins_with_four_shards() {
    let world = World::new().await;
    let request = json!({"StreamName": "s", "StreamModeDetails": {"StreamMode": "ON_DEMAND"}});
    world.ok("CreateStream", request).await;
    let summary = world.summary("s").await;
    assert_eq!(summary["OpenShardCount"], 4);
    assert_eq!(summary["StreamModeDetails"]["StreamMode"], "ON_DEMAND");
}

#[tokio::test]
async fn at_most_five_streams_are_creating_at_once() {
    let world = World::slow().await;
    for number in 0..5 {
        world.stream(&format!("s{number}"), 1).await;
    }
    let sixth = json!({"StreamName": "s6", "ShardCount": 1});
    world.refused("CreateStream", sixth.clone(), "LimitExceededException").await;
    world.pass(Duration::from_secs(1));
    world.ok("CreateStream", sixth).await;
}

#[tokio::test]
async fn create_stream_takes_tags_and_a_record_size() {
    let world = World::new().await;
    let request = json!({"StreamName": "s", "ShardCount": 1, "Tags": {"team": "a"},
        "MaxRecordSizeInKiB": 2048});
    world.ok("CreateStream", request).await;
    assert_eq!(world.summary("s").await["MaxRecordSizeInKiB"], 2048);
    let tags = world.ok("ListTagsForStream", json!({"StreamName": "s"})).await;
    assert_eq!(tags["Tags"], json!([{"Key": "team", "Value": "a"}]));
}

#[tokio::test]
async fn a_summary_tells_everything_but_the_shards() {
    let world = World::new().await;
    world.stream("s", 3).await;
    let summary = world.summary("s").await;
    assert_eq!(summary["StreamName"], "s");
    assert_eq!(summary["StreamARN"], arn("s"));
    assert_eq!(summary["RetentionPeriodHours"], 24);
    assert_eq!(summary["OpenShardCount"], 3);
    assert_eq!(summary["ConsumerCount"], 0);
    assert_eq!(summary["EncryptionType"], "NONE");
    assert_eq!(summary["EnhancedMonitoring"], json!([{"ShardLevelMetrics": []}]));
    assert_eq!(summary["StreamModeDetails"], json!({"StreamMode": "PROVISIONED"}));
    assert_eq!(summary["StreamCreationTimestamp"].as_f64(), Some(START as f64 / 1000.0));
    assert!(summary.get("Shards").is_none() && summary.get("KeyId").is_none());
}

#[tokio::test]
async fn describe_stream_comes_in_pages() {
    let world = World::new().await;
    world.stream("s", 5).await;
    let page = |more: serde_json::Value| {
        let mut request = json!({"StreamName": "s"});
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let world = &world;
        async move { world.ok("DescribeStream", request).await["StreamDescription"].clone() }
    };
    let first = page(json!({"Limit": 2})).await;
    assert_eq!(first["HasMoreShards"], true);
    assert_eq!(first["Shards"].as_array().unwrap().len(), 2);
    let after = first["Shards"][1]["ShardId"].clone();
    let rest = page(json!({"Limit": 3, "ExclusiveStartShardId": after})).await;
    assert_eq!(rest["HasMoreShards"], false);
    assert_eq!(rest["Shards"].as_array().unwrap().len(), 3);
    assert_eq!(rest["Shards"][0]["ShardId"], "shardId-000000000002");
}

#[tokio::test]
async fn describe_stream_tells_a_hundred_shards_at_most() {
    let world = World::new().await;
    world.stream("s", 101).await;
    for request in [json!({"StreamName": "s"}), json!({"StreamName": "s", "Limit": 101})] {
        let told = world.ok("DescribeStream", request).await["StreamDescription"].clone();
        assert_eq!(told["Shards"].as_array().unwrap().len(), 100);
        assert_eq!(told["HasMoreShards"], true);
    }
    for bad in [0, 10_001] {
        let request = json!({"StreamName": "s", "Limit": bad});
        world.refused("DescribeStream", request, "ValidationException").await;
    }
}

#[tokio::test]
async fn a_hundred_streams_are_listed_at_most() {
    let world = World::new().await;
    for number in 0..101 {
        world.stream(&format!("s{number}"), 1).await;
    }
    for request in [json!({}), json!({"Limit": 101})] {
        let told = world.ok("ListStreams", request).await;
        assert_eq!(told["StreamNames"].as_array().unwrap().len(), 100);
        assert_eq!(told["HasMoreStreams"], true);
    }
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let world = World::new().await;
    for operation in [
        "DescribeStream",
        "DescribeStreamSummary",
        "DeleteStream",
        "ListShards",
        "ListTagsForStream",
    ] {
        let told =
            world.refused(operation, json!({"StreamName": "s"}), "ResourceNotFoundException");
        assert_eq!(told.await, "Stream s under account 000000000000 not found.");
    }
}

#[tokio::test]
async fn a_stream_is_named_by_name_or_by_arn_and_not_by_two_of_them() {
    let world = World::new().await;
    world.stream("s", 1).await;
    world.ok("DescribeStreamSummary", json!({"StreamARN": arn("s")})).await;
    world.ok("DescribeStreamSummary", json!({"StreamARN": arn("s"), "StreamName": "s"})).await;
    let two = json!({"StreamARN": arn("s"), "StreamName": "t"});
    world.refused("DescribeStreamSummary", two, "InvalidArgumentException").await;
    world.refused("DescribeStreamSummary", json!({}), "InvalidArgumentException").await;
}

#[tokio::test]
async fn a_deleted_stream_is_deleting_and_then_gone() {
    let world = World::slow().await;
    world.stream("s", 1).await;
    world.pass(Duration::from_secs(1));
    world.ok("DeleteStream", json!({"StreamName": "s"})).await;
    assert_eq!(world.status("s").await, "DELETING");
    let again = json!({"StreamName": "s"});
    world.refused("DeleteStream", again, "ResourceInUseException").await;
    let named = json!({"StreamName": "s", "ShardCount": 1});
    world.refused("CreateStream", named.clone(), "ResourceInUseException").await;
    world.pass(Duration::from_secs(1));
    while world.call("DescribeStreamSummary", json!({"StreamName": "s"})).await.status == 200 {}
    world.ok("CreateStream", named).await;
}

#[tokio::test]
async fn a_stream_with_consumers_is_deleted_only_when_told_so() {
    let world = World::new().await;
    world.stream("s", 1).await;
    world.consumer("s", "c").await;
    world.refused("DeleteStream", json!({"StreamName": "s"}), "ResourceInUseException").await;
    world.ok("DeleteStream", json!({"StreamName": "s", "EnforceConsumerDeletion": true})).await;
}

#[tokio::test]
async fn streams_are_listed_by_name_with_summaries_in_pages() {
    let world = World::new().await;
    for name in ["c", "a", "d", "b"] {
        world.stream(name, 1).await;
    }
    let first = world.ok("ListStreams", json!({"Limit": 3})).await;
    assert_eq!(first["StreamNames"], json!(["a", "b", "c"]));
    assert_eq!(first["HasMoreStreams"], true);
    let summary = &first["StreamSummaries"][1];
    assert_eq!((&summary["StreamName"], &summary["StreamARN"]), (&json!("b"), &json!(arn("b"))));
    assert_eq!(summary["StreamStatus"], "ACTIVE");
    assert_eq!(summary["StreamModeDetails"]["StreamMode"], "PROVISIONED");
    assert!(summary["StreamCreationTimestamp"].is_number());
    let token = first["NextToken"].clone();
    let rest = world.ok("ListStreams", json!({"Limit": 3, "NextToken": token})).await;
    assert_eq!((&rest["StreamNames"], &rest["HasMoreStreams"]), (&json!(["d"]), &json!(false)));
    assert!(rest.get("NextToken").is_none());
    let rest = world.ok("ListStreams", json!({"ExclusiveStartStreamName": "b"})).await;
    assert_eq!(rest["StreamNames"], json!(["c", "d"]));
}

#[tokio::test]
async fn a_token_of_streams_expires_and_is_not_made_by_hand() {
    let world = World::new().await;
    world.stream("a", 1).await;
    world.stream("b", 1).await;
    let token = world.ok("ListStreams", json!({"Limit": 1})).await["NextToken"].clone();
    world.pass(Duration::from_secs(301));
    world.refused("ListStreams", json!({"NextToken": token}), "ExpiredNextTokenException").await;
    world.refused("ListStreams", json!({"NextToken": "AAAA"}), "InvalidArgumentException").await;
}

#[tokio::test]
async fn describe_limits_counts_open_shards_and_on_demand_streams() {
    let world = World::new().await;
    world.stream("s", 3).await;
    let request = json!({"StreamName": "o", "StreamModeDetails": {"StreamMode": "ON_DEMAND"}});
    world.ok("CreateStream", request).await;
    let limits = world.ok("DescribeLimits", json!({})).await;
    assert_eq!(limits["OpenShardCount"], 3);
    assert_eq!(limits["OnDemandStreamCount"], 1);
    assert!(limits["ShardLimit"].as_u64() > Some(3));
    assert!(limits["OnDemandStreamCountLimit"].as_u64() > Some(1));
}

#[tokio::test]
async fn a_stream_is_named_by_its_id_and_one_created_again_has_another() {
    let world = World::new().await;
    world.stream("s", 1).await;
    let id = async |world: &World| world.summary("s").await["StreamId"].clone();
    let first = id(&world).await;
    let told = world.ok("DescribeStreamSummary", json!({"StreamId": first})).await;
    assert_eq!(told["StreamDescriptionSummary"]["StreamName"], "s");
    let put = json!({"StreamId": first, "PartitionKey": "k", "Data": "eA=="});
    world.ok("PutRecord", put.clone()).await;
    let all = json!({"StreamId": first, "ShardId": SHARD, "ShardIteratorType": "TRIM_HORIZON"});
    let got = world.ok("GetShardIterator", all).await;
    assert_eq!(world.keys(got["ShardIterator"].as_str().unwrap()).await, ["k"]);
    assert_eq!(world.shards(json!({"StreamId": first})).await, ["0"]);
    world.ok("DeleteStream", json!({"StreamId": first})).await;
    world.pass(Duration::from_secs(1));
    world.stream("s", 1).await;
    assert_ne!(id(&world).await, first);
    world.refused("PutRecord", put, "ResourceNotFoundException").await;
}
