//! `DynamoDbLocal`, as users start it in their tests.

use std::net::TcpStream;
use std::process::Command;

use kcl_core::LeaseTable;
use kcl_lease_dynamo::{DynamoLeaseTable, TableOptions};
use kcl_protocol::{ConditionalWrite, LeaseKey, LeaseWrite, RowKey};
use kcl_testkit::DynamoDbLocal;
use kcl_testkit::dynamodb_local::ENDPOINT_VARIABLE;

use crate::local::{client_of, endpoint, lease, prepared, unique};

/// Set in the process that a test starts, with its own name.
const CHILD: &str = "KCL_TEST_OF_A_CHILD";

fn listens(url: &str) -> bool {
    TcpStream::connect(url.strip_prefix("http://").unwrap()).is_ok()
}

#[tokio::test]
async fn a_server_of_its_own_starts_serves_and_stops_with_its_last_handle() {
    // Where nothing can be started, nothing is.
    if endpoint().is_none() {
        return;
    }
    let server = tokio::task::spawn_blocking(DynamoDbLocal::start_apart).await.unwrap().unwrap();
    let url = server.endpoint().to_owned();
    let address = url.strip_prefix("http://").unwrap().to_owned();
    let table = DynamoLeaseTable::builder(client_of(&url), "app")
        .create_if_missing(TableOptions::default())
        .request_timeout(std::time::Duration::from_secs(30))
        .build();
    table.prepare().await.unwrap();
    let other = server.clone();
    drop(server);
    table.prepare().await.unwrap();
    tokio::task::spawn_blocking(|| drop(other)).await.unwrap();
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "it still listens");
}

#[tokio::test]
async fn a_named_server_is_shared() {
    let Some(endpoint) = endpoint() else { return };
    let server = tokio::task::spawn_blocking(DynamoDbLocal::start).await.unwrap().unwrap();
    assert_eq!(server.endpoint(), endpoint);
}

#[test]
fn a_process_that_names_no_server_starts_one_for_all_its_handles() {
    if std::env::var_os(CHILD).is_some() {
        let (one, other) = (DynamoDbLocal::start().unwrap(), DynamoDbLocal::start().unwrap());
        let url = one.endpoint().to_owned();
        assert_eq!(other.endpoint(), url);
        drop(one);
        assert!(listens(&url), "it stopped with its first handle");
        drop(other);
        assert!(!listens(&url), "it outlives its last handle");
        return;
    }
    let Some(named) = endpoint() else { return };
    let name = "starter::a_process_that_names_no_server_starts_one_for_all_its_handles";
    let mut child = Command::new(std::env::current_exe().unwrap());
    let child = child.args(["--exact", name]).env(CHILD, "1").env_remove(ENDPOINT_VARIABLE);
    let output = child.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    assert!(listens(&named), "the named one has nothing to do with it");
}

#[tokio::test]
async fn a_server_with_a_folder_restarts_where_it_was_with_what_was_in_it() {
    if endpoint().is_none() {
        return;
    }
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(unique("kcl-starter"));
    std::fs::create_dir(&folder).unwrap();
    let start = {
        let folder = folder.clone();
        move || DynamoDbLocal::start_in(folder)
    };
    let server = tokio::task::spawn_blocking(start).await.unwrap().unwrap();
    let url = server.endpoint().to_owned();
    let table = || {
        DynamoLeaseTable::builder(client_of(&url), "app")
            .create_if_missing(TableOptions::default())
            .request_timeout(std::time::Duration::from_secs(30))
            .build()
    };
    let before = table();
    prepared(&before).await;
    let write = ConditionalWrite::Lease(LeaseWrite::Create(lease("a")));
    assert!(before.write(&write).await.unwrap().is_won());
    let restarted = server.clone();
    tokio::task::spawn_blocking(move || restarted.restart()).await.unwrap().unwrap();
    assert_eq!(server.endpoint(), url);
    let row = table().read(&RowKey::Lease(LeaseKey::new("a"))).await.unwrap();
    assert_eq!(row.unwrap().into_lease().unwrap(), lease("a"));
    tokio::task::spawn_blocking(|| drop(server)).await.unwrap();
    std::fs::remove_dir_all(folder).unwrap();
    let in_memory = tokio::task::spawn_blocking(DynamoDbLocal::start).await.unwrap().unwrap();
    let error = in_memory.restart().unwrap_err().to_string();
    assert!(error.contains("only a server with a folder"), "{error}");
}
