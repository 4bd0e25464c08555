//! Documented behaviour as tables: one request a line, and what the service answers to it
//! (<https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Operations.html>). The other files
//! here hold what takes more than one request.

mod answers;
mod refusals;
mod states;

use serde_json::{Value, json};

use crate::world::World;

/// What a request is answered with.
pub enum Expected {
    /// An error of this name.
    Error(&'static str),
    /// Success, and this value at this place (a JSON pointer).
    Has(&'static str, Value),
    /// Success, and no value at this place.
    HasNot(&'static str),
    /// Success.
    Done,
}

pub use Expected::{Done, Error, Has, HasNot};

/// One line of a table.
pub type Check = (&'static str, Value, Expected);

/// What is wrong with the answer to one request.
async fn wrong(world: &World, (operation, request, expected): &Check) -> Option<String> {
    let answer = world.call(operation, request.clone()).await;
    let told = answer.json();
    let is_right = match expected {
        Error(name) => answer.status != 200 && told["__type"] == *name,
        Has(place, value) => answer.status == 200 && told.pointer(place) == Some(value),
        HasNot(place) => answer.status == 200 && told.pointer(place).is_none(),
        Done => answer.status == 200,
    };
    let wanted = match expected {
        Error(name) => (*name).to_owned(),
        Has(place, value) => format!("{place} {value}"),
        HasNot(place) => format!("no {place}"),
        Done => "success".to_owned(),
    };
    let shown: String = told.to_string().chars().take(300).collect();
    (!is_right)
        .then(|| format!("{operation} {request}: {} {shown}, instead of {wanted}", answer.status))
}

/// Holds an endpoint against a table, line by line; every line that is wrong is told.
pub async fn hold(world: &World, checks: Vec<Check>, at_least: usize) {
    let count = checks.len();
    let mut findings = Vec::new();
    for check in &checks {
        findings.extend(wrong(world, check).await);
    }
    assert!(findings.is_empty(), "{} of {count}:\n{}", findings.len(), findings.join("\n"));
    assert!(count >= at_least, "the table has shrunk to {count} lines");
    println!("{count} checks");
}

/// A request with more members.
pub fn with(request: &Value, more: Value) -> Value {
    let mut request = request.clone();
    request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    request
}

/// Operations on one stream, each with a request that is right but for the stream, which is named
/// by this member.
pub fn on_streams() -> Vec<(&'static str, &'static str, Value)> {
    let shard = "shardId-000000000000";
    let name = "StreamName";
    let arn = "StreamARN";
    let metrics = json!({"ShardLevelMetrics": ["ALL"]});
    let key = json!({"EncryptionType": "KMS", "KeyId": "k"});
    let on_demand = json!({"StreamModeDetails": {"StreamMode": "ON_DEMAND"}});
    let user_key = json!({"RecordDistributionStrategy": "USER_PARTITION_KEY"});
    vec![
        ("AddTagsToStream", name, json!({"Tags": {"k": "v"}})),
        ("DecreaseStreamRetentionPeriod", name, json!({"RetentionPeriodHours": 24})),
        ("DeleteResourcePolicy", "ResourceARN", json!({})),
        ("DeleteStream", name, json!({})),
        ("DescribeStream", name, json!({})),
        ("DescribeStreamConsumer", arn, json!({"ConsumerName": "c"})),
        ("DescribeStreamSummary", name, json!({})),
        ("DeregisterStreamConsumer", arn, json!({"ConsumerName": "c"})),
        ("DisableEnhancedMonitoring", name, metrics.clone()),
        ("EnableEnhancedMonitoring", name, metrics),
        ("GetResourcePolicy", "ResourceARN", json!({})),
        ("GetShardIterator", name, json!({"ShardId": shard, "ShardIteratorType": "LATEST"})),
        ("IncreaseStreamRetentionPeriod", name, json!({"RetentionPeriodHours": 48})),
        ("ListShards", name, json!({})),
        ("ListStreamConsumers", arn, json!({})),
        ("ListTagsForResource", "ResourceARN", json!({})),
        ("ListTagsForStream", name, json!({})),
        (
            "MergeShards",
            name,
            json!({"ShardToMerge": shard, "AdjacentShardToMerge": "shardId-000000000001"}),
        ),
        ("PutRecord", name, json!({"PartitionKey": "k", "Data": "eA=="})),
        ("PutRecords", name, json!({"Records": [{"PartitionKey": "k", "Data": "eA=="}]})),
        ("PutResourcePolicy", "ResourceARN", json!({"Policy": "{}"})),
        ("RegisterStreamConsumer", arn, json!({"ConsumerName": "d"})),
        ("RemoveTagsFromStream", name, json!({"TagKeys": ["k"]})),
        ("SplitShard", name, json!({"ShardToSplit": shard, "NewStartingHashKey": "5"})),
        ("StartStreamEncryption", name, key.clone()),
        ("StopStreamEncryption", name, key),
        ("TagResource", "ResourceARN", json!({"Tags": {"k": "v"}})),
        ("UntagResource", "ResourceARN", json!({"TagKeys": ["k"]})),
        ("UpdateMaxRecordSize", arn, json!({"MaxRecordSizeInKiB": 2048})),
        (
            "UpdateShardCount",
            name,
            json!({"TargetShardCount": 3, "ScalingType": "UNIFORM_SCALING"}),
        ),
        ("UpdateStreamMode", arn, on_demand),
        ("UpdateStreamRecordDistributionStrategy", arn, user_key),
        ("UpdateStreamWarmThroughput", name, json!({"WarmThroughputMiBps": 10})),
    ]
}
