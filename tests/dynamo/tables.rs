//! Making, checking and refusing tables.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use kcl_core::{Bytes, LeaseTable, Scan, TableError};
use kcl_lease_dynamo::{Billing, DynamoLeaseTable, RequestCounts, TableOptions};
use kcl_protocol::{
    Checkpoint, ConditionalWrite, Fence, LeaseChange, LeaseCondition, LeaseKey, LeaseWrite,
    Ordinal, Prepared, RowKey,
};

use crate::local::{client_of, endpoint, lease, prepared, table, unique};
use crate::proxy::{forward, proxy};

#[tokio::test]
async fn a_missing_table_is_refused_and_named() {
    let Some(endpoint) = endpoint() else { return };
    let table = DynamoLeaseTable::builder(client_of(&endpoint), unique("absent")).build();
    let name = table.lease_table_name().to_owned();
    for error in [
        table.prepare().await.unwrap_err(),
        table.scan(Scan::Leases).await.unwrap_err(),
        table.write(&ConditionalWrite::Lease(LeaseWrite::Create(lease("a")))).await.unwrap_err(),
    ] {
        assert!(matches!(&error, TableError::Refused(why) if why.contains(&name)), "{error}");
        assert!(error.to_string().contains("set-up"), "{error}");
    }
}

#[tokio::test]
async fn a_foreign_table_is_refused() {
    let Some(endpoint) = endpoint() else { return };
    let client = client_of(&endpoint);
    let name = unique("foreign");
    let attribute = AttributeDefinition::builder()
        .attribute_name("customer")
        .attribute_type(ScalarAttributeType::S);
    let key = KeySchemaElement::builder().attribute_name("customer").key_type(KeyType::Hash);
    client
        .create_table()
        .table_name(&name)
        .billing_mode(BillingMode::PayPerRequest)
        .attribute_definitions(attribute.build().unwrap())
        .key_schema(key.build().unwrap())
        .send()
        .await
        .unwrap();
    let table =
        DynamoLeaseTable::builder(client, &name).create_if_missing(TableOptions::default()).build();
    let error = table.prepare().await.unwrap_err();
    assert!(matches!(&error, TableError::Refused(why) if why.contains("customer")), "{error}");
}

#[tokio::test]
async fn preparing_twice_gives_the_same_id_and_a_table_made_anew_another() {
    let Some((client, table)) = table("ids").await else { return };
    let first = table.prepare().await.unwrap();
    assert_eq!(table.prepare().await.unwrap(), first);
    client.delete_table().table_name(table.lease_table_name()).send().await.unwrap();
    assert_ne!(prepared(&table).await, first);
}

#[tokio::test]
async fn set_up_tolerates_a_service_without_tags_and_backups() {
    let Some(endpoint) = endpoint() else { return };
    let client = client_of(&endpoint);
    let table = DynamoLeaseTable::builder(client.clone(), unique("options")).build();
    let options = TableOptions {
        billing: Billing::Provisioned { read: 5, write: 6 },
        deletion_protection: true,
        point_in_time_recovery: true,
        tags: [("team".to_owned(), "orders".to_owned())].into(),
    };
    let id = loop {
        match table.setup(&options).await {
            Err(error) if error.is_transient() => {}
            answer => break answer.unwrap(),
        }
    };
    assert_eq!(table.setup(&options).await.unwrap(), id, "set-up is idempotent");
    assert_eq!(table.prepare().await.unwrap(), id);
    let name = table.coordination_table_name();
    let made = client.describe_table().table_name(name).send().await.unwrap().table.unwrap();
    let units = made.provisioned_throughput().unwrap();
    assert_eq!((units.read_capacity_units(), units.write_capacity_units()), (Some(5), Some(6)));
    assert_eq!(made.deletion_protection_enabled(), Some(true));
}

#[tokio::test]
async fn several_workers_may_make_the_tables_at_once() {
    let Some(endpoint) = endpoint() else { return };
    let name = unique("at-once");
    let made = (0..4).map(|_| {
        let table = DynamoLeaseTable::builder(client_of(&endpoint), &name)
            .create_if_missing(TableOptions::default())
            .build();
        tokio::spawn(async move { prepared(&table).await })
    });
    let mut ids = Vec::new();
    for made in made.collect::<Vec<_>>() {
        ids.push(made.await.unwrap());
    }
    ids.dedup();
    assert_eq!(ids.len(), 1);
}

#[tokio::test]
async fn a_scan_in_segments_finds_every_row_once_in_order() {
    let Some((client, table)) = table("segments").await else { return };
    let writes: Vec<_> = (0..100)
        .map(|n| ConditionalWrite::Lease(LeaseWrite::Create(lease(&format!("shardId-{n:012}")))))
        .collect();
    assert!(table.write_all(&writes).await.unwrap().is_won());
    let whole = table.scan(Scan::Leases).await.unwrap();
    assert_eq!(whole.len(), 100);
    assert!(whole.is_sorted_by_key(|row| row.key()));
    let split = DynamoLeaseTable::builder(client, table.lease_table_name())
        .coordination_table(table.coordination_table_name())
        .scan_segments(7)
        .build();
    assert_eq!(split.scan(Scan::Leases).await.unwrap(), whole);
    assert_eq!(split.requests().scan_pages, 7);
}

