//! SplitShard, MergeShards and UpdateShardCount, and what readers see of them.

use std::time::Duration;

use serde_json::{Value, json};

use crate::world::{HOUR, SHARD, World, arn, keys};

const HALF: u128 = 1 << 127;

fn split(shard: &str, at: impl ToString) -> Value {
    json!({"StreamName": "s", "ShardToSplit": shard, "NewStartingHashKey": at.to_string()})
}

fn merge(one: u32, other: u32) -> Value {
    let id = |number: u32| format!("shardId-{number:012}");
    json!({"StreamName": "s", "ShardToMerge": id(one), "AdjacentShardToMerge": id(other)})
}

async fn world(shards: u32) -> World {
    let world = World::new().await;
    world.stream("s", shards).await;
    world
}

#[tokio::test]
async fn a_split_makes_two_children_with_their_parent_and_parts_of_its_range() {
    let world = world(1).await;
    world.ok("SplitShard", split(SHARD, HALF)).await;
    let listed = world.ok("ListShards", json!({"StreamName": "s"})).await;
    let shards = listed["Shards"].as_array().unwrap();
    assert_eq!(shards.len(), 3);
    assert!(shards[0]["SequenceNumberRange"]["EndingSequenceNumber"].is_string(), "closed");
    assert!(shards[1]["SequenceNumberRange"].get("EndingSequenceNumber").is_none(), "open");
    for (child, start, end) in [(1, 0, HALF - 1), (2, HALF, u128::MAX)] {
        let range = &shards[child]["HashKeyRange"];
        assert_eq!(range["StartingHashKey"], start.to_string());
        assert_eq!(range["EndingHashKey"], end.to_string());
        assert_eq!(shards[child]["ParentShardId"], SHARD);
        assert!(shards[child].get("AdjacentParentShardId").is_none());
    }
}

#[tokio::test]
async fn a_split_needs_a_hash_key_inside_the_shard() {
    let world = world(2).await;
    for bad in [0, HALF, u128::MAX] {
        world.refused("SplitShard", split(SHARD, bad), "InvalidArgumentException").await;
    }
    world.refused("SplitShard", split(SHARD, "x"), "ValidationException").await;
    let missing = split("shardId-000000000009", 5);
    world.refused("SplitShard", missing, "ResourceNotFoundException").await;
}

#[tokio::test]
async fn a_closed_shard_is_neither_split_nor_merged() {
    let world = world(2).await;
    world.ok("SplitShard", split(SHARD, 5)).await;
    world.refused("SplitShard", split(SHARD, 9), "InvalidArgumentException").await;
    world.refused("MergeShards", merge(0, 1), "InvalidArgumentException").await;
}

#[tokio::test]
async fn a_merge_makes_one_child_of_two_neighbours() {
    let world = world(3).await;
    world.refused("MergeShards", merge(0, 2), "InvalidArgumentException").await;
    world.refused("MergeShards", merge(0, 0), "InvalidArgumentException").await;
    world.refused("MergeShards", merge(0, 7), "ResourceNotFoundException").await;
    world.ok("MergeShards", merge(1, 0)).await;
    let listed = world.ok("ListShards", json!({"StreamName": "s"})).await;
    let child = &listed["Shards"][3];
    let mut parents =
        [&child["ParentShardId"], &child["AdjacentParentShardId"]].map(Value::to_string);
    parents.sort();
    assert_eq!(parents, ["\"shardId-000000000000\"", "\"shardId-000000000001\""]);
    assert_eq!(child["HashKeyRange"]["StartingHashKey"], "0");
    assert_eq!(world.summary("s").await["OpenShardCount"], 2);
}

