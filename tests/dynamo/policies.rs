//! The policies of docs/policies: what is sent is allowed, and nothing else is.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use aws_sdk_dynamodb::types::BillingMode;
use kcl_core::LeaseTable;
use kcl_lease_dynamo::{Billing, DynamoLeaseTable, TableOptions};
use kcl_testkit::conformance::lease_table;

use crate::local::{client_of, endpoint, unique};
use crate::proxy::{forward, operation, proxy};

/// The requests that passed a proxy: operation and text.
#[derive(Clone, Default)]
struct Sent(Arc<Mutex<Vec<(String, String)>>>);

impl Sent {
    fn of(&self, operation: &str) -> Vec<String> {
        let sent = self.0.lock().unwrap();
        let requests = sent.iter().filter(|(sent, _)| sent == operation);
        requests.map(|(_, request)| request.clone()).collect()
    }
}

async fn noting_proxy(upstream: &str, sent: Sent) -> String {
    let treat = move |upstream: String, request: Vec<u8>| {
        let text = String::from_utf8_lossy(&request).into_owned();
        sent.0.lock().unwrap().push((operation(&request), text));
        async move { Some(forward(&upstream, &request).await) }
    };
    proxy(upstream, treat).await
}

/// The actions in a policy.
fn allowed(policy: &str) -> BTreeSet<String> {
    let actions = policy.split('"').filter_map(|text| text.strip_prefix("dynamodb:"));
    actions.map(str::to_owned).collect()
}

/// The actions behind what was sent: a transaction needs those of the writes in it.
fn needed(sent: &Sent) -> BTreeSet<String> {
    let sent = sent.0.lock().unwrap();
    let of = |(operation, request): &(String, String)| match operation.as_str() {
        "TransactWriteItems" => in_transaction(request),
        _ => vec![operation.clone()],
    };
    sent.iter().flat_map(of).collect()
}

fn in_transaction(request: &str) -> Vec<String> {
    let actions = [
        ("Put", "PutItem"),
        ("Update", "UpdateItem"),
        ("Delete", "DeleteItem"),
        ("ConditionCheck", "ConditionCheckItem"),
    ];
    let has = |item: &str| request.contains(&format!(r#"{{"{item}":{{"#));
    let found: Vec<_> =
        actions.into_iter().filter(|(item, _)| has(item)).map(|(_, a)| a.to_owned()).collect();
    assert!(!found.is_empty(), "{request}");
    found
}

async fn set_up(table: &DynamoLeaseTable, options: &TableOptions) {
    loop {
        match table.setup(options).await {
            Err(error) if error.is_transient() => {}
            answer => return drop(answer.unwrap()),
        }
    }
}

#[tokio::test]
async fn set_up_sends_all_that_its_policy_allows_and_nothing_else() {
    let Some(endpoint) = endpoint() else { return };
    let sent = Sent::default();
    let proxy = noting_proxy(&endpoint, sent.clone()).await;
    let client = client_of(&proxy);
    let table = DynamoLeaseTable::builder(client.clone(), unique("policy")).build();
    set_up(&table, &TableOptions::default()).await;
    let plain = ["CreateTable", "DescribeTable"].map(str::to_owned);
    assert_eq!(needed(&sent), plain.into(), "without options nothing more is needed");
    for name in [table.lease_table_name(), table.coordination_table_name()] {
        let made = client.describe_table().table_name(name).send().await.unwrap().table.unwrap();
        let billing = made.billing_mode_summary().and_then(|summary| summary.billing_mode());
        assert_eq!(billing, Some(&BillingMode::PayPerRequest));
        assert_ne!(made.deletion_protection_enabled(), Some(true));
    }
    // Tables that stand already get every option but the billing.
    let options = TableOptions {
        billing: Billing::Provisioned { read: 5, write: 5 },
        deletion_protection: true,
        point_in_time_recovery: true,
        tags: [("team".to_owned(), "orders".to_owned())].into(),
    };
    set_up(&table, &options).await;
    assert_eq!(needed(&sent), allowed(include_str!("../../docs/policies/dynamodb-setup.json")));
    for option in ["UpdateTable", "UpdateContinuousBackups", "TagResource"] {
        assert!(sent.of(option).len() >= 2, "{option}: for each table");
    }
}

#[tokio::test]
async fn a_run_sends_all_that_its_policy_allows_and_nothing_else() {
    let Some(endpoint) = endpoint() else { return };
    let sent = Sent::default();
    let proxy = noting_proxy(&endpoint, sent.clone()).await;
    let fresh = async || {
        let name = unique("policy");
        let table = DynamoLeaseTable::builder(client_of(&endpoint), &name).build();
        set_up(&table, &TableOptions::default()).await;
        Arc::new(DynamoLeaseTable::builder(client_of(&proxy), name).build())
    };
    let table = fresh().await;
    table.prepare().await.unwrap();
    lease_table::random_writes_behave_like_the_reference(table).await;
    lease_table::a_transaction_applies_all_or_none(fresh().await).await;
    lease_table::scans_are_ordered_and_keep_to_their_scope(fresh().await).await;
    assert_eq!(needed(&sent), allowed(include_str!("../../docs/policies/dynamodb-run.json")));
    for operation in ["GetItem", "Scan"] {
        let reads = sent.of(operation);
        assert!(!reads.is_empty());
        for read in reads {
            assert!(read.contains(r#""ConsistentRead":true"#), "{read}");
        }
    }
}
