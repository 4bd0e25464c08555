//! Rows of the coordination table that somebody spoilt: refused by their keys, with the reasons.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue as V;
use kcl_core::{LeaseTable, Scan, TableError};
use kcl_lease_dynamo::DynamoLeaseTable;
use kcl_protocol::{
    ConditionalWrite, RowKey, StreamName, StreamRow, StreamStart, StreamWrite, TableRow,
    TableWrite, WorkerId, WorkerWrite,
};

use crate::local::{table, worker};

const DAY_NANOS: u128 = 86_400_000_000_000;

type Item = HashMap<String, V>;
/// An attribute, what it is made, and what is said of it.
type Case = (&'static str, Option<V>, &'static str);

fn s(text: &str) -> V {
    V::S(text.into())
}

fn n(number: u128) -> V {
    V::N(number.to_string())
}

fn m<const N: usize>(members: [(&str, V); N]) -> V {
    V::M(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

async fn item(client: &Client, table: &DynamoLeaseTable, key: &str) -> Item {
    let get = client.get_item().table_name(table.coordination_table_name()).consistent_read(true);
    get.key("rowKey", s(key)).send().await.unwrap().item.unwrap()
}

async fn put(client: &Client, table: &DynamoLeaseTable, item: Item) {
    let put = client.put_item().table_name(table.coordination_table_name());
    put.set_item(Some(item)).send().await.unwrap();
}

/// Spoils a row in each way; then it is as it was.
async fn are_named(client: &Client, table: &DynamoLeaseTable, key: RowKey, cases: Vec<Case>) {
    let name = key.to_string();
    let good = item(client, table, &name).await;
    for (attribute, value, reason) in cases {
        let mut spoilt = good.clone();
        match value {
            Some(value) => drop(spoilt.insert(attribute.to_owned(), value)),
            None => drop(spoilt.remove(attribute)),
        }
        put(client, table, spoilt).await;
        for error in
            [table.scan(Scan::Coordination).await.unwrap_err(), table.read(&key).await.unwrap_err()]
        {
            let TableError::BadRow { key, reason: found } = &error else { panic!("{error}") };
            assert!(key.ends_with(&format!("/{name}")), "{key}");
            assert!(found.contains(reason), "{attribute}: {found}");
        }
    }
    put(client, table, good).await;
    assert!(table.read(&key).await.unwrap().is_some());
}

async fn made(name: &str, write: ConditionalWrite) -> Option<(Client, DynamoLeaseTable)> {
    let (client, table) = table(name).await?;
    assert!(table.write(&write).await.unwrap().is_won());
    Some((client, table))
}

#[tokio::test]
async fn a_worker_row_that_does_not_decode_is_named_with_the_reason() {
    let row = WorkerWrite::Create(worker("w"));
    let Some((client, table)) = made("bad-worker", ConditionalWrite::Worker(row)).await else {
        return;
    };
    let entry = |id: &str, kind: &str, leases: Vec<V>| {
        Some(m([(id, m([("kind", s(kind)), ("leases", V::L(leases)), ("to", s("w"))]))]))
    };
    let uncounted = m([("leaseKey", s("a")), ("leaseCounter", n(1 << 63))]);
    let id = "0123456789abcdef0123456789abcdef";
    let cases = vec![
        ("heartbeat", None, "heartbeat is missing"),
        ("heartbeat", Some(s("7")), "heartbeat is of type S, expected N"),
        ("workerState", Some(s("ASLEEP")), "workerState is \"ASLEEP\", which is unknown"),
        ("entityType", Some(s("STREAM")), "entityType is \"STREAM\""),
        ("draining", None, "draining is missing"),
        ("leaseDurationNanos", Some(V::N("-1".into())), "leaseDurationNanos is -1"),
        ("leaseDurationNanos", Some(n(DAY_NANOS + 1)), "leaseDurationNanos is 86400000000001"),
        (
            "graceNanos",
            Some(n(u128::from(u64::MAX) * 1_000_000_000)),
            "graceNanos is 18446744073709551615",
        ),
        ("readsStreams", Some(s("12ab")), "readsStreams holds \"12ab\""),
        ("inbox", None, "inbox is missing"),
        ("inbox", entry(id, "SHOUT", vec![]), "kind is \"SHOUT\", which is unknown"),
        ("inbox", entry(id, "REVOKE", vec![]), "a REVOKE names one lease"),
        ("inbox", entry(id, "GRANT", vec![s("x")]), "leases holds something that is not M"),
        ("inbox", entry(id, "GRANT", vec![uncounted]), "leaseCounter is 9223372036854775808"),
        ("inbox", entry("one", "GRANT", vec![]), "inbox"),
    ];
    are_named(&client, &table, RowKey::Worker(WorkerId::new("w")), cases).await;
}

#[tokio::test]
async fn a_stream_row_that_does_not_decode_is_named_with_the_reason() {
    let row = StreamRow {
        name: StreamName::new("orders"),
        created_at_millis: 17,
        start: StreamStart::TrimHorizon,
        first_sync_done: true,
    };
    let row = ConditionalWrite::Stream(StreamWrite::Create(row));
    let Some((client, table)) = made("bad-stream", row).await else { return };
    let cases = vec![
        ("startPosition", Some(s("SOON")), "startPosition is \"SOON\", which is unknown"),
        ("startPosition", Some(s("AT_TIMESTAMP")), "startTimestampMillis is missing"),
        ("startPosition", Some(s("AFTER")), "startAfter is missing"),
        ("createdAtMillis", None, "createdAtMillis is missing"),
        ("firstSyncDone", Some(s("yes")), "firstSyncDone is of type S, expected BOOL"),
        ("entityType", None, "entityType is missing"),
    ];
    are_named(&client, &table, RowKey::Stream(StreamName::new("orders")), cases).await;
}

#[tokio::test]
async fn a_table_row_that_does_not_decode_is_named_with_the_reason() {
    let row = TableRow {
        table_id: "one".into(),
        generation: 0,
        schema: TableRow::SCHEMA,
        max_duration: Duration::from_secs(3),
        max_grace: Duration::ZERO,
        resetting: false,
        round: 0,
        hint_key: 7,
    };
    let row = ConditionalWrite::Table(TableWrite::Create(row));
    let Some((client, table)) = made("bad-table", row).await else { return };
    let cases = vec![
        ("tableId", None, "tableId is missing"),
        ("generation", Some(s("1")), "generation is of type S, expected N"),
        ("generation", Some(n(1 << 23)), "generation is 8388608, which is out of range"),
        ("maxGraceNanos", Some(n(DAY_NANOS + 1)), "maxGraceNanos is 86400000000001"),
        ("schemaVersion", None, "schemaVersion is missing"),
        ("hintKey", Some(s("xyz")), "hintKey"),
        ("resetting", Some(s("no")), "resetting is of type S, expected BOOL"),
        ("entityType", Some(s("WORKER")), "entityType is \"WORKER\""),
    ];
    are_named(&client, &table, RowKey::Table, cases).await;
}

#[tokio::test]
async fn a_row_of_somebody_elses_in_the_coordination_table_is_named() {
    let Some((client, table)) = table("bad-key").await else { return };
    let foreign = [("rowKey", s("CUSTOMER#1")), ("entityType", s("CUSTOMER"))];
    put(&client, &table, foreign.map(|(name, value)| (name.to_owned(), value)).into()).await;
    let error = table.scan(Scan::Coordination).await.unwrap_err();
    let TableError::BadRow { key, reason } = &error else { panic!("{error}") };
    assert!(key.ends_with("/CUSTOMER#1"), "{key}");
    assert!(reason.contains("neither TABLE nor starts with STREAM# or WORKER#"), "{reason}");
}
