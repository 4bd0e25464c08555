//! What an answer holds.

use serde_json::{Value, json};

use super::{Check, Done, Has, HasNot, hold, with};
use crate::world::{SHARD, START, World, arn, base64};

const TOP: &str = "340282366920938463463374607431768211455";
const HALF: &str = "170141183460469231731687303715884105728";

async fn world() -> World {
    let world = World::new().await;
    world.stream("s", 2).await;
    world
}

#[tokio::test]
async fn of_a_new_stream_everything_is_told() {
    let world = world().await;
    let seconds = json!(START as f64 / 1000.0);
    let mut checks: Vec<Check> = Vec::new();
    let s = || json!({"StreamName": "s"});
    for (operation, top) in [
        ("DescribeStream", "/StreamDescription"),
        ("DescribeStreamSummary", "/StreamDescriptionSummary"),
    ] {
        for (place, value) in [
            ("StreamName", json!("s")),
            ("StreamARN", json!(arn("s"))),
            ("StreamStatus", json!("ACTIVE")),
            ("StreamModeDetails", json!({"StreamMode": "PROVISIONED"})),
            ("StreamCreationTimestamp", seconds.clone()),
            ("RetentionPeriodHours", json!(24)),
            ("EnhancedMonitoring", json!([{"ShardLevelMetrics": []}])),
            ("EncryptionType", json!("NONE")),
        ] {
            checks.push((operation, s(), Has(format!("{top}/{place}").leak(), value)));
        }
        checks.push((operation, s(), HasNot(format!("{top}/KeyId").leak())));
    }
    for (place, value) in [
        ("/StreamDescriptionSummary/OpenShardCount", json!(2)),
        ("/StreamDescriptionSummary/ConsumerCount", json!(0)),
        ("/StreamDescriptionSummary/MaxRecordSizeInKiB", json!(1024)),
    ] {
        checks.push(("DescribeStreamSummary", s(), Has(place, value)));
    }
    checks.push(("DescribeStream", s(), Has("/StreamDescription/HasMoreShards", json!(false))));
    for (operation, top) in [("DescribeStream", "/StreamDescription"), ("ListShards", "")] {
        for (place, value) in [
            ("0/ShardId", SHARD),
            ("1/ShardId", "shardId-000000000001"),
            ("0/HashKeyRange/StartingHashKey", "0"),
            ("1/HashKeyRange/StartingHashKey", HALF),
            ("1/HashKeyRange/EndingHashKey", TOP),
        ] {
            let place = format!("{top}/Shards/{place}").leak();
            checks.push((operation, s(), Has(place, json!(value))));
        }
        for place in ["0/ParentShardId", "0/SequenceNumberRange/EndingSequenceNumber"] {
            checks.push((operation, s(), HasNot(format!("{top}/Shards/{place}").leak())));
        }
    }
    checks.push(("ListShards", s(), HasNot("/NextToken")));
    hold(&world, checks, 37).await;
}

#[tokio::test]
async fn of_the_account_and_its_streams_everything_is_told() {
    let world = world().await;
    let nothing = || json!({});
    let checks: Vec<Check> = vec![
        ("ListStreams", nothing(), Has("/StreamNames", json!(["s"]))),
        ("ListStreams", nothing(), Has("/HasMoreStreams", json!(false))),
        ("ListStreams", nothing(), HasNot("/NextToken")),
        ("ListStreams", nothing(), Has("/StreamSummaries/0/StreamName", json!("s"))),
        ("ListStreams", nothing(), Has("/StreamSummaries/0/StreamARN", json!(arn("s")))),
        ("ListStreams", nothing(), Has("/StreamSummaries/0/StreamStatus", json!("ACTIVE"))),
        ("ListStreams", json!({"ExclusiveStartStreamName": "s"}), Has("/StreamNames", json!([]))),
        ("DescribeLimits", nothing(), Has("/OpenShardCount", json!(2))),
        ("DescribeLimits", nothing(), Has("/ShardLimit", json!(20_000))),
        ("DescribeLimits", nothing(), Has("/OnDemandStreamCount", json!(0))),
        ("DescribeLimits", nothing(), Has("/OnDemandStreamCountLimit", json!(50))),
        (
            "DescribeAccountSettings",
            nothing(),
            Has("/MinimumThroughputBillingCommitment/Status", json!("DISABLED")),
        ),
        ("ListTagsForStream", json!({"StreamName": "s"}), Has("/Tags", json!([]))),
        ("ListTagsForStream", json!({"StreamName": "s"}), Has("/HasMoreTags", json!(false))),
        ("ListTagsForResource", json!({"ResourceARN": arn("s")}), Has("/Tags", json!([]))),
        ("ListStreamConsumers", json!({"StreamARN": arn("s")}), Has("/Consumers", json!([]))),
        ("ListStreamConsumers", json!({"StreamARN": arn("s")}), HasNot("/NextToken")),
    ];
    hold(&world, checks, 17).await;
}

