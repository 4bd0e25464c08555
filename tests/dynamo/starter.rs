//! `DynamoDbLocal`, as users start it in their tests.

use kcl_core::LeaseTable;
use kcl_lease_dynamo::{DynamoLeaseTable, TableOptions};
use kcl_testkit::DynamoDbLocal;

use crate::local::{client_of, endpoint};

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
