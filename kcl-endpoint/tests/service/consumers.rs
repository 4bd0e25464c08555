//! Consumers: registered, described, listed, removed.

use std::time::Duration;

use serde_json::{Value, json};

use crate::world::{World, arn};

fn named(name: &str) -> Value {
    json!({"StreamARN": arn("s"), "ConsumerName": name})
}

async fn world() -> World {
    let world = World::slow().await;
    world.stream("s", 1).await;
    world.pass(Duration::from_secs(1));
    world
}

#[tokio::test]
async fn a_consumer_is_creating_and_then_active() {
    let world = world().await;
    let told = world.ok("RegisterStreamConsumer", named("c")).await["Consumer"].clone();
    assert_eq!(told["ConsumerStatus"], "CREATING");
    assert_eq!(told["ConsumerName"], "c");
    let consumer_arn = told["ConsumerARN"].as_str().unwrap();
    assert!(consumer_arn.starts_with(&format!("{}/consumer/c:", arn("s"))), "{consumer_arn}");
    assert!(told["ConsumerCreationTimestamp"].is_number());
    world.pass(Duration::from_secs(1));
    let told = world.ok("DescribeStreamConsumer", json!({"ConsumerARN": consumer_arn})).await;
    let told = &told["ConsumerDescription"];
    assert_eq!((&told["ConsumerStatus"], &told["StreamARN"]), (&json!("ACTIVE"), &json!(arn("s"))));
    assert_eq!(world.summary("s").await["ConsumerCount"], 1);
}

#[tokio::test]
async fn a_consumer_is_named_once_a_stream() {
    let world = world().await;
    world.consumer("s", "c").await;
    world.refused("RegisterStreamConsumer", named("c"), "ResourceInUseException").await;
    world.stream("t", 1).await;
    world.pass(Duration::from_secs(1));
    world.consumer("t", "c").await;
}

#[tokio::test]
async fn five_consumers_are_creating_at_once_and_twenty_there() {
    let world = world().await;
    for batch in 0..4 {
        for number in 0..5 {
            world.consumer("s", &format!("c{batch}{number}")).await;
        }
        world.refused("RegisterStreamConsumer", named("more"), "LimitExceededException").await;
        world.pass(Duration::from_secs(1));
    }
    let told = world.refused("RegisterStreamConsumer", named("more"), "LimitExceededException");
    assert!(told.await.contains("20"));
}

#[tokio::test]
async fn on_demand_streams_of_a_committed_account_have_fifty_consumers() {
    let world = World::new().await;
    world.stream("provisioned", 1).await;
    let on_demand = json!({"StreamName": "s", "StreamModeDetails": {"StreamMode": "ON_DEMAND"}});
    world.ok("CreateStream", on_demand).await;
    let committed = json!({"MinimumThroughputBillingCommitment": {"Status": "ENABLED"}});
    for (stream, most) in [("s", 20), ("s", 50), ("provisioned", 20)] {
        for number in 0..most {
            let request = json!({"StreamARN": arn(stream), "ConsumerName": format!("c{number}")});
            world.call("RegisterStreamConsumer", request).await;
        }
        let more = json!({"StreamARN": arn(stream), "ConsumerName": "more"});
        world.refused("RegisterStreamConsumer", more, "LimitExceededException").await;
        assert_eq!(world.summary(stream).await["ConsumerCount"], most);
        world.ok("UpdateAccountSettings", committed.clone()).await;
    }
}

#[tokio::test]
async fn a_consumer_is_named_by_its_arn_or_by_stream_and_name() {
    let world = world().await;
    let consumer_arn = world.consumer("s", "c").await;
    world.ok("DescribeStreamConsumer", named("c")).await;
    world.ok("DescribeStreamConsumer", json!({"ConsumerARN": consumer_arn})).await;
    for bad in [
        json!({}),
        json!({"ConsumerName": "c"}),
        json!({"StreamARN": arn("s")}),
        json!({"ConsumerARN": consumer_arn, "ConsumerName": "d"}),
    ] {
        world.refused("DescribeStreamConsumer", bad, "InvalidArgumentException").await;
    }
    for missing in [named("d"), json!({"ConsumerARN": format!("{}/consumer/c:5", arn("s"))})] {
        world.refused("DescribeStreamConsumer", missing, "ResourceNotFoundException").await;
    }
    let bad = json!({"ConsumerARN": arn("s")});
    world.refused("DescribeStreamConsumer", bad, "ValidationException").await;
}

#[tokio::test]
async fn a_deregistered_consumer_is_deleting_and_then_gone() {
    let world = world().await;
    world.consumer("s", "c").await;
    world.ok("DeregisterStreamConsumer", named("c")).await;
    let told = world.ok("DescribeStreamConsumer", named("c")).await;
    assert_eq!(told["ConsumerDescription"]["ConsumerStatus"], "DELETING");
    world.pass(Duration::from_secs(1));
    world.refused("DescribeStreamConsumer", named("c"), "ResourceNotFoundException").await;
    world.refused("DeregisterStreamConsumer", named("c"), "ResourceNotFoundException").await;
}

