//! What streams are set to: retention, metrics, encryption, mode, tags, policies.

use std::time::Duration;

use serde_json::{Value, json};

use crate::world::{HOUR, World, arn};

async fn world() -> World {
    let world = World::new().await;
    world.stream("s", 1).await;
    world
}

fn on(more: Value) -> Value {
    let mut request = json!({"StreamName": "s"});
    request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    request
}

fn hours(hours: i64) -> Value {
    on(json!({"RetentionPeriodHours": hours}))
}

#[tokio::test]
async fn retention_is_24_to_8760_hours_and_rises_and_falls_by_its_own_operation() {
    let world = world().await;
    let (up, down) = ("IncreaseStreamRetentionPeriod", "DecreaseStreamRetentionPeriod");
    for bad in [23, 8761, -1] {
        world.refused(up, hours(bad), "InvalidArgumentException").await;
    }
    world.ok(up, hours(8760)).await;
    assert_eq!(world.summary("s").await["RetentionPeriodHours"], 8760);
    world.refused(up, hours(8759), "InvalidArgumentException").await;
    world.ok(down, hours(48)).await;
    world.refused(down, hours(49), "InvalidArgumentException").await;
    world.refused(down, hours(23), "InvalidArgumentException").await;
    assert_eq!(world.summary("s").await["RetentionPeriodHours"], 48);
}

#[tokio::test]
async fn a_shorter_retention_hides_at_once_and_a_longer_one_brings_nothing_back() {
    let world = world().await;
    world.ok("IncreaseStreamRetentionPeriod", hours(48)).await;
    world.put("s", "old", "").await;
    world.pass(30 * HOUR);
    world.put("s", "new", "").await;
    assert_eq!(world.keys(&world.whole_of("s").await).await, ["old", "new"]);
    world.ok("DecreaseStreamRetentionPeriod", hours(24)).await;
    assert_eq!(world.keys(&world.whole_of("s").await).await, ["new"]);
    world.ok("IncreaseStreamRetentionPeriod", hours(48)).await;
    assert_eq!(world.keys(&world.whole_of("s").await).await, ["new"]);
}

#[tokio::test]
async fn metrics_are_enabled_and_disabled_one_by_one_or_all() {
    let world = world().await;
    let metrics = |names: Value| on(json!({"ShardLevelMetrics": names}));
    let told = world.ok("EnableEnhancedMonitoring", metrics(json!(["IncomingBytes"]))).await;
    assert_eq!(told["CurrentShardLevelMetrics"], json!([]));
    assert_eq!(told["DesiredShardLevelMetrics"], json!(["IncomingBytes"]));
    let told = world.ok("EnableEnhancedMonitoring", metrics(json!(["ALL"]))).await;
    assert_eq!(told["DesiredShardLevelMetrics"].as_array().unwrap().len(), 7);
    let told = world.ok("DisableEnhancedMonitoring", metrics(json!(["IncomingBytes"]))).await;
    assert_eq!(told["DesiredShardLevelMetrics"].as_array().unwrap().len(), 6);
    world.ok("DisableEnhancedMonitoring", metrics(json!(["ALL"]))).await;
    let summary = world.summary("s").await;
    assert_eq!(summary["EnhancedMonitoring"], json!([{"ShardLevelMetrics": []}]));
    for bad in [json!([]), json!(["Other"])] {
        world.refused("EnableEnhancedMonitoring", metrics(bad), "ValidationException").await;
    }
}

#[tokio::test]
async fn encryption_is_told_with_its_key_and_with_every_record() {
    let world = world().await;
    let kms = on(json!({"EncryptionType": "KMS", "KeyId": "alias/aws/kinesis"}));
    world.ok("StartStreamEncryption", kms.clone()).await;
    let summary = world.summary("s").await;
    assert_eq!(
        (&summary["EncryptionType"], &summary["KeyId"]),
        (&json!("KMS"), &json!("alias/aws/kinesis"))
    );
    assert_eq!(world.put("s", "k", "x").await["EncryptionType"], "KMS");
    let got = world.read(&world.whole_of("s").await).await;
    assert_eq!(got["Records"][0]["EncryptionType"], "KMS");
    world.ok("StopStreamEncryption", kms).await;
    assert_eq!(world.put("s", "k", "x").await["EncryptionType"], "NONE");
    let none = on(json!({"EncryptionType": "NONE", "KeyId": "k"}));
    world.refused("StartStreamEncryption", none, "InvalidArgumentException").await;
    let other = on(json!({"EncryptionType": "AES", "KeyId": "k"}));
    world.refused("StartStreamEncryption", other, "ValidationException").await;
}

