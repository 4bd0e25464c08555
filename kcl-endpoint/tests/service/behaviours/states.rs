//! What a stream takes while it is CREATING, UPDATING or DELETING.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Check, Done, Error, Has, hold, on_streams, with};
use crate::world::{SHARD, World, arn};

/// Operations that answer about a stream, or change what no state touches.
const ANY_STATE: [&str; 8] = [
    "AddTagsToStream",
    "DescribeStream",
    "DescribeStreamSummary",
    "ListShards",
    "ListStreamConsumers",
    "ListTagsForResource",
    "ListTagsForStream",
    "RemoveTagsFromStream",
];
/// Operations on records, which a stream that is being changed takes.
const RECORDS: [&str; 3] = ["GetShardIterator", "PutRecord", "PutRecords"];
/// Operations that change a stream, which has to be ACTIVE.
const CHANGES: [&str; 13] = [
    "DecreaseStreamRetentionPeriod",
    "DisableEnhancedMonitoring",
    "EnableEnhancedMonitoring",
    "IncreaseStreamRetentionPeriod",
    "MergeShards",
    "SplitShard",
    "StartStreamEncryption",
    "StopStreamEncryption",
    "UpdateMaxRecordSize",
    "UpdateShardCount",
    "UpdateStreamMode",
    "UpdateStreamRecordDistributionStrategy",
    "UpdateStreamWarmThroughput",
];

fn of(operations: &[&str], stream: &str, expected: fn() -> super::Expected) -> Vec<Check> {
    let named = |member: &str| -> Value {
        let value = if member == "StreamName" { stream.to_owned() } else { arn(stream) };
        json!({ member: value })
    };
    let all = on_streams().into_iter();
    let chosen: Vec<Check> = all
        .filter(|(operation, ..)| operations.contains(operation))
        .map(|(operation, member, more)| (operation, with(&named(member), more), expected()))
        .collect();
    assert_eq!(chosen.len(), operations.len(), "each is in the list of operations");
    chosen
}

fn status(name: &str, status: &str) -> Check {
    let place = "/StreamDescriptionSummary/StreamStatus";
    ("DescribeStreamSummary", json!({"StreamName": name}), Has(place, json!(status)))
}

#[tokio::test]
async fn a_stream_that_is_being_created() {
    let world = World::slow().await;
    world.stream("s", 2).await;
    let in_use = || Error("ResourceInUseException");
    let mut checks = vec![status("s", "CREATING")];
    checks.extend(of(&ANY_STATE, "s", || Done));
    checks.extend(of(&CHANGES, "s", in_use));
    checks.extend(of(&RECORDS, "s", || Error("ResourceNotFoundException")));
    let again = json!({"StreamName": "s", "ShardCount": 2});
    checks.push(("CreateStream", again, in_use()));
    hold(&world, checks, 26).await;
}

#[tokio::test]
async fn a_stream_that_is_being_changed() {
    let world = World::slow().await;
    world.stream("s", 2).await;
    world.pass(Duration::from_secs(1));
    let split = json!({"StreamName": "s", "ShardToSplit": SHARD, "NewStartingHashKey": "9"});
    let mut checks = vec![status("s", "ACTIVE"), ("SplitShard", split, Done)];
    checks.push(status("s", "UPDATING"));
    checks.extend(of(&ANY_STATE, "s", || Done));
    checks.extend(of(&CHANGES, "s", || Error("ResourceInUseException")));
    checks.extend(of(&RECORDS, "s", || Done));
    hold(&world, checks, 27).await;
    world.pass(Duration::from_secs(1));
    hold(&world, vec![status("s", "ACTIVE")], 1).await;
}

#[tokio::test]
async fn a_stream_that_is_being_deleted() {
    let world = World::slow().await;
    world.stream("s", 2).await;
    world.pass(Duration::from_secs(1));
    let mut checks: Vec<Check> = vec![("DeleteStream", json!({"StreamName": "s"}), Done)];
    checks.push(status("s", "DELETING"));
    checks.extend(of(&ANY_STATE, "s", || Done));
    checks.extend(of(&CHANGES, "s", || Error("ResourceInUseException")));
    checks.extend(of(&RECORDS, "s", || Error("ResourceNotFoundException")));
    checks.extend(of(&["DeleteStream"], "s", || Error("ResourceInUseException")));
    hold(&world, checks, 27).await;
}
