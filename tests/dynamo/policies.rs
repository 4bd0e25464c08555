//! The policies of docs/policies: what is sent is allowed, and nothing else is.

use std::collections::BTreeSet;
use std::sync::Arc;

use aws_sdk_dynamodb::types::BillingMode;
use kcl_core::LeaseTable;
use kcl_lease_dynamo::{Billing, DynamoLeaseTable, TableOptions};
use kcl_testkit::conformance::lease_table;

use crate::counting::{Seen, counting_proxy};
use crate::local::{client_of, endpoint, unique};

/// The actions in a policy.
fn allowed(policy: &str) -> BTreeSet<String> {
    let actions = policy.split('"').filter_map(|text| text.strip_prefix("dynamodb:"));
    actions.map(str::to_owned).collect()
}

/// The actions behind what was sent: a transaction needs those of the writes in it.
fn needed(seen: &Seen) -> BTreeSet<String> {
    let in_transactions = ["PutItem", "UpdateItem", "DeleteItem", "ConditionCheckItem"];
    let seen = seen.lock().unwrap();
    let of = |operation: &String| match operation.as_str() {
        "TransactWriteItems" => in_transactions.map(str::to_owned).to_vec(),
        _ => vec![operation.clone()],
    };
    seen.keys().flat_map(of).collect()
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
    let seen = Seen::default();
    let proxy = counting_proxy(&endpoint, Arc::clone(&seen)).await;
    let client = client_of(&proxy);
    let table = DynamoLeaseTable::builder(client.clone(), unique("policy")).build();
    set_up(&table, &TableOptions::default()).await;
    let plain = ["CreateTable", "DescribeTable"].map(str::to_owned);
    assert_eq!(needed(&seen), plain.into(), "without options nothing more is needed");
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
    assert_eq!(needed(&seen), allowed(include_str!("../../docs/policies/dynamodb-setup.json")));
    for option in ["UpdateTable", "UpdateContinuousBackups", "TagResource"] {
        assert!(seen.lock().unwrap()[option] >= 2, "{option}: for each table");
    }
}

#[tokio::test]
async fn a_run_sends_all_that_its_policy_allows_and_nothing_else() {
    let Some(endpoint) = endpoint() else { return };
    let seen = Seen::default();
    let proxy = counting_proxy(&endpoint, Arc::clone(&seen)).await;
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
    assert_eq!(needed(&seen), allowed(include_str!("../../docs/policies/dynamodb-run.json")));
}
