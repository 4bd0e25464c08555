//! Rows that others wrote: the Java KCL's, and broken ones.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue as V;
use kcl_core::{Bytes, LeaseTable, Scan, TableError};
use kcl_lease_dynamo::DynamoLeaseTable;
use kcl_protocol::{
    Checkpoint, ConditionalWrite, Fence, HashKeyRange, Lease, LeaseChange, LeaseCondition,
    LeaseKey, LeaseWrite, Ordinal, Position, Prepared, RowKey, ShardId, WorkerId,
};

use crate::local::{lease, table};

const SEQUENCE: &str = "49590338271490256608559692538361571095921575989136588898";

fn s(text: &str) -> V {
    V::S(text.into())
}

fn n(digits: &str) -> V {
    V::N(digits.into())
}

/// A single-stream row as the Java KCL writes it: owned, after one checkpoint.
fn java_row() -> HashMap<String, V> {
    [
        ("leaseKey", s("shardId-000000000003")),
        ("leaseCounter", n("1042")),
        ("leaseOwner", s("w-1")),
        ("ownerSwitchesSinceCheckpoint", n("0")),
        ("checkpoint", s(SEQUENCE)),
        ("checkpointSubSequenceNumber", n("0")),
        ("parentShardId", V::Ss(vec!["shardId-000000000001".into()])),
        ("startingHashKey", s("0")),
        ("endingHashKey", s("170141183460469231731687303715884105727")),
        ("throughputKBps", n("12.25")),
        ("entityType", s("LEASE")),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

async fn put(client: &Client, table: &DynamoLeaseTable, item: HashMap<String, V>) {
    let put = client.put_item().table_name(table.lease_table_name());
    put.set_item(Some(item)).send().await.unwrap();
}

async fn read(table: &DynamoLeaseTable, key: &str) -> Result<Option<Lease>, TableError> {
    let row = table.read(&RowKey::Lease(LeaseKey::new(key))).await?;
    Ok(row.and_then(kcl_protocol::Row::into_lease))
}

#[tokio::test]
async fn a_row_of_the_java_kcl_is_read_whole() {
    let Some((client, table)) = table("java").await else { return };
    put(&client, &table, java_row()).await;
    let expected = Lease {
        key: LeaseKey::new("shardId-000000000003"),
        owner: Some(WorkerId::new("w-1")),
        fence: Fence(1042),
        ordinal: Ordinal(0),
        checkpoint: Checkpoint::At(Position::from(
            SEQUENCE.parse::<kcl_protocol::SequenceNumber>().unwrap(),
        )),
        prepared: None,
        parents: [ShardId::new("shardId-000000000001")].into(),
        children: [].into(),
        range: HashKeyRange { start: 0, end: u128::MAX >> 1 },
        parked: None,
        owner_switches: 0,
        unlisted_since_millis: None,
    };
    assert_eq!(read(&table, "shardId-000000000003").await.unwrap(), Some(expected));
}

#[tokio::test]
async fn a_row_of_the_java_kcl_takes_a_checkpoint_and_keeps_what_is_not_ours() {
    let Some((client, table)) = table("java-checkpoint").await else { return };
    put(&client, &table, java_row()).await;
    let write = LeaseWrite::Update {
        key: LeaseKey::new("shardId-000000000003"),
        when: vec![
            LeaseCondition::OwnerIs(WorkerId::new("w-1")),
            LeaseCondition::FenceIs(Fence(1042)),
            LeaseCondition::OrdinalBelow(Ordinal(1)),
        ],
        change: vec![
            LeaseChange::Checkpoint(Checkpoint::ShardEnd),
            LeaseChange::Ordinal(Ordinal(1)),
        ],
    };
    assert!(table.write(&ConditionalWrite::Lease(write)).await.unwrap().is_won());
    let get = client.get_item().table_name(table.lease_table_name()).consistent_read(true);
    let item = get.key("leaseKey", s("shardId-000000000003")).send().await.unwrap().item.unwrap();
    assert_eq!(item["checkpoint"], s("SHARD_END"));
    assert_eq!(item["throughputKBps"], n("12.25"));
    assert_eq!(item["leaseCounter"], n("1042"));
}

/// As `prepareCheckpoint` with application state leaves it.
fn prepared_java_row() -> HashMap<String, V> {
    let mut row = java_row();
    row.insert("pendingCheckpoint".into(), s(SEQUENCE));
    row.insert("pendingCheckpointSubSequenceNumber".into(), n("3"));
    row.insert("pendingCheckpointState".into(), V::B(Blob::new([0, 255, 7])));
    row
}

#[tokio::test]
async fn a_pending_checkpoint_of_the_java_kcl_is_read_with_its_state_and_written_alike() {
    let Some((client, table)) = table("java-pending").await else { return };
    put(&client, &table, prepared_java_row()).await;
    let sequence = SEQUENCE.parse().unwrap();
    let prepared = Prepared {
        checkpoint: Checkpoint::At(Position { sequence, subsequence: 3 }),
        state: Bytes::from_static(&[0, 255, 7]),
    };
    let key = "shardId-000000000003";
    let found = read(&table, key).await.unwrap().unwrap();
    assert_eq!(found.prepared, Some(prepared.clone()));
    for (change, wanted) in [(None, java_row()), (Some(prepared), prepared_java_row())] {
        let change = vec![LeaseChange::Prepared(change)];
        let write = LeaseWrite::Update { key: LeaseKey::new(key), when: vec![], change };
        assert!(table.write(&ConditionalWrite::Lease(write)).await.unwrap().is_won());
        let get = client.get_item().table_name(table.lease_table_name()).consistent_read(true);
        let item = get.key("leaseKey", s(key)).send().await.unwrap().item.unwrap();
        assert_eq!(item, wanted);
    }
}

/// A row as it is stored once it has been made anew.
async fn stored(client: &Client, table: &DynamoLeaseTable, row: Lease) -> HashMap<String, V> {
    let key = row.key.clone();
    let delete = LeaseWrite::Delete { key: key.clone(), when: vec![] };
    table.write(&ConditionalWrite::Lease(delete)).await.unwrap();
    let write = ConditionalWrite::Lease(LeaseWrite::Create(row));
    assert!(table.write(&write).await.unwrap().is_won());
    let get = client.get_item().table_name(table.lease_table_name()).consistent_read(true);
    get.key("leaseKey", s(key.as_str())).send().await.unwrap().item.unwrap()
}

#[tokio::test]
async fn a_lease_is_stored_with_the_names_and_types_of_the_java_kcl() {
    let Some((client, table)) = table("names").await else { return };
    let key = "123456789012:orders:1700000000:shardId-000000000003";
    let mut row = lease(key);
    row.parents = [ShardId::new("shardId-000000000001")].into();
    let mut expected: HashMap<String, V> = [
        ("leaseKey", s(key)),
        ("streamName", s("123456789012:orders:1700000000")),
        ("shardId", s("shardId-000000000003")),
        ("entityType", s("LEASE")),
        ("leaseCounter", n("0")),
        ("checkpoint", s("TRIM_HORIZON")),
        ("checkpointSubSequenceNumber", n("0")),
        ("ownerSwitchesSinceCheckpoint", n("0")),
        ("parentShardId", V::Ss(vec!["shardId-000000000001".into()])),
        ("startingHashKey", s("0")),
        ("endingHashKey", s("340282366920938463463374607431768211455")),
        ("checkpointOrdinal", n("0")),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    assert_eq!(stored(&client, &table, row.clone()).await, expected);
    let children = [4, 5].map(|number| format!("shardId-{number:012}"));
    row.owner = Some(WorkerId::new("w-1"));
    row.children = children.clone().map(ShardId::from).into();
    let sequence = SEQUENCE.parse().unwrap();
    row.checkpoint = Checkpoint::At(Position { sequence, subsequence: 6 });
    for (name, value) in [
        ("leaseOwner", s("w-1")),
        ("childShardIds", V::Ss(children.into())),
        ("checkpoint", s(SEQUENCE)),
        ("checkpointSubSequenceNumber", n("6")),
    ] {
        expected.insert(name.to_owned(), value);
    }
    assert_eq!(stored(&client, &table, row).await, expected);
}

#[tokio::test]
async fn rows_of_another_kind_in_the_lease_table_are_passed_over() {
    let Some((client, table)) = table("others").await else { return };
    put(&client, &table, java_row()).await;
    let metrics = [
        ("leaseKey", s("w-1")),
        ("entityType", s("WORKER_METRIC_STATS")),
        ("lut", n("1760000000")),
    ];
    put(&client, &table, metrics.map(|(name, value)| (name.to_owned(), value)).into()).await;
    assert_eq!(table.scan(Scan::Leases).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_row_that_does_not_decode_is_named_with_the_reason() {
    let Some((client, table)) = table("broken").await else { return };
    let cases = [
        ("leaseCounter", None, "leaseCounter is missing"),
        ("leaseCounter", Some(s("7")), "expected N"),
        ("leaseCounter", Some(n("1.5")), "out of range"),
        ("leaseCounter", Some(n("9223372036854775808")), "out of range"),
        ("checkpoint", Some(s("SOON")), "checkpoint: \"SOON\" is not a sequence number"),
        ("checkpoint", Some(s("AT_TIMESTAMP")), "checkpointTimestampMillis is missing"),
        ("pendingCheckpoint", Some(s("SOON")), "pendingCheckpoint: \"SOON\" is not a sequence"),
        ("endingHashKey", None, "endingHashKey is missing"),
        ("startingHashKey", Some(s("-1")), "decimal number"),
        ("parentShardId", Some(s("shardId-1")), "expected SS"),
        ("checkpointOwner", Some(s("w-9")), "Java KCL worker"),
    ];
    for (attribute, value, reason) in cases {
        let mut item = java_row();
        match value {
            Some(value) => drop(item.insert(attribute.to_owned(), value)),
            None => drop(item.remove(attribute)),
        }
        put(&client, &table, item).await;
        for error in [
            table.scan(Scan::Leases).await.unwrap_err(),
            read(&table, "shardId-000000000003").await.unwrap_err(),
        ] {
            let TableError::BadRow { key, reason: found } = &error else { panic!("{error}") };
            assert!(key.ends_with("/shardId-000000000003"), "{key}");
            assert!(found.contains(reason), "{found}");
        }
    }
}
