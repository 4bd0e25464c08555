//! What is refused, and how.

use serde_json::{Value, json};

use super::{Check, Error, hold, on_streams, with};
use crate::world::{SHARD, World, arn, base64};

/// The error of most of them.
const BAD: &str = "ValidationException";

async fn world() -> World {
    let world = World::new().await;
    world.stream("s", 2).await;
    world
}

/// A stream named by this member.
fn named(member: &str, stream: &str) -> Value {
    let value = if member == "StreamName" { stream.to_owned() } else { arn(stream) };
    json!({ member: value })
}

#[tokio::test]
async fn a_stream_that_is_not_there_is_not_found_by_any_operation() {
    let checks: Vec<Check> = on_streams()
        .into_iter()
        .map(|(operation, member, more)| {
            (operation, with(&named(member, "nowhere"), more), Error("ResourceNotFoundException"))
        })
        .collect();
    hold(&world().await, checks, 33).await;
}

#[tokio::test]
async fn a_stream_whose_name_or_arn_is_none_is_refused_by_any_operation() {
    let mut checks: Vec<Check> = Vec::new();
    for (operation, member, more) in on_streams() {
        let bad = with(&json!({member: "a b"}), more.clone());
        checks.push((operation, bad, Error("ValidationException")));
        if member == "StreamName" {
            let two = with(&json!({"StreamName": "s", "StreamARN": arn("other")}), more.clone());
            checks.push((operation, two, Error("InvalidArgumentException")));
            checks.push((operation, more, Error("InvalidArgumentException")));
        } else if operation != "DescribeStreamConsumer" && operation != "DeregisterStreamConsumer" {
            let none = if operation == "UpdateMaxRecordSize" {
                "InvalidArgumentException"
            } else {
                "ValidationException"
            };
            checks.push((operation, more, Error(none)));
        }
    }
    hold(&world().await, checks, 80).await;
}

#[tokio::test]
async fn streams_out_of_bounds_are_refused() {
    let create = |more: Value| with(&json!({"StreamName": "n", "ShardCount": 1}), more);
    let checks: Vec<Check> = vec![
        ("CreateStream", create(json!({"StreamName": "a".repeat(129)})), Error(BAD)),
        ("CreateStream", create(json!({"ShardCount": 0})), Error(BAD)),
        ("CreateStream", create(json!({"MaxRecordSizeInKiB": 1023})), Error(BAD)),
        ("CreateStream", create(json!({"MaxRecordSizeInKiB": 10_241})), Error(BAD)),
        ("CreateStream", create(json!({"StreamModeDetails": {"StreamMode": "X"}})), Error(BAD)),
        ("CreateStream", create(json!({"StreamModeDetails": {}})), Error(BAD)),
        ("CreateStream", create(json!({"WarmThroughputMiBps": -1})), Error(BAD)),
        ("CreateStream", create(json!({"WarmThroughputMiBps": 1})), Error(BAD)),
        ("CreateStream", create(json!({"RecordDistributionStrategy": "X"})), Error(BAD)),
        ("CreateStream", create(json!({"Tags": {}})), Error(BAD)),
        ("CreateStream", create(json!({"Tags": {"": "v"}})), Error(BAD)),
        (
            "CreateStream",
            create(json!({"Tags": {"aws:x": "v"}})),
            Error("InvalidArgumentException"),
        ),
    ];
    hold(&world().await, checks, 12).await;
}

#[tokio::test]
async fn listings_out_of_bounds_are_refused() {
    let on = |more: Value| with(&json!({"StreamName": "s"}), more);
    let by_arn = |more: Value| with(&json!({"StreamARN": arn("s")}), more);
    let checks: Vec<Check> = vec![
        ("DescribeStream", on(json!({"Limit": 0})), Error(BAD)),
        ("DescribeStream", on(json!({"Limit": 10_001})), Error(BAD)),
        ("DescribeStream", on(json!({"ExclusiveStartShardId": ""})), Error(BAD)),
        ("ListStreams", json!({"Limit": 0}), Error(BAD)),
        ("ListStreams", json!({"Limit": 10_001}), Error(BAD)),
        ("ListStreams", json!({"ExclusiveStartStreamName": "a b"}), Error(BAD)),
        ("ListStreams", json!({"NextToken": ""}), Error(BAD)),
        ("ListShards", on(json!({"MaxResults": 0})), Error(BAD)),
        ("ListShards", on(json!({"MaxResults": 10_001})), Error(BAD)),
        ("ListShards", on(json!({"ExclusiveStartShardId": "a b"})), Error(BAD)),
        ("ListShards", on(json!({"ShardFilter": {"Type": "X"}})), Error(BAD)),
        ("ListShards", on(json!({"ShardFilter": {}})), Error(BAD)),
        ("ListShards", json!({}), Error("InvalidArgumentException")),
        ("ListShards", json!({"NextToken": "x"}), Error("InvalidArgumentException")),
        ("ListStreamConsumers", by_arn(json!({"MaxResults": 0})), Error(BAD)),
        ("ListStreamConsumers", by_arn(json!({"MaxResults": 10_001})), Error(BAD)),
        ("ListTagsForStream", on(json!({"Limit": 0})), Error(BAD)),
        ("ListTagsForStream", on(json!({"Limit": 51})), Error(BAD)),
        ("ListTagsForStream", on(json!({"ExclusiveStartTagKey": ""})), Error(BAD)),
    ];
    hold(&world().await, checks, 19).await;
}

