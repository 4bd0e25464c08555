//! What the caller may conclude from each kind of failure.

use std::time::Duration;

use kcl_core::{LeaseTable, Scan, TableError};
use kcl_lease_dynamo::DynamoLeaseTable;
use kcl_protocol::{CasOutcome, ConditionalWrite, LeaseKey, LeaseWrite, RowKey};

use crate::canned::{Habit, closed_endpoint, endpoint};
use crate::effects::effects;
use crate::local::{client_of, lease};

fn table_at(endpoint: &str) -> DynamoLeaseTable {
    DynamoLeaseTable::builder(client_of(endpoint), "app")
        .request_timeout(Duration::from_millis(300))
        .build()
}

fn create(key: &str) -> ConditionalWrite {
    ConditionalWrite::Lease(LeaseWrite::Create(lease(key)))
}

/// The errors of a read, a write and a transaction at an endpoint of this habit.
async fn errors(habit: Habit) -> [TableError; 3] {
    let canned = endpoint(habit).await;
    let errors = errors_at(&canned.url).await;
    assert_eq!(canned.requests(), 3, "nothing is retried");
    errors
}

async fn errors_at(url: &str) -> [TableError; 3] {
    let table = table_at(url);
    let read = table.read(&RowKey::Lease(LeaseKey::new("a"))).await.unwrap_err();
    let write = table.write(&create("a")).await.unwrap_err();
    let both = table.write_all(&[create("a"), create("b")]).await.unwrap_err();
    let sent = table.requests();
    assert_eq!((sent.reads, sent.puts, sent.transactions), (1, 1, 1), "each is counted once");
    [read, write, both]
}

fn unknown_for_writes([read, write, both]: &[TableError; 3]) -> bool {
    matches!(read, TableError::Unavailable(_))
        && write.may_have_applied()
        && both.may_have_applied()
}

#[tokio::test]
async fn a_throttled_request_did_not_apply() {
    for kind in ["ThrottlingException", "ProvisionedThroughputExceededException"] {
        for error in errors(Habit::Answer(400, kind)).await {
            assert!(matches!(error, TableError::Throttled), "{kind}: {error}");
        }
    }
}

#[tokio::test]
async fn an_internal_error_leaves_writes_unknown() {
    for (status, kind) in [(500, "InternalServerError"), (503, "ServiceUnavailable")] {
        let errors = errors(Habit::Answer(status, kind)).await;
        assert!(unknown_for_writes(&errors), "{status}: {errors:?}");
    }
}

#[tokio::test]
async fn a_request_whose_double_is_under_way_leaves_writes_unknown() {
    let errors = errors(Habit::Answer(400, "TransactionInProgressException")).await;
    assert!(unknown_for_writes(&errors), "{errors:?}");
}

#[tokio::test]
async fn a_connection_cut_after_the_request_leaves_writes_unknown() {
    let errors = errors(Habit::HangUp).await;
    assert!(unknown_for_writes(&errors), "{errors:?}");
}

#[tokio::test]
async fn a_request_without_an_answer_times_out_and_leaves_writes_unknown() {
    let errors = errors(Habit::Silence).await;
    assert!(unknown_for_writes(&errors), "{errors:?}");
}

#[tokio::test]
async fn a_refused_connection_did_not_apply() {
    for error in errors_at(&closed_endpoint().await).await {
        assert!(matches!(error, TableError::Unavailable(_)), "{error}");
    }
}

#[tokio::test]
async fn a_conflict_of_transactions_did_not_apply() {
    let canned = endpoint(Habit::Answer(400, "TransactionConflictException")).await;
    let error = table_at(&canned.url).write(&create("a")).await.unwrap_err();
    assert_eq!(error, TableError::Conflict);
}

#[tokio::test]
async fn a_missing_permission_is_refused_with_the_remedy() {
    let canned = endpoint(Habit::Answer(400, "AccessDeniedException")).await;
    let error = table_at(&canned.url).scan(Scan::Leases).await.unwrap_err();
    assert!(!error.is_transient());
    assert!(error.to_string().contains("docs/policies"), "{error}");
}

#[tokio::test]
async fn expired_credentials_are_waited_for() {
    for kind in ["ExpiredTokenException", "RequestExpired"] {
        for error in errors(Habit::Answer(400, kind)).await {
            assert!(matches!(error, TableError::Unavailable(_)), "{kind}: {error}");
        }
    }
}

/// A cancelled transaction of two items, with the code of the second one.
macro_rules! cancelled {
    ($first:literal, $second:literal) => {
        Habit::Say(
            400,
            concat!(
                r#"{"__type":"com.amazonaws.dynamodb.v20120810#TransactionCanceledException","#,
                r#""Message":"cancelled","CancellationReasons":[{"Code":""#,
                $first,
                r#""},{"Code":""#,
                $second,
                r#"","Message":"said why"}]}"#
            ),
        )
    };
}

async fn of_two(habit: Habit) -> Result<CasOutcome, TableError> {
    let canned = endpoint(habit).await;
    let outcome = table_at(&canned.url).write_all(&[create("a"), create("b")]).await;
    assert_eq!(canned.requests(), 1);
    outcome
}

#[tokio::test]
async fn a_cancelled_transaction_is_told_by_its_reasons() {
    let conflict = of_two(cancelled!("None", "TransactionConflict")).await;
    assert_eq!(conflict, Err(TableError::Conflict));
    for habit in [
        cancelled!("None", "ThrottlingError"),
        cancelled!("None", "ProvisionedThroughputExceeded"),
        cancelled!("RequestLimitExceeded", "None"),
    ] {
        let throttled = of_two(habit).await;
        assert!(matches!(throttled, Err(TableError::Throttled)), "{throttled:?}");
    }
    let refused = of_two(cancelled!("None", "ItemCollectionSizeLimitExceeded")).await;
    let Err(TableError::Refused(why)) = &refused else { panic!("{refused:?}") };
    assert!(why.contains("\"b\"") && why.contains("said why"), "{why}");
    // A failed condition is the last word: waiting would not change it.
    let lost = of_two(cancelled!("ConditionalCheckFailed", "TransactionConflict")).await;
    assert_eq!(lost, Ok(CasOutcome::Lost(None)));
}

#[tokio::test]
async fn an_effect_that_is_not_valid_is_refused_by_its_place() {
    let canned = endpoint(cancelled!("None", "ValidationError")).await;
    let table = table_at(&canned.url);
    let effects = effects(&table, &["one"]);
    let error = table.write_with(&create("a"), &effects).await.unwrap_err();
    let TableError::Refused(why) = &error else { panic!("{error}") };
    assert!(why.contains("effect 0") && why.contains("ValidationError said why"), "{why}");
}