#[tokio::test]
async fn a_stream_is_updating_while_it_is_resharded_and_takes_no_second_change() {
    let world = World::slow().await;
    world.stream("s", 2).await;
    world.refused("SplitShard", split(SHARD, 5), "ResourceInUseException").await;
    world.pass(Duration::from_secs(1));
    world.ok("SplitShard", split(SHARD, 5)).await;
    assert_eq!(world.status("s").await, "UPDATING");
    for (operation, request) in [
        ("SplitShard", split("shardId-000000000001", HALF + 5)),
        ("MergeShards", merge(0, 1)),
        (
            "UpdateShardCount",
            json!({"StreamName": "s", "TargetShardCount": 4, "ScalingType": "UNIFORM_SCALING"}),
        ),
        ("UpdateMaxRecordSize", json!({"StreamARN": arn("s"), "MaxRecordSizeInKiB": 2048})),
    ] {
        world.refused(operation, request, "ResourceInUseException").await;
    }
    world.put("s", "k", "records go on").await;
    world.pass(Duration::from_secs(1));
    assert_eq!(world.status("s").await, "ACTIVE");
}

#[tokio::test]
async fn the_last_read_of_a_closed_shard_names_the_children_and_no_iterator() {
    let world = world(1).await;
    world.put("s", "a", "").await;
    let iterator = world.whole_of("s").await;
    world.ok("SplitShard", split(SHARD, HALF)).await;
    let got = world.read(&iterator).await;
    assert_eq!(keys(&got), ["a"]);
    assert!(got.get("NextShardIterator").is_none());
    assert_eq!(got["MillisBehindLatest"], 0);
    let children = got["ChildShards"].as_array().unwrap();
    assert_eq!(children.len(), 2);
    assert_eq!(children[0]["ShardId"], "shardId-000000000001");
    assert_eq!(children[0]["ParentShards"], json!([SHARD]));
    assert_eq!(children[1]["HashKeyRange"]["StartingHashKey"], HALF.to_string());
}