#[tokio::test]
async fn records_and_places_out_of_bounds_are_refused() {
    let on = |more: Value| with(&json!({"StreamName": "s"}), more);
    let place =
        |more: Value| on(with(&json!({"ShardId": SHARD, "ShardIteratorType": "LATEST"}), more));
    let put = |more: Value| on(with(&json!({"PartitionKey": "k", "Data": ""}), more));
    let long = "1".repeat(130);
    let checks: Vec<Check> = vec![
        ("GetShardIterator", place(json!({"ShardId": ""})), Error(BAD)),
        ("GetShardIterator", place(json!({"ShardIteratorType": "X"})), Error(BAD)),
        ("GetShardIterator", place(json!({"StartingSequenceNumber": "x"})), Error(BAD)),
        ("GetShardIterator", place(json!({"StartingSequenceNumber": long})), Error(BAD)),
        ("GetRecords", json!({"ShardIterator": "x", "Limit": 0}), Error(BAD)),
        (
            "GetRecords",
            json!({"ShardIterator": "x", "Limit": 10_001}),
            Error("InvalidArgumentException"),
        ),
        ("GetRecords", json!({"ShardIterator": ""}), Error(BAD)),
        ("GetRecords", json!({}), Error(BAD)),
        ("GetRecords", json!({"ShardIterator": "x"}), Error("InvalidArgumentException")),
        ("PutRecord", put(json!({"PartitionKey": ""})), Error(BAD)),
        ("PutRecord", put(json!({"PartitionKey": "k".repeat(257)})), Error(BAD)),
        ("PutRecord", put(json!({"ExplicitHashKey": ""})), Error(BAD)),
        ("PutRecord", put(json!({"ExplicitHashKey": "00"})), Error(BAD)),
        ("PutRecord", put(json!({"ExplicitHashKey": "1".repeat(40)})), Error(BAD)),
        (
            "PutRecord",
            put(json!({"ExplicitHashKey": "340282366920938463463374607431768211456"})),
            Error("InvalidArgumentException"),
        ),
        ("PutRecord", put(json!({"SequenceNumberForOrdering": long})), Error(BAD)),
        (
            "PutRecord",
            put(json!({"Data": base64(&vec![0; 1 << 20])})),
            Error("InvalidArgumentException"),
        ),
        ("PutRecords", on(json!({"Records": []})), Error(BAD)),
        ("PutRecords", on(json!({"Records": [{}]})), Error(BAD)),
    ];
    hold(&world().await, checks, 19).await;
}

#[tokio::test]
async fn reshards_and_consumers_out_of_bounds_are_refused() {
    let on = |more: Value| with(&json!({"StreamName": "s"}), more);
    let by_arn = |more: Value| with(&json!({"StreamARN": arn("s")}), more);
    let checks: Vec<Check> = vec![
        ("RegisterStreamConsumer", by_arn(json!({"ConsumerName": ""})), Error(BAD)),
        ("RegisterStreamConsumer", by_arn(json!({"ConsumerName": "c".repeat(129)})), Error(BAD)),
        ("SplitShard", on(json!({"ShardToSplit": SHARD})), Error(BAD)),
        (
            "SplitShard",
            on(json!({"ShardToSplit": SHARD, "NewStartingHashKey": "0"})),
            Error("InvalidArgumentException"),
        ),
        (
            "SplitShard",
            on(json!({"ShardToSplit": "shardId-000000000007", "NewStartingHashKey": "5"})),
            Error("ResourceNotFoundException"),
        ),
        (
            "MergeShards",
            on(json!({"ShardToMerge": SHARD, "AdjacentShardToMerge": SHARD})),
            Error("InvalidArgumentException"),
        ),
        ("UpdateShardCount", on(json!({"TargetShardCount": 2})), Error(BAD)),
        (
            "UpdateShardCount",
            on(json!({"TargetShardCount": 0, "ScalingType": "UNIFORM_SCALING"})),
            Error(BAD),
        ),
        (
            "UpdateShardCount",
            on(json!({"TargetShardCount": 5, "ScalingType": "UNIFORM_SCALING"})),
            Error("InvalidArgumentException"),
        ),
    ];
    hold(&world().await, checks, 9).await;
}

#[tokio::test]
async fn settings_out_of_bounds_are_refused() {
    let on = |more: Value| with(&json!({"StreamName": "s"}), more);
    let by_arn = |more: Value| with(&json!({"StreamARN": arn("s")}), more);
    let checks: Vec<Check> = vec![
        (
            "IncreaseStreamRetentionPeriod",
            on(json!({"RetentionPeriodHours": 8761})),
            Error("InvalidArgumentException"),
        ),
        (
            "DecreaseStreamRetentionPeriod",
            on(json!({"RetentionPeriodHours": 23})),
            Error("InvalidArgumentException"),
        ),
        ("EnableEnhancedMonitoring", on(json!({"ShardLevelMetrics": []})), Error(BAD)),
        ("StartStreamEncryption", on(json!({"EncryptionType": "KMS", "KeyId": ""})), Error(BAD)),
        ("UpdateMaxRecordSize", by_arn(json!({"MaxRecordSizeInKiB": 1023})), Error(BAD)),
        ("UpdateMaxRecordSize", by_arn(json!({"MaxRecordSizeInKiB": 10_241})), Error(BAD)),
        (
            "UpdateAccountSettings",
            json!({"MinimumThroughputBillingCommitment": {"Status": "X"}}),
            Error(BAD),
        ),
        ("UpdateAccountSettings", json!({}), Error(BAD)),
        ("TagResource", json!({"ResourceARN": "arn:aws:sqs:x", "Tags": {"k": "v"}}), Error(BAD)),
        ("CreateQueue", json!({}), Error("UnknownOperationException")),
        ("CreateChannel", json!({}), Error("UnknownOperationException")),
    ];
    hold(&world().await, checks, 11).await;
}
