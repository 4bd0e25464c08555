//! What is made of the descriptions of tables.

use kcl_core::{LeaseTable, TableError};
use kcl_lease_dynamo::{DynamoLeaseTable, TableOptions};

use crate::canned::{Canned, Habit, endpoint as canned};
use crate::local::client_of;

macro_rules! described {
    ($status:literal, $id:literal, $key:literal) => {
        described!($status, $id, $key, "S")
    };
    ($status:literal, $id:literal, $key:literal, $type:literal) => {
        concat!(
            r#"{"Table":{"TableName":"t","TableStatus":""#,
            $status,
            r#"","TableId":""#,
            $id,
            r#"","KeySchema":[{"AttributeName":""#,
            $key,
            r#"","KeyType":"HASH"}],"AttributeDefinitions":[{"AttributeName":""#,
            $key,
            r#"","AttributeType":""#,
            $type,
            r#""}]}}"#
        )
    };
}

#[tokio::test]
async fn a_table_that_is_still_being_made_is_waited_for() {
    let habit = Habit::SayInTurn(&[
        described!("CREATING", "one", "leaseKey"),
        described!("CREATING", "one", "leaseKey"),
        described!("ACTIVE", "one", "leaseKey"),
        described!("CREATING", "two", "rowKey"),
        described!("UPDATING", "two", "rowKey"),
    ]);
    let canned = canned(habit).await;
    let table = DynamoLeaseTable::builder(client_of(&canned.url), "app").build();
    assert_eq!(table.prepare().await.unwrap(), "one+two");
    assert_eq!((canned.requests(), table.requests().control), (5, 5));
}

#[tokio::test]
async fn a_table_that_is_being_deleted_is_refused() {
    let canned = canned(Habit::SayInTurn(&[described!("DELETING", "one", "leaseKey")])).await;
    let table = DynamoLeaseTable::builder(client_of(&canned.url), "app").build();
    let error = table.prepare().await.unwrap_err();
    assert!(matches!(&error, TableError::Refused(why) if why.contains("DELETING")), "{error}");
    assert_eq!(canned.requests(), 1);
}

#[tokio::test]
async fn the_first_backups_of_a_table_just_made_are_waited_for() {
    let canned = canned(Habit::SayInTurn(&[
        described!("ACTIVE", "one", "leaseKey"),
        described!("ACTIVE", "two", "rowKey"),
        described!("ACTIVE", "one", "leaseKey"),
        r#"{"__type":"com.amazon#ContinuousBackupsUnavailableException"}"#,
        r#"{"__type":"com.amazon#ContinuousBackupsUnavailableException"}"#,
        "{}",
        described!("ACTIVE", "two", "rowKey"),
        "{}",
        described!("ACTIVE", "one", "leaseKey"),
        described!("ACTIVE", "two", "rowKey"),
    ]));
    let canned = canned.await;
    let table = DynamoLeaseTable::builder(client_of(&canned.url), "app").build();
    let options = TableOptions { point_in_time_recovery: true, ..TableOptions::default() };
    assert_eq!(table.setup(&options).await.unwrap(), "one+two");
    assert_eq!(canned.requests(), 10);
}

#[tokio::test]
async fn a_table_whose_key_has_another_name_or_type_is_refused() {
    for (bodies, name) in [
        (
            [described!("ACTIVE", "one", "leaseKey"), described!("ACTIVE", "two", "customer")],
            "app-workers has the key [\"customer\"]",
        ),
        (
            [described!("ACTIVE", "one", "leaseKey", "N"), described!("ACTIVE", "two", "rowKey")],
            "app has the key [\"leaseKey\"], not the string",
        ),
    ] {
        let canned = canned(Habit::SayInTurn(bodies.to_vec().leak())).await;
        let table = DynamoLeaseTable::builder(client_of(&canned.url), "app").build();
        let error = table.prepare().await.unwrap_err();
        assert!(matches!(&error, TableError::Refused(why) if why.contains(name)), "{error}");
    }
}

