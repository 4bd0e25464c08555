//! ListShards: filters, pages and tokens.

use std::time::Duration;

use serde_json::{Value, json};

use crate::world::{HOUR, SHARD, World, arn, ids};

fn list(more: Value) -> Value {
    let mut request = json!({"StreamName": "s"});
    request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    request
}

fn filter(kind: &str) -> Value {
    list(json!({"ShardFilter": {"Type": kind}}))
}

/// Shard 0 was split an hour after the stream began, into 1 and 2; 2 another hour later, into 3, 4.
async fn world() -> World {
    let world = World::new().await;
    world.stream("s", 1).await;
    for (shard, at) in [(0, 1u128 << 127), (2, 3 << 126)] {
        world.pass(HOUR);
        let shard = format!("shardId-{shard:012}");
        let split =
            json!({"StreamName": "s", "ShardToSplit": shard, "NewStartingHashKey": at.to_string()});
        world.ok("SplitShard", split).await;
    }
    world
}

#[tokio::test]
async fn without_a_filter_every_shard_with_records_or_open_is_listed() {
    let world = world().await;
    assert_eq!(world.shards(list(json!({}))).await, ["0", "1", "2", "3", "4"]);
    assert_eq!(world.shards(filter("FROM_TRIM_HORIZON")).await, ["0", "1", "2", "3", "4"]);
}

#[tokio::test]
async fn at_latest_lists_the_open_shards() {
    assert_eq!(world().await.shards(filter("AT_LATEST")).await, ["1", "3", "4"]);
}

#[tokio::test]
async fn at_trim_horizon_lists_what_was_open_then() {
    let world = world().await;
    assert_eq!(world.shards(filter("AT_TRIM_HORIZON")).await, ["0"]);
    world.pass(23 * HOUR + HOUR / 2);
    assert_eq!(world.shards(filter("AT_TRIM_HORIZON")).await, ["1", "2"]);
}

#[tokio::test]
async fn at_and_from_a_time_list_what_was_open_then_and_since() {
    let world = world().await;
    let now = world.now_seconds();
    let at = |kind: &str, hours: f64| {
        list(json!({"ShardFilter": {"Type": kind, "Timestamp": now - hours * 3600.0}}))
    };
    assert_eq!(world.shards(at("AT_TIMESTAMP", 1.5)).await, ["0"]);
    assert_eq!(world.shards(at("AT_TIMESTAMP", 0.5)).await, ["1", "2"]);
    assert_eq!(world.shards(at("AT_TIMESTAMP", 100.0)).await, ["0"], "from the trim horizon");
    assert_eq!(world.shards(at("FROM_TIMESTAMP", 0.5)).await, ["1", "2", "3", "4"]);
    assert_eq!(world.shards(at("FROM_TIMESTAMP", 1.5)).await, ["0", "1", "2", "3", "4"]);
    world.refused("ListShards", at("AT_TIMESTAMP", -1.0), "InvalidArgumentException").await;
    world.refused("ListShards", filter("AT_TIMESTAMP"), "InvalidArgumentException").await;
    world.refused("ListShards", filter("FROM_TIMESTAMP"), "InvalidArgumentException").await;
}

#[tokio::test]
async fn after_a_shard_lists_those_with_higher_ids() {
    let world = world().await;
    let after =
        |shard: &str| list(json!({"ShardFilter": {"Type": "AFTER_SHARD_ID", "ShardId": shard}}));
    assert_eq!(world.shards(after("shardId-000000000002")).await, ["3", "4"]);
    world.refused("ListShards", filter("AFTER_SHARD_ID"), "InvalidArgumentException").await;
    let start = list(json!({"ExclusiveStartShardId": "shardId-000000000003"}));
    assert_eq!(world.shards(start).await, ["4"]);
}

#[tokio::test]
async fn a_filter_is_one_of_six() {
    let world = world().await;
    world.refused("ListShards", filter("OTHER"), "ValidationException").await;
    world.refused("ListShards", list(json!({"ShardFilter": {}})), "ValidationException").await;
}

#[tokio::test]
async fn an_expired_shard_is_not_listed() {
    let world = world().await;
    world.pass(23 * HOUR);
    assert_eq!(world.shards(list(json!({}))).await, ["1", "2", "3", "4"]);
    let iterator =
        json!({"StreamName": "s", "ShardId": SHARD, "ShardIteratorType": "TRIM_HORIZON"});
    world.refused("GetShardIterator", iterator, "ResourceNotFoundException").await;
    world.pass(HOUR);
    assert_eq!(world.shards(list(json!({}))).await, ["1", "3", "4"]);
}

