//! User writes in one transaction with a checkpoint.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue as V, Put, TransactWriteItem};
use kcl_core::{Effects, LeaseTable, TableError};
use kcl_lease_dynamo::{DynamoEffects, DynamoLeaseTable};
use kcl_protocol::{
    CasOutcome, Checkpoint, ConditionalWrite, Fence, LeaseChange, LeaseCondition, LeaseKey,
    LeaseWrite, Ordinal, Position, SequenceNumber, WorkerId,
};

use crate::local::{client_of, endpoint, lease, table};
use crate::proxy::{forward, operation, proxy};

fn checkpoint(fence: u64, ordinal: u64) -> ConditionalWrite {
    let at = Position::from(SequenceNumber::from_parts(0, u128::from(ordinal)));
    ConditionalWrite::Lease(LeaseWrite::Update {
        key: LeaseKey::new("a"),
        when: vec![
            LeaseCondition::OwnerIs(WorkerId::new("w")),
            LeaseCondition::FenceIs(Fence(fence)),
            LeaseCondition::OrdinalBelow(Ordinal(ordinal)),
        ],
        change: vec![
            LeaseChange::Checkpoint(Checkpoint::At(at)),
            LeaseChange::Ordinal(Ordinal(ordinal)),
        ],
    })
}

/// Puts a row that must not be there, beside the leases: a table of its own costs a test time.
fn effect(table: &DynamoLeaseTable, key: &str) -> TransactWriteItem {
    let put = Put::builder()
        .table_name(table.coordination_table_name())
        .item("rowKey", V::S(key.into()))
        .condition_expression("attribute_not_exists(rowKey)");
    TransactWriteItem::builder().put(put.build().unwrap()).build()
}

pub fn effects(table: &DynamoLeaseTable, keys: &[&str]) -> Effects {
    Effects::new(DynamoEffects(keys.iter().map(|key| effect(table, key)).collect()))
}

async fn exists(client: &Client, table: &DynamoLeaseTable, key: &str) -> bool {
    let get = client.get_item().table_name(table.coordination_table_name()).consistent_read(true);
    get.key("rowKey", V::S(key.into())).send().await.unwrap().item.is_some()
}

async fn owned(name: &str) -> Option<(Client, DynamoLeaseTable)> {
    let (client, table) = table(name).await?;
    let mut row = lease("a");
    row.owner = Some(WorkerId::new("w"));
    row.fence = Fence(5);
    let write = ConditionalWrite::Lease(LeaseWrite::Create(row));
    assert!(table.write(&write).await.unwrap().is_won());
    Some((client, table))
}

#[tokio::test]
async fn effects_apply_with_their_checkpoint_and_only_once() {
    let Some((client, table)) = owned("effects").await else { return };
    assert!(table.supports_effects());
    let write = checkpoint(5, 1);
    let first = table.write_with(&write, &effects(&table, &["one", "two"])).await.unwrap();
    let CasOutcome::Won(Some(row)) = first else { panic!("{first:?}") };
    assert_eq!(row.into_lease().unwrap().ordinal, Ordinal(1));
    assert!(exists(&client, &table, "one").await && exists(&client, &table, "two").await);
    let again = table.write_with(&write, &effects(&table, &["one", "two"])).await.unwrap();
    let CasOutcome::Lost(Some(row)) = again else { panic!("{again:?}") };
    assert_eq!(row.into_lease().unwrap().ordinal, Ordinal(1), "the caller sees: already done");
}

#[tokio::test]
async fn effects_under_an_older_fence_do_not_apply() {
    let Some((client, table)) = owned("effects-fence").await else { return };
    let outcome = table.write_with(&checkpoint(4, 1), &effects(&table, &["one"])).await.unwrap();
    let CasOutcome::Lost(Some(row)) = outcome else { panic!("{outcome:?}") };
    assert_eq!(row.into_lease().unwrap().fence, Fence(5));
    assert!(!exists(&client, &table, "one").await);
}

#[tokio::test]
async fn a_refused_effect_refuses_the_checkpoint_and_is_named() {
    let Some((client, table)) = owned("effects-refused").await else { return };
    let first = table.write_with(&checkpoint(5, 1), &effects(&table, &["taken"])).await.unwrap();
    assert!(first.is_won());
    let both = effects(&table, &["free", "taken"]);
    let error = table.write_with(&checkpoint(5, 2), &both).await.unwrap_err();
    assert!(matches!(&error, TableError::Refused(why) if why.contains("effect 1")), "{error}");
    assert!(!exists(&client, &table, "free").await);
}

#[tokio::test]
async fn ninety_nine_effects_fit_and_a_hundred_are_refused() {
    let Some((_, table)) = owned("effects-many").await else { return };
    let keys: Vec<String> = (0..100).map(|n| format!("e{n}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let error = table.write_with(&checkpoint(5, 1), &effects(&table, &keys)).await.unwrap_err();
    assert!(matches!(error, TableError::Refused(_)), "{error}");
    let outcome = table.write_with(&checkpoint(5, 1), &effects(&table, &keys[1..])).await;
    assert!(outcome.unwrap().is_won());
    let foreign = Effects::new("not ours");
    let error = table.write_with(&checkpoint(5, 2), &foreign).await.unwrap_err();
    assert!(error.to_string().contains("DynamoEffects"), "{error}");
}

/// Doubles each transaction on its way and gives the second answer; notes the tokens.
async fn doubling_proxy(tokens: Arc<Mutex<Vec<String>>>) -> String {
    let treat = move |upstream: String, request: Vec<u8>| {
        let tokens = Arc::clone(&tokens);
        async move {
            let reply = forward(&upstream, &request).await;
            if operation(&request) != "TransactWriteItems" {
                return Some(reply);
            }
            let text = String::from_utf8_lossy(&request).into_owned();
            let token = text.split_once(r#""ClientRequestToken":""#).map(|(_, rest)| rest);
            let token = token.and_then(|rest| rest.split('"').next()).unwrap_or_default();
            tokens.lock().unwrap().push(token.to_owned());
            Some(forward(&upstream, &request).await)
        }
    };
    proxy(&endpoint().unwrap(), treat).await
}

#[tokio::test]
async fn a_transaction_that_is_doubled_on_its_way_applies_once_and_its_second_answer_says_so() {
    let Some((client, direct)) = owned("effects-doubled").await else { return };
    let tokens = Arc::default();
    let url = doubling_proxy(Arc::clone(&tokens)).await;
    let table = direct.for_liveness(&client_of(&url), Duration::from_secs(30));
    for (ordinal, key) in [(1, "one"), (2, "two")] {
        let outcome = table.write_with(&checkpoint(5, ordinal), &effects(&table, &[key])).await;
        let Ok(CasOutcome::Won(Some(row))) = outcome else { panic!("{outcome:?}") };
        assert_eq!(row.into_lease().unwrap().ordinal, Ordinal(ordinal));
        assert!(exists(&client, &direct, key).await);
    }
    let tokens = tokens.lock().unwrap().clone();
    let different: BTreeSet<&String> = tokens.iter().collect();
    assert_eq!((tokens.len(), different.len()), (2, 2), "{tokens:?}");
    assert!(tokens.iter().all(|token| !token.is_empty()), "{tokens:?}");
}
