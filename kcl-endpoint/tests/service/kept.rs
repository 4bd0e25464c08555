//! What of an endpoint with a folder comes back after it was stopped.

use std::time::Duration;

use kcl_stream_local::Throughput;
use serde_json::json;

use crate::world::{SHARD, World, arn, base64};

#[tokio::test]
async fn streams_come_back_with_their_settings_and_consumers() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::kept(folder.path()).await;
    world.stream("s", 2).await;
    world.put("s", "a", "x").await;
    let consumer = world.consumer("s", "c").await;
    world.ok("AddTagsToStream", json!({"StreamName": "s", "Tags": {"k": "v"}})).await;
    world.ok("TagResource", json!({"ResourceARN": consumer, "Tags": {"of": "c"}})).await;
    let kms = json!({"StreamName": "s", "EncryptionType": "KMS", "KeyId": "key"});
    world.ok("StartStreamEncryption", kms).await;
    let policy = json!({"ResourceARN": arn("s"), "Policy": "{}"});
    world.ok("PutResourcePolicy", policy).await;
    let metrics = json!({"StreamName": "s", "ShardLevelMetrics": ["IncomingBytes"]});
    world.ok("EnableEnhancedMonitoring", metrics).await;
    let enable = json!({"MinimumThroughputBillingCommitment": {"Status": "ENABLED"}});
    world.ok("UpdateAccountSettings", enable).await;
    let before = world.summary("s").await;
    let iterator = world.whole_of("s").await;
    drop(world);

    let world = again(&folder).await;
    assert_eq!(world.summary("s").await, before);
    let tags = world.ok("ListTagsForStream", json!({"StreamName": "s"})).await;
    assert_eq!(tags["Tags"], json!([{"Key": "k", "Value": "v"}]));
    let tags = world.ok("ListTagsForResource", json!({"ResourceARN": consumer})).await;
    assert_eq!(tags["Tags"], json!([{"Key": "of", "Value": "c"}]));
    assert_eq!(
        world.ok("GetResourcePolicy", json!({"ResourceARN": arn("s")})).await["Policy"],
        "{}"
    );
    let told = world.ok("DescribeStreamConsumer", json!({"ConsumerARN": consumer})).await;
    assert_eq!(told["ConsumerDescription"]["ConsumerStatus"], "ACTIVE");
    let told = world.ok("DescribeAccountSettings", json!({})).await;
    assert_eq!(told["MinimumThroughputBillingCommitment"]["Status"], "ENABLED");
    assert_eq!(world.keys(&iterator).await, ["a"], "iterators outlive the process");
}

#[tokio::test]
async fn rates_and_memory_are_as_the_new_start_says() {
    let folder = tempfile::tempdir().unwrap();
    let with = |throughput, memory_bytes| {
        let data = Some(folder.path().to_owned());
        World::with(move |config| {
            (config.throughput, config.memory_bytes, config.data) =
                (throughput, memory_bytes, data);
        })
    };
    let iterators = async |world: &World, count| {
        let request =
            json!({"StreamName": "s", "ShardId": SHARD, "ShardIteratorType": "TRIM_HORIZON"});
        for _ in 0..count {
            world.ok("GetShardIterator", request.clone()).await;
        }
        world.call("GetShardIterator", request).await.status
    };
    let reads = async |world: &World| {
        let iterator = world.whole_of("s").await;
        let mut refused = 0;
        for _ in 0..6 {
            let read = world.call("GetRecords", json!({"ShardIterator": iterator})).await;
            refused += u32::from(read.status != 200);
        }
        refused
    };
    let put = json!({"StreamName": "s", "PartitionKey": "k", "Data": base64(&[0; 600])});
    let world = with(Throughput::Provisioned, 1000).await;
    world.stream("s", 1).await;
    world.ok("PutRecord", put.clone()).await;
    world.refused("PutRecord", put.clone(), "InternalFailureException").await;
    assert_eq!((reads(&world).await, iterators(&world, 4).await), (1, 400));
    drop(world);
    free(&folder).await;

    let world = with(Throughput::Unlimited, 3000).await;
    world.ok("PutRecord", put.clone()).await;
    assert_eq!((reads(&world).await, iterators(&world, 4).await), (0, 200));
    drop(world);
    free(&folder).await;

    let world = with(Throughput::Provisioned, 1000).await;
    assert_eq!(world.keys(&world.whole_of("s").await).await.len(), 2, "none is dropped");
    world.refused("PutRecord", put, "InternalFailureException").await;
    world.pass(Duration::from_secs(1));
    assert_eq!((reads(&world).await, iterators(&world, 4).await), (1, 400));
}

/// The folder is free once the last connection of the endpoint before has ended.
async fn free(folder: &tempfile::TempDir) {
    use kcl_stream_disk::{DiskOptions, DiskStore};
    let is_free = async {
        while DiskStore::open(folder.path(), DiskOptions::default()).is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), is_free).await.expect("the folder is held");
}

async fn again(folder: &tempfile::TempDir) -> World {
    free(folder).await;
    World::kept(folder.path()).await
}

#[tokio::test]
async fn a_stream_made_anew_has_nothing_of_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::kept(folder.path()).await;
    world.stream("s", 1).await;
    world.consumer("s", "c").await;
    world.ok("AddTagsToStream", json!({"StreamName": "s", "Tags": {"k": "v"}})).await;
    world.ok("DeleteStream", json!({"StreamName": "s", "EnforceConsumerDeletion": true})).await;
    world.stream("s", 1).await;
    drop(world);
    let world = again(&folder).await;
    assert_eq!(world.summary("s").await["ConsumerCount"], 0);
    let tags = world.ok("ListTagsForStream", json!({"StreamName": "s"})).await;
    assert_eq!(tags["Tags"], json!([]));
}

#[tokio::test]
async fn a_stream_that_was_being_deleted_does_not_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_owned();
    let world = World::with(|config| {
        config.data = Some(data);
        config.transition = Duration::from_secs(1);
    });
    let world = world.await;
    world.stream("s", 1).await;
    world.stream("t", 1).await;
    world.pass(Duration::from_secs(1));
    world.ok("DeleteStream", json!({"StreamName": "s"})).await;
    assert_eq!(world.status("s").await, "DELETING");
    drop(world);
    let world = again(&folder).await;
    let listed = world.ok("ListStreams", json!({})).await;
    assert_eq!(listed["StreamNames"], json!(["t"]));
    world.stream("s", 1).await;
}