#[tokio::test]
async fn where_a_record_goes_and_what_comes_back_of_it() {
    let world = world().await;
    let put = |more: Value| {
        with(&json!({"StreamName": "s", "PartitionKey": "a", "Data": base64(b"x")}), more)
    };
    let second = "shardId-000000000001";
    let mut checks: Vec<Check> = Vec::new();
    // By the MD5 of the key, or by the hash key in its place: both ends of both ranges.
    for (more, shard) in [
        (json!({"PartitionKey": "a"}), SHARD),
        (json!({"PartitionKey": "k"}), second),
        (json!({"ExplicitHashKey": "0"}), SHARD),
        (json!({"ExplicitHashKey": "170141183460469231731687303715884105727"}), SHARD),
        (json!({"ExplicitHashKey": HALF}), second),
        (json!({"ExplicitHashKey": TOP}), second),
    ] {
        checks.push(("PutRecord", put(more), Has("/ShardId", json!(shard))));
    }
    let many = json!({"StreamName": "s", "Records": [
        {"PartitionKey": "a", "Data": ""}, {"PartitionKey": "k", "Data": ""}]});
    for (place, value) in [
        ("/FailedRecordCount", json!(0)),
        ("/EncryptionType", json!("NONE")),
        ("/Records/0/ShardId", json!(SHARD)),
        ("/Records/1/ShardId", json!(second)),
    ] {
        checks.push(("PutRecords", many.clone(), Has(place, value)));
    }
    checks.push(("PutRecords", many.clone(), HasNot("/Records/0/ErrorCode")));
    checks.push(("PutRecords", many, HasNot("/Records/1/ErrorMessage")));
    checks.push(("PutRecord", put(json!({})), Has("/EncryptionType", json!("NONE"))));
    hold(&world, checks, 13).await;

    let iterator = world.whole_of("s").await;
    let read = |more: Value| with(&json!({"ShardIterator": iterator}), more);
    let checks: Vec<Check> = vec![
        ("GetRecords", read(json!({})), Has("/MillisBehindLatest", json!(0))),
        ("GetRecords", read(json!({})), Has("/Records/0/PartitionKey", json!("a"))),
        ("GetRecords", read(json!({})), Has("/Records/0/Data", json!(base64(b"x")))),
        (
            "GetRecords",
            read(json!({})),
            Has("/Records/0/ApproximateArrivalTimestamp", json!(START as f64 / 1000.0)),
        ),
        ("GetRecords", read(json!({})), HasNot("/Records/0/EncryptionType")),
        ("GetRecords", read(json!({})), HasNot("/ChildShards")),
        ("GetRecords", read(json!({"Limit": 1})), HasNot("/Records/1")),
        ("GetRecords", read(json!({"StreamARN": arn("s")})), Done),
    ];
    hold(&world, checks, 8).await;
}

#[tokio::test]
async fn after_a_change_it_is_told() {
    let world = world().await;
    let s = || json!({"StreamName": "s"});
    let summary =
        |place: &'static str, value: Value| ("DescribeStreamSummary", s(), Has(place, value));
    let on = |more: Value| with(&json!({"StreamName": "s"}), more);
    let kms = on(json!({"EncryptionType": "KMS", "KeyId": "k"}));
    let checks: Vec<Check> = vec![
        ("IncreaseStreamRetentionPeriod", on(json!({"RetentionPeriodHours": 48})), Done),
        summary("/StreamDescriptionSummary/RetentionPeriodHours", json!(48)),
        ("IncreaseStreamRetentionPeriod", on(json!({"RetentionPeriodHours": 48})), Done),
        ("DecreaseStreamRetentionPeriod", on(json!({"RetentionPeriodHours": 24})), Done),
        summary("/StreamDescriptionSummary/RetentionPeriodHours", json!(24)),
        ("StartStreamEncryption", kms.clone(), Done),
        summary("/StreamDescriptionSummary/EncryptionType", json!("KMS")),
        summary("/StreamDescriptionSummary/KeyId", json!("k")),
        ("StopStreamEncryption", kms, Done),
        summary("/StreamDescriptionSummary/EncryptionType", json!("NONE")),
        ("DescribeStreamSummary", s(), HasNot("/StreamDescriptionSummary/KeyId")),
        ("UpdateMaxRecordSize", json!({"StreamARN": arn("s"), "MaxRecordSizeInKiB": 10_240}), Done),
        summary("/StreamDescriptionSummary/MaxRecordSizeInKiB", json!(10_240)),
        (
            "EnableEnhancedMonitoring",
            on(json!({"ShardLevelMetrics": ["IncomingBytes"]})),
            Has("/DesiredShardLevelMetrics", json!(["IncomingBytes"])),
        ),
        summary(
            "/StreamDescriptionSummary/EnhancedMonitoring",
            json!([{"ShardLevelMetrics": ["IncomingBytes"]}]),
        ),
        ("AddTagsToStream", on(json!({"Tags": {"k": "v"}})), Done),
        ("ListTagsForStream", s(), Has("/Tags", json!([{"Key": "k", "Value": "v"}]))),
        ("TagResource", json!({"ResourceARN": arn("s"), "Tags": {"k": "w"}}), Done),
        ("ListTagsForStream", s(), Has("/Tags", json!([{"Key": "k", "Value": "w"}]))),
        ("UntagResource", json!({"ResourceARN": arn("s"), "TagKeys": ["k"]}), Done),
        ("ListTagsForStream", s(), Has("/Tags", json!([]))),
        (
            "RegisterStreamConsumer",
            json!({"StreamARN": arn("s"), "ConsumerName": "c"}),
            Has("/Consumer/ConsumerStatus", json!("CREATING")),
        ),
        summary("/StreamDescriptionSummary/ConsumerCount", json!(1)),
        (
            "UpdateShardCount",
            on(json!({"TargetShardCount": 4, "ScalingType": "UNIFORM_SCALING"})),
            Has("/CurrentShardCount", json!(2)),
        ),
        summary("/StreamDescriptionSummary/OpenShardCount", json!(4)),
        ("DescribeLimits", json!({}), Has("/OpenShardCount", json!(4))),
    ];
    hold(&world, checks, 26).await;
}
