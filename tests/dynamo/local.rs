//! A client and tables of its own for each test.

use std::io::Write;
use std::sync::Once;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Config, Credentials, Region};
use kcl_core::LeaseTable;
use kcl_lease_dynamo::{DynamoLeaseTable, TableOptions};
use kcl_protocol::{HashKeyRange, Lease, LeaseKey, LeaseTiming, WorkerId, WorkerRow};

/// A client of an endpoint, with a connection pool of its own.
pub fn client_of(endpoint: &str) -> Client {
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "tests"))
        .endpoint_url(endpoint)
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    Client::from_conf(config)
}

/// The endpoint under test. Without one the test says so and passes, except in CI, where nothing
/// is skipped.
pub fn endpoint() -> Option<String> {
    static SAID: Once = Once::new();
    let named = std::env::var(kcl_testkit::dynamodb_local::ENDPOINT_VARIABLE).ok();
    let named = named.filter(|endpoint| !endpoint.is_empty());
    if named.is_none() {
        let why = "DDB_LOCAL_ENDPOINT is not set: run these tests with \
                   scripts/dynamodb-local exec -- cargo test -p kcl-tests-dynamo";
        assert!(std::env::var_os("CI").is_none(), "{why}");
        SAID.call_once(|| {
            // Past the capture of test output, which hides what passing tests print.
            std::io::stderr().write_all(format!("skipped: {why}\n").as_bytes()).unwrap();
        });
    }
    named
}

pub fn unique(name: &str) -> String {
    format!("{name}-{}", uuid::Uuid::new_v4().simple())
}

/// A fresh pair of tables, ready for use.
pub async fn table(name: &str) -> Option<(Client, DynamoLeaseTable)> {
    let client = client_of(&endpoint()?);
    let table = DynamoLeaseTable::builder(client.clone(), unique(name))
        .create_if_missing(TableOptions::default())
        .request_timeout(Duration::from_secs(30))
        .build();
    prepared(&table).await;
    Some((client, table))
}

/// Prepares a table; again where DynamoDB Local fails with an internal error, as it now and then
/// does when several tables are made at once.
pub async fn prepared(table: &DynamoLeaseTable) -> String {
    for _ in 0..10 {
        match table.prepare().await {
            Err(error) if error.is_transient() => {}
            answer => return answer.unwrap(),
        }
    }
    panic!("the table was never ready");
}

pub fn lease(key: &str) -> Lease {
    Lease::unowned(LeaseKey::new(key), kcl_protocol::Checkpoint::TrimHorizon, HashKeyRange::FULL)
}

pub fn worker(id: &str) -> WorkerRow {
    let timing = LeaseTiming::new(Duration::from_millis(1500), Duration::ZERO);
    WorkerRow::live(WorkerId::new(id), timing)
}