/// Notes of each scan how many segments it is one of, and whether it goes on from a key.
async fn scan_noting_proxy(scans: Arc<Mutex<Vec<(u32, bool)>>>) -> String {
    let treat = move |upstream: String, request: Vec<u8>| {
        let text = String::from_utf8_lossy(&request).into_owned();
        if text.contains(".Scan") {
            let of = text.split_once(r#""TotalSegments":"#).map(|(_, rest)| rest);
            let of = of.and_then(|rest| rest.split([',', '}']).next()?.trim().parse().ok());
            let goes_on = text.contains("ExclusiveStartKey");
            scans.lock().unwrap().push((of.unwrap_or(1), goes_on));
        }
        async move { Some(forward(&upstream, &request).await) }
    };
    proxy(&endpoint().unwrap(), treat).await
}

#[tokio::test]
async fn a_table_of_several_pages_is_scanned_whole_and_then_in_as_many_segments() {
    let Some((_, direct)) = table("pages").await else { return };
    let scans = Arc::default();
    let url = scan_noting_proxy(Arc::clone(&scans)).await;
    let table = direct.for_liveness(&client_of(&url), Duration::from_secs(30));
    // 2.5 MiB; a page of the service has one.
    let state = Bytes::from(vec![7; 32 << 10]);
    let create = |number: u32| {
        let mut row = lease(&format!("shardId-{number:012}"));
        row.prepared = Some(Prepared { checkpoint: Checkpoint::Latest, state: state.clone() });
        ConditionalWrite::Lease(LeaseWrite::Create(row))
    };
    for half in [0..40, 40..80] {
        let writes: Vec<_> = half.map(create).collect();
        assert!(direct.write_all(&writes).await.unwrap().is_won());
    }
    let whole = table.scan(Scan::Leases).await.unwrap();
    assert_eq!((whole.len(), whole.is_sorted_by_key(|row| row.key())), (80, true));
    assert_eq!(std::mem::take(&mut *scans.lock().unwrap()), [(1, false), (1, true), (1, true)]);
    assert_eq!(table.requests().scan_pages, 3);
    assert_eq!(table.scan(Scan::Leases).await.unwrap(), whole);
    let begun = |scans: &[(u32, bool)]| scans.iter().filter(|scan| **scan == (3, false)).count();
    let scans = scans.lock().unwrap();
    assert_eq!(begun(&scans), 3, "{scans:?}");
    assert!(scans.iter().all(|scan| scan.0 == 3), "{scans:?}");
}

#[tokio::test]
async fn each_call_sends_one_request_and_a_transaction_one_read_more() {
    let Some((client, prepared)) = table("counts").await else { return };
    let table = prepared.for_liveness(&client, Duration::from_secs(30));
    let create = |key: &str| ConditionalWrite::Lease(LeaseWrite::Create(lease(key)));
    let touch = |key: &str| {
        ConditionalWrite::Lease(LeaseWrite::Update {
            key: LeaseKey::new(key),
            when: vec![LeaseCondition::FenceIs(Fence(0))],
            change: vec![LeaseChange::Ordinal(Ordinal(1))],
        })
    };
    let mut expected = RequestCounts::default();
    assert_eq!(table.requests(), expected, "counted apart from the table it was made of");
    table.write(&create("a")).await.unwrap();
    expected.puts += 1;
    table.write(&touch("a")).await.unwrap();
    expected.updates += 1;
    table.write(&touch("absent")).await.unwrap();
    expected.updates += 1;
    let delete = LeaseWrite::Delete { key: LeaseKey::new("absent"), when: vec![] };
    table.write(&ConditionalWrite::Lease(delete)).await.unwrap();
    expected.deletes += 1;
    table.read(&RowKey::Lease(LeaseKey::new("a"))).await.unwrap();
    expected.reads += 1;
    table.scan(Scan::Leases).await.unwrap();
    expected.scan_pages += 1;
    table.write_all(&[touch("a"), create("b")]).await.unwrap();
    expected.transactions += 1;
    expected.reads += 1;
    table.write_all(&[create("c"), touch("b")]).await.unwrap();
    expected.transactions += 1;
    assert_eq!(table.requests(), expected);
    assert_eq!((expected.writes(), expected.total()), (6, 9));
}

#[test]
fn a_table_serves_on_after_the_runtime_that_first_used_it_has_ended() {
    let Some(endpoint) = endpoint() else { return };
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let table = DynamoLeaseTable::builder(client_of(&endpoint), unique("runtimes"))
        .create_if_missing(TableOptions::default())
        .request_timeout(Duration::from_secs(30))
        .build();
    let first = runtime();
    first.block_on(prepared(&table));
    drop(first);
    let rows = runtime().block_on(table.scan(Scan::Leases));
    assert_eq!(rows.unwrap(), vec![]);
}