#[tokio::test]
async fn encryption_is_started_25_times_a_day() {
    let world = World::limited().await;
    world.stream("s", 1).await;
    let kms = on(json!({"EncryptionType": "KMS", "KeyId": "k"}));
    for _ in 0..25 {
        world.ok("StartStreamEncryption", kms.clone()).await;
    }
    world.refused("StartStreamEncryption", kms.clone(), "LimitExceededException").await;
    world.ok("StopStreamEncryption", kms.clone()).await;
    world.pass(24 * HOUR);
    world.ok("StartStreamEncryption", kms).await;
}

#[tokio::test]
async fn the_mode_changes_twice_a_day() {
    let world = World::limited().await;
    world.stream("s", 1).await;
    let to = |mode: &str| json!({"StreamARN": arn("s"), "StreamModeDetails": {"StreamMode": mode}});
    world.ok("UpdateStreamMode", to("ON_DEMAND")).await;
    assert_eq!(world.summary("s").await["StreamModeDetails"]["StreamMode"], "ON_DEMAND");
    world.ok("UpdateStreamMode", to("PROVISIONED")).await;
    world.refused("UpdateStreamMode", to("ON_DEMAND"), "LimitExceededException").await;
    world.pass(24 * HOUR);
    world.ok("UpdateStreamMode", to("ON_DEMAND")).await;
    world.refused("UpdateStreamMode", to("OTHER"), "ValidationException").await;
}

#[tokio::test]
async fn a_stream_that_changes_is_updating() {
    let world = World::slow().await;
    world.stream("s", 1).await;
    world.pass(Duration::from_secs(1));
    let kms = on(json!({"EncryptionType": "KMS", "KeyId": "k"}));
    world.ok("StartStreamEncryption", kms).await;
    assert_eq!(world.status("s").await, "UPDATING");
    let metrics = on(json!({"ShardLevelMetrics": ["ALL"]}));
    world.refused("EnableEnhancedMonitoring", metrics, "ResourceInUseException").await;
    world.refused("IncreaseStreamRetentionPeriod", hours(48), "ResourceInUseException").await;
    world.pass(Duration::from_secs(1));
    assert_eq!(world.status("s").await, "ACTIVE");
}

#[tokio::test]
async fn only_on_demand_streams_distribute_records_themselves() {
    let world = world().await;
    let auto = json!({"StreamARN": arn("s"), "RecordDistributionStrategy": "AUTO"});
    let operation = "UpdateStreamRecordDistributionStrategy";
    world.refused(operation, auto.clone(), "InvalidArgumentException").await;
    let mode = json!({"StreamARN": arn("s"), "StreamModeDetails": {"StreamMode": "ON_DEMAND"}});
    world.ok("UpdateStreamMode", mode).await;
    world.ok(operation, auto).await;
    assert_eq!(world.summary("s").await["RecordDistributionStrategy"], "AUTO");
    // No key is needed any more.
    world.ok("PutRecord", on(json!({"Data": "eA=="}))).await;
}

#[tokio::test]
async fn warm_throughput_needs_the_commitment_and_on_demand() {
    let world = world().await;
    let warm = |mibps: u32| json!({"StreamARN": arn("s"), "WarmThroughputMiBps": mibps});
    world.refused("UpdateStreamWarmThroughput", warm(10), "ValidationException").await;
    let enable = json!({"MinimumThroughputBillingCommitment": {"Status": "ENABLED"}});
    let told = world.ok("UpdateAccountSettings", enable).await;
    assert_eq!(told["MinimumThroughputBillingCommitment"]["Status"], "ENABLED");
    let mode = json!({"StreamARN": arn("s"), "StreamModeDetails": {"StreamMode": "ON_DEMAND"}});
    world.ok("UpdateStreamMode", mode).await;
    let told = world.ok("UpdateStreamWarmThroughput", warm(10)).await;
    assert_eq!(told["WarmThroughput"]["TargetMiBps"], 10);
    world.refused("UpdateStreamWarmThroughput", warm(10_241), "LimitExceededException").await;
    let told = world.ok("DescribeAccountSettings", json!({})).await;
    assert_eq!(told["MinimumThroughputBillingCommitment"]["Status"], "ENABLED");
}

