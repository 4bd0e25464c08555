//! PutRecord and PutRecords.

use std::time::Duration;

use serde_json::{Value, json};

use crate::world::{HOUR, World, arn, base64};

fn put(more: Value) -> Value {
    let mut request = json!({"StreamName": "s", "PartitionKey": "k", "Data": "eA=="});
    request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    request
}

async fn world() -> World {
    let world = World::new().await;
    world.stream("s", 2).await;
    world
}

#[tokio::test]
async fn a_put_tells_the_shard_and_a_sequence_number_of_many_digits() {
    let put = world().await.put("s", "k", "x").await;
    assert!(put["ShardId"].as_str().unwrap().starts_with("shardId-00000000000"));
    let number = put["SequenceNumber"].as_str().unwrap();
    assert!(number.len() == 56 && number.bytes().all(|digit| digit.is_ascii_digit()));
    assert_eq!(put["EncryptionType"], "NONE");
}

#[tokio::test]
async fn the_md5_of_the_key_picks_the_shard() {
    let world = world().await;
    // MD5("a") begins with 0c, MD5("k") with 8c.
    assert_eq!(world.put("s", "a", "x").await["ShardId"], "shardId-000000000000");
    assert_eq!(world.put("s", "k", "x").await["ShardId"], "shardId-000000000001");
}

#[tokio::test]
async fn an_explicit_hash_key_picks_the_shard_up_to_both_ends() {
    let world = world().await;
    let half = 1u128 << 127;
    for (key, shard) in [(0, 0), (half - 1, 0), (half, 1), (u128::MAX, 1)] {
        let told = world.ok("PutRecord", put(json!({"ExplicitHashKey": key.to_string()}))).await;
        assert_eq!(told["ShardId"], format!("shardId-00000000000{shard}"), "{key}");
    }
    let past = "340282366920938463463374607431768211456";
    let request = put(json!({"ExplicitHashKey": past}));
    world.refused("PutRecord", request, "InvalidArgumentException").await;
    for bad in ["", "-1", "01", "x", &"1".repeat(40)] {
        let request = put(json!({"ExplicitHashKey": bad}));
        world.refused("PutRecord", request, "ValidationException").await;
    }
}

#[tokio::test]
async fn sequence_numbers_of_a_shard_rise() {
    let world = world().await;
    let mut last = String::new();
    for _ in 0..3 {
        let told = world.put("s", "k", "x").await;
        let number = told["SequenceNumber"].as_str().unwrap().to_owned();
        assert!(number > last, "equal lengths: as texts too");
        let order = put(json!({"SequenceNumberForOrdering": number}));
        let next = world.ok("PutRecord", order).await;
        assert!(next["SequenceNumber"].as_str().unwrap() > number.as_str());
        last = number;
    }
    let request = put(json!({"SequenceNumberForOrdering": "x"}));
    world.refused("PutRecord", request, "ValidationException").await;
}

#[tokio::test]
async fn a_partition_key_has_1_to_256_characters() {
    let world = world().await;
    world.ok("PutRecord", put(json!({"PartitionKey": "é".repeat(256)}))).await;
    for bad in [json!(""), json!("é".repeat(257)), json!(null)] {
        let request = put(json!({"PartitionKey": bad}));
        world.refused("PutRecord", request, "ValidationException").await;
    }
}

#[tokio::test]
async fn a_record_may_be_empty_but_not_missing() {
    let world = world().await;
    world.ok("PutRecord", put(json!({"Data": ""}))).await;
    world.refused("PutRecord", put(json!({"Data": null})), "ValidationException").await;
    world.refused("PutRecord", put(json!({"Data": "?"})), "SerializationException").await;
    world.refused("PutRecord", put(json!({"Data": 5})), "SerializationException").await;
}

#[tokio::test]
async fn a_record_has_a_mebibyte_with_its_key_until_the_stream_allows_more() {
    let world = world().await;
    let sized = |bytes: usize| put(json!({"Data": base64(&vec![0; bytes])}));
    world.ok("PutRecord", sized((1 << 20) - 1)).await;
    world.refused("PutRecord", sized(1 << 20), "InvalidArgumentException").await;
    let allow = json!({"StreamARN": arn("s"), "MaxRecordSizeInKiB": 2048});
    world.ok("UpdateMaxRecordSize", allow).await;
    world.ok("PutRecord", sized((2 << 20) - 1)).await;
    world.refused("PutRecord", sized(2 << 20), "InvalidArgumentException").await;
}

#[tokio::test]
async fn the_largest_record_has_ten_mebibytes() {
    let world = world().await;
    let allow = |kib| json!({"StreamARN": arn("s"), "MaxRecordSizeInKiB": kib});
    world.ok("UpdateMaxRecordSize", allow(10_240)).await;
    world.ok("PutRecord", put(json!({"Data": base64(&vec![7; (10 << 20) - 1])}))).await;
    for bad in [1023, 10_241] {
        world.refused("UpdateMaxRecordSize", allow(bad), "ValidationException").await;
    }
}

