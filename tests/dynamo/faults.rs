//! What the caller may conclude from each kind of failure.

use std::time::Duration;

use kcl_core::{LeaseTable, Scan, TableError};
use kcl_lease_dynamo::DynamoLeaseTable;
use kcl_protocol::{ConditionalWrite, LeaseKey, LeaseWrite, RowKey};

use crate::canned::{Habit, closed_endpoint, endpoint};
use crate::local::{client_of, lease};

fn table_at(endpoint: &str) -> DynamoLeaseTable {
    DynamoLeaseTable::builder(client_of(endpoint), "app")
        .request_timeout(Duration::from_millis(300))
        .build()
}

fn create(key: &str) -> ConditionalWrite {
    ConditionalWrite::Lease(LeaseWrite::Create(lease(key)))
}

/// The errors of a read, a write and a transaction at such an endpoint.
async fn errors(endpoint: &str) -> [TableError; 3] {
    let table = table_at(endpoint);
    let read = table.read(&RowKey::Lease(LeaseKey::new("a"))).await.unwrap_err();
    let write = table.write(&create("a")).await.unwrap_err();
    let both = table.write_all(&[create("a"), create("b")]).await.unwrap_err();
    let sent = table.requests();
    assert_eq!((sent.reads, sent.puts, sent.transactions), (1, 1, 1), "nothing is retried");
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
        for error in errors(&endpoint(Habit::Answer(400, kind)).await).await {
            assert!(matches!(error, TableError::Throttled { .. }), "{kind}: {error}");
        }
    }
}

#[tokio::test]
async fn an_internal_error_leaves_writes_unknown() {
    for (status, kind) in [(500, "InternalServerError"), (503, "ServiceUnavailable")] {
        let errors = errors(&endpoint(Habit::Answer(status, kind)).await).await;
        assert!(unknown_for_writes(&errors), "{status}: {errors:?}");
    }
}

#[tokio::test]
async fn a_connection_cut_after_the_request_leaves_writes_unknown() {
    let errors = errors(&endpoint(Habit::HangUp).await).await;
    assert!(unknown_for_writes(&errors), "{errors:?}");
}

#[tokio::test]
async fn a_request_without_an_answer_times_out_and_leaves_writes_unknown() {
    let errors = errors(&endpoint(Habit::Silence).await).await;
    assert!(unknown_for_writes(&errors), "{errors:?}");
}

#[tokio::test]
async fn a_refused_connection_did_not_apply() {
    for error in errors(&closed_endpoint().await).await {
        assert!(matches!(error, TableError::Unavailable(_)), "{error}");
    }
}

#[tokio::test]
async fn a_conflict_of_transactions_did_not_apply() {
    let url = endpoint(Habit::Answer(400, "TransactionConflictException")).await;
    let error = table_at(&url).write(&create("a")).await.unwrap_err();
    assert_eq!(error, TableError::Conflict);
}

#[tokio::test]
async fn a_missing_permission_is_refused_with_the_remedy() {
    let url = endpoint(Habit::Answer(400, "AccessDeniedException")).await;
    let error = table_at(&url).scan(Scan::Leases).await.unwrap_err();
    assert!(!error.is_transient());
    assert!(error.to_string().contains("docs/policies"), "{error}");
}