const NO_SUCH_TABLE: &str = r#"{"__type":"com.amazon#ResourceNotFoundException"}"#;

/// A table that makes what is missing, with backups.
fn making(canned: &Canned) -> DynamoLeaseTable {
    let options = TableOptions { point_in_time_recovery: true, ..TableOptions::default() };
    DynamoLeaseTable::builder(client_of(&canned.url), "app").create_if_missing(options).build()
}

#[tokio::test]
async fn options_that_failed_are_applied_by_the_next_prepare_although_the_tables_are_found() {
    let canned = canned(Habit::SayInTurn(&[
        NO_SUCH_TABLE,
        "{}",
        NO_SUCH_TABLE,
        "{}",
        described!("ACTIVE", "one", "leaseKey"),
        r#"{"__type":"com.amazon#InternalServerError"}"#,
        described!("ACTIVE", "one", "leaseKey"),
        described!("ACTIVE", "two", "rowKey"),
        "{}",
        "{}",
        described!("ACTIVE", "one", "leaseKey"),
        described!("ACTIVE", "two", "rowKey"),
    ]));
    let canned = canned.await;
    let table = making(&canned);
    let error = table.prepare().await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert_eq!(canned.asked().last().unwrap(), "UpdateContinuousBackups");
    assert_eq!(table.prepare().await.unwrap(), "one+two");
    let [describe, update] = ["DescribeTable", "UpdateContinuousBackups"];
    assert_eq!(canned.asked(), [describe, describe, update, update]);
    assert_eq!(table.prepare().await.unwrap(), "one+two");
    assert_eq!(canned.asked(), [describe, describe], "once is enough");
}

#[tokio::test]
async fn a_table_whose_making_got_no_answer_gets_its_options_once_it_is_found() {
    let canned = canned(Habit::SayInTurn(&[
        NO_SUCH_TABLE,
        "",
        described!("ACTIVE", "one", "leaseKey"),
        described!("ACTIVE", "two", "rowKey"),
        "{}",
    ]));
    let canned = canned.await;
    let table = making(&canned);
    let error = table.prepare().await.unwrap_err();
    assert!(matches!(error, TableError::Unknown(_)), "{error}");
    assert_eq!(canned.asked(), ["DescribeTable", "CreateTable"]);
    assert_eq!(table.prepare().await.unwrap(), "one+two");
    let asked = ["DescribeTable", "DescribeTable", "UpdateContinuousBackups"];
    assert_eq!(canned.asked(), asked, "the other table was made by somebody else");
}

#[tokio::test]
async fn a_table_just_made_is_waited_for_while_the_service_says_that_there_is_none() {
    let canned = canned(Habit::SayInTurn(&[
        NO_SUCH_TABLE,
        "{}",
        NO_SUCH_TABLE,
        "{}",
        NO_SUCH_TABLE,
        described!("ACTIVE", "one", "leaseKey"),
        described!("CREATING", "two", "rowKey"),
        NO_SUCH_TABLE,
        described!("ACTIVE", "two", "rowKey"),
    ]));
    let canned = canned.await;
    let table = DynamoLeaseTable::builder(client_of(&canned.url), "app");
    let table = table.create_if_missing(TableOptions::default()).build();
    assert_eq!(table.prepare().await.unwrap(), "one+two");
    assert_eq!(canned.requests(), 9);
}

#[tokio::test]
async fn a_limit_that_stands_before_a_table_is_named_in_the_services_words() {
    let canned = canned(Habit::SayInTurn(&[
        NO_SUCH_TABLE,
        r#"{"__type":"com.amazon#LimitExceededException","message":"limit of 2500 tables"}"#,
    ]));
    let canned = canned.await;
    let error = making(&canned).prepare().await.unwrap_err();
    let said = error.to_string();
    assert!(matches!(error, TableError::Unavailable(_)), "{said}");
    assert!(said.contains("limit of 2500 tables") && said.contains("table app"), "{said}");
}