#[tokio::test]
async fn a_commitment_that_is_ended_ends_a_day_after_it_began() {
    let world = world().await;
    let set = |status: &str| json!({"MinimumThroughputBillingCommitment": {"Status": status}});
    let started = world.now_seconds();
    world.ok("UpdateAccountSettings", set("ENABLED")).await;
    world.pass(HOUR);
    let told = world.ok("UpdateAccountSettings", set("DISABLED")).await;
    let until = json!({"Status": "ENABLED_UNTIL_EARLIEST_ALLOWED_END", "StartedAt": started,
        "EarliestAllowedEndAt": started + 86_400.0});
    assert_eq!(told["MinimumThroughputBillingCommitment"], until);
    world.pass(23 * HOUR);
    let told = world.ok("DescribeAccountSettings", json!({})).await;
    let ended = json!({"Status": "DISABLED", "StartedAt": started, "EndedAt": started + 86_400.0});
    assert_eq!(told["MinimumThroughputBillingCommitment"], ended);
}

#[tokio::test]
async fn a_stream_has_at_most_fifty_tags() {
    let world = world().await;
    let tags = |range: std::ops::Range<u32>| -> Value {
        range.map(|n| (format!("k{n:02}"), json!("v"))).collect::<serde_json::Map<_, _>>().into()
    };
    world.ok("AddTagsToStream", on(json!({"Tags": tags(0..50)}))).await;
    let more = on(json!({"Tags": tags(50..51)}));
    world.refused("AddTagsToStream", more, "InvalidArgumentException").await;
    world.ok("AddTagsToStream", on(json!({"Tags": {"k00": "other"}}))).await;
    let first = world.ok("ListTagsForStream", on(json!({"Limit": 10}))).await;
    assert_eq!(first["HasMoreTags"], true);
    assert_eq!(first["Tags"][0], json!({"Key": "k00", "Value": "other"}));
    let rest = world.ok("ListTagsForStream", on(json!({"ExclusiveStartTagKey": "k09"}))).await;
    assert_eq!((rest["Tags"].as_array().unwrap().len(), &rest["HasMoreTags"]), (40, &json!(false)));
    world.ok("RemoveTagsFromStream", on(json!({"TagKeys": ["k00", "k01", "nobody"]}))).await;
    let left = world.ok("ListTagsForResource", json!({"ResourceARN": arn("s")})).await;
    assert_eq!(left["Tags"].as_array().unwrap().len(), 48);
}

#[tokio::test]
async fn tags_are_texts_of_few_characters_and_not_the_services() {
    let world = world().await;
    for (tags, error) in [
        (json!({"aws:x": "v"}), "InvalidArgumentException"),
        (json!({"a#b": "v"}), "InvalidArgumentException"),
        (json!({"": "v"}), "ValidationException"),
        (json!({"k".repeat(129): "v"}), "ValidationException"),
        (json!({"k": "v".repeat(257)}), "ValidationException"),
        (json!({}), "ValidationException"),
    ] {
        world.refused("AddTagsToStream", on(json!({"Tags": tags})), error).await;
    }
    world.ok("AddTagsToStream", on(json!({"Tags": {"größe": "a b_./=+-%@:"}}))).await;
}

#[tokio::test]
async fn a_policy_is_kept_given_back_and_removed() {
    let world = world().await;
    let of = json!({"ResourceARN": arn("s")});
    world.refused("GetResourcePolicy", of.clone(), "ResourceNotFoundException").await;
    let policy = r#"{"Version":"2012-10-17","Statement":[]}"#;
    world.ok("PutResourcePolicy", json!({"ResourceARN": arn("s"), "Policy": policy})).await;
    assert_eq!(world.ok("GetResourcePolicy", of.clone()).await["Policy"], policy);
    world.ok("DeleteResourcePolicy", of.clone()).await;
    world.refused("DeleteResourcePolicy", of, "ResourceNotFoundException").await;
    let bad = json!({"ResourceARN": arn("s"), "Policy": "no policy"});
    world.refused("PutResourcePolicy", bad, "InvalidArgumentException").await;
}