#[tokio::test]
async fn a_put_of_many_answers_for_each_in_order() {
    let world = world().await;
    let records: Vec<_> =
        ["a", "k", "a"].map(|key| json!({"PartitionKey": key, "Data": "eA=="})).into();
    let told = world.ok("PutRecords", json!({"StreamName": "s", "Records": records})).await;
    assert_eq!((&told["FailedRecordCount"], &told["EncryptionType"]), (&json!(0), &json!("NONE")));
    let shards: Vec<_> =
        told["Records"].as_array().unwrap().iter().map(|it| it["ShardId"].clone()).collect();
    let [zero, one] = ["shardId-000000000000", "shardId-000000000001"];
    assert_eq!(shards, [zero, one, zero]);
    assert!(told["Records"][0].get("ErrorCode").is_none());
}

#[tokio::test]
async fn a_put_of_many_has_1_to_500_records() {
    let world = world().await;
    let many = |count: usize| {
        let records = vec![json!({"PartitionKey": "k", "Data": ""}); count];
        json!({"StreamName": "s", "Records": records})
    };
    world.ok("PutRecords", many(500)).await;
    for bad in [0, 501] {
        world.refused("PutRecords", many(bad), "ValidationException").await;
    }
}

#[tokio::test]
async fn a_put_of_many_has_ten_mebibytes_with_keys() {
    let world = world().await;
    let data = base64(&vec![0; 1_000_000]);
    let many = |count: usize| {
        let records = vec![json!({"PartitionKey": "k", "Data": data}); count];
        json!({"StreamName": "s", "Records": records})
    };
    world.ok("PutRecords", many(10)).await;
    world.refused("PutRecords", many(11), "InvalidArgumentException").await;
}

#[tokio::test]
async fn one_wrong_record_refuses_them_all() {
    let world = world().await;
    for (bad, error) in [
        (json!({"PartitionKey": "", "Data": "eA=="}), "ValidationException"),
        (json!({"Data": "eA=="}), "ValidationException"),
        (json!({"PartitionKey": "k"}), "ValidationException"),
        (
            json!({"PartitionKey": "k", "Data": "eA==", "ExplicitHashKey": "x"}),
            "ValidationException",
        ),
        (json!({"PartitionKey": "k", "Data": "!"}), "SerializationException"),
        (
            json!({"PartitionKey": "k", "Data": base64(&vec![0; 1 << 20])}),
            "InvalidArgumentException",
        ),
    ] {
        let records = json!([{"PartitionKey": "a", "Data": "eA=="}, bad]);
        world.refused("PutRecords", json!({"StreamName": "s", "Records": records}), error).await;
    }
    assert!(world.keys(&world.whole_of("s").await).await.is_empty());
    let records = json!([{"PartitionKey": "a", "Data": "eA=="}, {"PartitionKey": "", "Data": ""}]);
    let request = json!({"StreamName": "s", "Records": records});
    let told = world.refused("PutRecords", request, "ValidationException").await;
    assert!(told.contains("'records.2.member.partitionKey'"), "{told}");
}

#[tokio::test]
async fn a_dry_run_says_that_it_would_have_worked_and_does_nothing() {
    let world = world().await;
    world.refused("PutRecord", put(json!({"DryRun": true})), "DryRunOperationException").await;
    let records = json!([{"PartitionKey": "a", "Data": "eA=="}]);
    let many = json!({"StreamName": "s", "Records": records, "DryRun": true});
    world.refused("PutRecords", many, "DryRunOperationException").await;
    let missing = put(json!({"StreamName": "t", "DryRun": true}));
    world.refused("PutRecord", missing, "ResourceNotFoundException").await;
    let iterator = world.whole_of("s").await;
    let dry = json!({"ShardIterator": iterator, "DryRun": true});
    world.refused("GetRecords", dry, "DryRunOperationException").await;
    assert!(world.keys(&iterator).await.is_empty());
    let dry = json!({"StreamName": "s", "ShardId": "shardId-000000000000",
        "ShardIteratorType": "LATEST", "DryRun": true});
    world.refused("GetShardIterator", dry, "DryRunOperationException").await;
}

#[tokio::test]
async fn a_full_stream_refuses_puts_by_names_that_the_model_has_until_records_expire() {
    let world = World::with(|config| config.memory_bytes = 1000).await;
    world.stream("s", 1).await;
    // Each takes 16 bytes more.
    let large = json!({"StreamName": "s", "PartitionKey": "k", "Data": base64(&[0; 583])});
    world.ok("PutRecord", large.clone()).await;
    let told = world.refused("PutRecord", large.clone(), "InternalFailureException").await;
    assert!(told.contains("its 1000 bytes of memory hold unexpired records"), "{told}");
    assert_eq!(world.call("PutRecord", large.clone()).await.status, 500, "to be tried again");
    let small = json!({"PartitionKey": "k", "Data": ""});
    let records = json!([small, {"PartitionKey": "k", "Data": large["Data"]}]);
    let told = world.ok("PutRecords", json!({"StreamName": "s", "Records": records})).await;
    assert_eq!(told["FailedRecordCount"], 1);
    assert!(told["Records"][0]["SequenceNumber"].is_string());
    let refused = &told["Records"][1];
    assert_eq!(refused["ErrorCode"], "InternalFailure");
    assert!(refused["ErrorMessage"].as_str().unwrap().contains("1000 bytes"), "{refused}");
    world.pass(24 * HOUR + Duration::from_millis(1));
    world.ok("PutRecord", large).await;
}