#[tokio::test]
async fn shards_come_in_pages_and_keep_their_filter() {
    let world = world().await;
    let first = world.ok("ListShards", list(json!({"MaxResults": 2}))).await;
    assert_eq!(ids(&first), ["0", "1"]);
    let token = first["NextToken"].clone();
    let next = world.ok("ListShards", json!({"NextToken": token, "MaxResults": 2})).await;
    assert_eq!(ids(&next), ["2", "3"]);
    let token = next["NextToken"].clone();
    let last = world.ok("ListShards", json!({"NextToken": token})).await;
    assert_eq!(ids(&last), ["4"]);
    assert!(last.get("NextToken").is_none());

    let open = json!({"StreamName": "s", "MaxResults": 2, "ShardFilter": {"Type": "AT_LATEST"}});
    let first = world.ok("ListShards", open).await;
    assert_eq!(ids(&first), ["1", "3"]);
    let rest = json!({"NextToken": first["NextToken"]});
    assert_eq!(world.shards(rest).await, ["4"], "still the open ones");
}

#[tokio::test]
async fn a_token_comes_alone() {
    let world = world().await;
    let token = world.ok("ListShards", list(json!({"MaxResults": 1}))).await["NextToken"].clone();
    for with in [
        json!({"StreamName": "s"}),
        json!({"StreamARN": arn("s")}),
        json!({"ExclusiveStartShardId": SHARD}),
        json!({"StreamCreationTimestamp": 1}),
        json!({"ShardFilter": {"Type": "AT_LATEST"}}),
    ] {
        let mut request = json!({"NextToken": token});
        request.as_object_mut().unwrap().extend(with.as_object().unwrap().clone());
        world.refused("ListShards", request, "InvalidArgumentException").await;
    }
}

#[tokio::test]
async fn a_token_is_good_for_300_seconds_and_of_its_listing() {
    let world = world().await;
    let token = world.ok("ListShards", list(json!({"MaxResults": 1}))).await["NextToken"].clone();
    world.refused("ListStreams", json!({"NextToken": token}), "InvalidArgumentException").await;
    world.pass(Duration::from_secs(300));
    world.ok("ListShards", json!({"NextToken": token})).await;
    world.pass(Duration::from_secs(1));
    world.refused("ListShards", json!({"NextToken": token}), "ExpiredNextTokenException").await;
    world.refused("ListShards", json!({"NextToken": "x"}), "InvalidArgumentException").await;
}

#[tokio::test]
async fn a_page_has_1_to_10000_shards() {
    let world = world().await;
    for bad in [0, 10_001] {
        world.refused("ListShards", list(json!({"MaxResults": bad})), "ValidationException").await;
    }
    assert_eq!(world.shards(list(json!({"MaxResults": 10_000}))).await.len(), 5);
}

#[tokio::test]
async fn a_page_has_1000_shards_at_most() {
    let world = World::new().await;
    world.stream("s", 1001).await;
    for request in [list(json!({})), list(json!({"MaxResults": 1001}))] {
        let told = world.ok("ListShards", request).await;
        assert_eq!(ids(&told).len(), 1000);
        assert_eq!(
            world.shards(json!({"NextToken": told["NextToken"]})).await,
            ["shardId-000000001000"]
        );
    }
}

#[tokio::test]
async fn a_filter_takes_what_its_type_knows() {
    let world = world().await;
    for stray in [
        json!({"Type": "AT_LATEST", "ShardId": SHARD}),
        json!({"Type": "AT_TRIM_HORIZON", "Timestamp": 1}),
        json!({"Type": "FROM_TRIM_HORIZON", "Timestamp": 1}),
        json!({"Type": "AT_TIMESTAMP", "Timestamp": 1, "ShardId": SHARD}),
        json!({"Type": "AFTER_SHARD_ID", "Timestamp": 1, "ShardId": SHARD}),
    ] {
        let request = list(json!({"ShardFilter": stray}));
        world.refused("ListShards", request, "InvalidArgumentException").await;
    }
}

#[tokio::test]
async fn the_creation_time_tells_a_stream_from_another_of_its_name() {
    let world = world().await;
    let created = world.summary("s").await["StreamCreationTimestamp"].clone();
    world.ok("ListShards", list(json!({"StreamCreationTimestamp": created}))).await;
    let other = list(json!({"StreamCreationTimestamp": 5}));
    world.refused("ListShards", other, "ResourceNotFoundException").await;
}