#[tokio::test]
async fn a_closed_shard_gives_iterators_and_its_records() {
    let world = world(1).await;
    world.put("s", "a", "").await;
    world.ok("SplitShard", split(SHARD, HALF)).await;
    assert_eq!(world.keys(&world.whole_of("s").await).await, ["a"]);
    let latest = world.iterator("s", json!({"ShardIteratorType": "LATEST"})).await;
    let got = world.read(&latest).await;
    assert!(keys(&got).is_empty() && got.get("NextShardIterator").is_none());
    assert_eq!(got["ChildShards"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn children_take_what_comes_after_and_their_numbers_are_above() {
    let world = world(1).await;
    let before = world.put("s", "a", "").await;
    world.ok("SplitShard", split(SHARD, HALF)).await;
    let after = world.put("s", "a", "").await;
    assert_eq!(after["ShardId"], "shardId-000000000001");
    assert!(after["SequenceNumber"].as_str() > before["SequenceNumber"].as_str());
}

#[tokio::test]
async fn an_update_of_the_count_is_half_to_double() {
    let world = world(4).await;
    let how = "UNIFORM_SCALING";
    let to = |count: u32| json!({"StreamName": "s", "TargetShardCount": count, "ScalingType": how});
    for bad in [1, 9] {
        world.refused("UpdateShardCount", to(bad), "InvalidArgumentException").await;
    }
    world.refused("UpdateShardCount", to(0), "ValidationException").await;
    let kind = json!({"StreamName": "s", "TargetShardCount": 4, "ScalingType": "OTHER"});
    world.refused("UpdateShardCount", kind, "ValidationException").await;
    let told = world.ok("UpdateShardCount", to(8)).await;
    assert_eq!((&told["CurrentShardCount"], &told["TargetShardCount"]), (&json!(4), &json!(8)));
    assert_eq!((&told["StreamName"], &told["StreamARN"]), (&json!("s"), &json!(arn("s"))));
    assert_eq!(world.summary("s").await["OpenShardCount"], 8);
    world.ok("UpdateShardCount", to(4)).await;
    let latest = json!({"StreamName": "s", "ShardFilter": {"Type": "AT_LATEST"}});
    let listed = world.ok("ListShards", latest).await;
    let mut starts: Vec<u128> = listed["Shards"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["HashKeyRange"]["StartingHashKey"].as_str().unwrap().parse().unwrap())
        .collect();
    starts.sort();
    assert_eq!(starts, [0, 1 << 126, HALF, HALF + (1 << 126)], "even");
}

#[tokio::test]
async fn the_count_is_updated_ten_times_a_day() {
    let world = World::limited().await;
    world.stream("s", 2).await;
    let how = "UNIFORM_SCALING";
    let to = |to: usize| json!({"StreamName": "s", "TargetShardCount": to, "ScalingType": how});
    for number in 0..10 {
        world.ok("UpdateShardCount", to(2 + (number + 1) % 2)).await;
        world.pass(Duration::from_secs(1));
    }
    world.refused("UpdateShardCount", to(3), "LimitExceededException").await;
    world.pass(24 * HOUR);
    world.ok("UpdateShardCount", to(3)).await;
}

#[tokio::test]
async fn an_on_demand_stream_is_not_resharded_by_hand() {
    let world = World::new().await;
    let request = json!({"StreamName": "s", "StreamModeDetails": {"StreamMode": "ON_DEMAND"}});
    world.ok("CreateStream", request).await;
    world.refused("SplitShard", split(SHARD, 5), "ValidationException").await;
    world.refused("MergeShards", merge(0, 1), "ValidationException").await;
}

#[tokio::test]
async fn at_most_five_streams_are_resharded_at_once_also_when_asked_at_once() {
    let world = World::with(|config| {
        config.transition = Duration::from_secs(1);
        config.streams = (0..8).map(|number| (format!("s{number}"), 2)).collect();
    });
    let world = world.await;
    let split = |number: usize| {
        let request = json!({"StreamName": format!("s{number}"), "ShardToSplit": SHARD,
            "NewStartingHashKey": "5"});
        world.call("SplitShard", request)
    };
    let answers = tokio::join!(
        split(0),
        split(1),
        split(2),
        split(3),
        split(4),
        split(5),
        split(6),
        split(7)
    );
    let (a, b, c, d, e, f, g, h) = answers;
    let refused: Vec<_> =
        [a, b, c, d, e, f, g, h].into_iter().filter(|answer| answer.status != 200).collect();
    assert_eq!(refused.len(), 3);
    for answer in refused {
        assert_eq!(answer.json()["__type"], "LimitExceededException");
    }
    // Another kind of change is not counted with them.
    let mut statuses = Vec::new();
    for number in 0..8 {
        statuses.push((world.status(&format!("s{number}")).await == "ACTIVE", number));
    }
    let (_, free) = statuses.into_iter().find(|(is_active, _)| *is_active).unwrap();
    let update = json!({"StreamName": format!("s{free}"), "TargetShardCount": 3,
        "ScalingType": "UNIFORM_SCALING"});
    world.ok("UpdateShardCount", update).await;
    world.pass(Duration::from_secs(1));
    let merge = json!({"StreamName": "s0", "ShardToMerge": "shardId-000000000002",
        "AdjacentShardToMerge": "shardId-000000000003"});
    let answer = world.call("MergeShards", merge).await;
    assert_ne!(answer.json()["__type"], "LimitExceededException", "the room came back");
}

#[tokio::test]
async fn of_splits_of_one_stream_at_once_one_is_taken() {
    let world = World::slow().await;
    world.stream("s", 4).await;
    world.pass(Duration::from_secs(1));
    let of = |number: u32| {
        let at = u128::from(number) * (1 << 126) + 5;
        world.call("SplitShard", split(&format!("shardId-{number:012}"), at))
    };
    let (a, b, c, d) = tokio::join!(of(0), of(1), of(2), of(3));
    let mut statuses = [a, b, c, d].map(|answer| answer.status);
    statuses.sort();
    assert_eq!(statuses, [200, 400, 400, 400]);
}
