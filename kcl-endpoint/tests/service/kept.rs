//! What of an endpoint with a folder comes back after it was stopped.

use serde_json::json;

use crate::world::{World, arn};

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

/// The folder is free once the last connection of the endpoint before has ended.
async fn again(folder: &tempfile::TempDir) -> World {
    use kcl_stream_disk::{DiskOptions, DiskStore};
    while DiskStore::open(folder.path(), DiskOptions::default()).is_err() {
        tokio::task::yield_now().await;
    }
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
        config.transition = std::time::Duration::from_secs(1);
    });
    let world = world.await;
    world.stream("s", 1).await;
    world.stream("t", 1).await;
    world.pass(std::time::Duration::from_secs(1));
    world.ok("DeleteStream", json!({"StreamName": "s"})).await;
    assert_eq!(world.status("s").await, "DELETING");
    drop(world);
    let world = again(&folder).await;
    let listed = world.ok("ListStreams", json!({})).await;
    assert_eq!(listed["StreamNames"], json!(["t"]));
    world.stream("s", 1).await;
}