#[tokio::test]
async fn consumers_are_listed_in_pages() {
    let world = world().await;
    for name in ["b", "c", "a"] {
        world.consumer("s", name).await;
    }
    let list = |more: Value| {
        let mut request = json!({"StreamARN": arn("s")});
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        request
    };
    let names = |told: &Value| -> Vec<String> {
        let all = told["Consumers"].as_array().unwrap();
        all.iter().map(|it| it["ConsumerName"].as_str().unwrap().to_owned()).collect()
    };
    let first = world.ok("ListStreamConsumers", list(json!({"MaxResults": 2}))).await;
    assert_eq!(names(&first), ["a", "b"]);
    let token = first["NextToken"].clone();
    let rest = world.ok("ListStreamConsumers", list(json!({"NextToken": token}))).await;
    assert_eq!(names(&rest), ["c"]);
    assert!(rest.get("NextToken").is_none());
    world.pass(Duration::from_secs(301));
    let expired = list(json!({"NextToken": token}));
    world.refused("ListStreamConsumers", expired, "ExpiredNextTokenException").await;
    for bad in [json!({"MaxResults": 0}), json!({"MaxResults": 10_001})] {
        world.refused("ListStreamConsumers", list(bad), "ValidationException").await;
    }
    let other = list(json!({"StreamCreationTimestamp": 5}));
    world.refused("ListStreamConsumers", other, "ResourceNotFoundException").await;
    let both = list(json!({"StreamCreationTimestamp": 5, "NextToken": token}));
    world.refused("ListStreamConsumers", both, "InvalidArgumentException").await;
    let missing = json!({"StreamARN": arn("t")});
    world.refused("ListStreamConsumers", missing, "ResourceNotFoundException").await;
}

#[tokio::test]
async fn a_page_is_of_its_stream_and_of_none_with_its_name() {
    let world = World::new().await;
    for stream in ["s", "s2"] {
        world.stream(stream, 2).await;
        for name in ["a", "b"] {
            world.consumer(stream, name).await;
        }
    }
    let of = |stream: &str, more: Value| {
        let mut request = json!({"StreamARN": arn(stream)});
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        request
    };
    let first = of("s2", json!({"MaxResults": 1}));
    let token = world.ok("ListStreamConsumers", first).await["NextToken"].clone();
    let next = json!({"NextToken": token});
    let first = json!({"StreamName": "s2", "MaxResults": 1});
    let shards = world.ok("ListShards", first).await["NextToken"].clone();
    let shards = json!({"NextToken": shards});
    let streams = world.ok("ListStreams", json!({"Limit": 1})).await["NextToken"].clone();
    let streams = json!({"NextToken": streams});
    let error = "InvalidArgumentException";
    for other in [&next, &shards, &streams] {
        world.refused("ListStreamConsumers", of("s", other.clone()), error).await;
    }
    for other in [&next, &streams] {
        world.refused("ListShards", other.clone(), error).await;
    }
    for other in [&next, &shards] {
        world.refused("ListStreams", other.clone(), error).await;
    }
    world.ok("ListStreamConsumers", of("s2", next.clone())).await;
    assert_eq!(world.shards(shards.clone()).await, ["1"]);
    world.ok("ListStreams", streams).await;

    let delete = json!({"StreamName": "s2", "EnforceConsumerDeletion": true});
    world.ok("DeleteStream", delete).await;
    world.stream("s2", 2).await;
    world.refused("ListStreamConsumers", of("s2", next), error).await;
    world.refused("ListShards", shards, error).await;
}

#[tokio::test]
async fn a_consumer_has_tags_of_its_own() {
    let world = world().await;
    let request = json!({"StreamARN": arn("s"), "ConsumerName": "c", "Tags": {"a": "1"}});
    let told = world.ok("RegisterStreamConsumer", request).await;
    let consumer_arn = told["Consumer"]["ConsumerARN"].clone();
    world.ok("TagResource", json!({"ResourceARN": consumer_arn, "Tags": {"b": "2"}})).await;
    world.ok("UntagResource", json!({"ResourceARN": consumer_arn, "TagKeys": ["a"]})).await;
    let tags = world.ok("ListTagsForResource", json!({"ResourceARN": consumer_arn})).await;
    assert_eq!(tags["Tags"], json!([{"Key": "b", "Value": "2"}]));
    let of_stream = world.ok("ListTagsForResource", json!({"ResourceARN": arn("s")})).await;
    assert_eq!(of_stream["Tags"], json!([]));
}
