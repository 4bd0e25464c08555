//! Keys and rules as the real client meets them.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::config::{BehaviorVersion, Config, Credentials, Region};
use aws_sdk_kinesis::error::ProvideErrorMetadata;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::ShardIteratorType;
use aws_smithy_http_client::Builder as Http;
use kcl_core::protocol::Moment;
use kcl_core::{Clock, SystemClock};
use kcl_endpoint::{AccessKeys, Endpoint, EndpointConfig};

const KEYS: &str = r#"
[[key]]
id = "ADMIN"
secret = "admin-secret-0123456789"
[[key.statement]]
Effect = "Allow"
Action = "*"
Resource = "*"

[[key]]
name = "producer"
id = "PRODUCER"
secret = "producer-secret-0123456789"
session_token = "today"
[[key.statement]]
Effect = "Allow"
Action = ["kinesis:Put*", "kinesis:GetShardIterator"]
Resource = "arn:aws:kinesis:*:*:stream/orders"
"#;

/// The machine's clock, and some more.
struct Ahead(Duration);

#[kcl_core::async_trait]
impl Clock for Ahead {
    fn monotonic(&self) -> Moment {
        SystemClock.monotonic()
    }
    fn wall_millis(&self) -> u64 {
        SystemClock.wall_millis() + self.0.as_millis() as u64
    }
    async fn sleep_until(&self, moment: Moment) {
        SystemClock.sleep_until(moment).await;
    }
}

async fn endpoint(ahead: Duration) -> Endpoint {
    let config = EndpointConfig {
        auth: Some(AccessKeys::from_toml(KEYS).unwrap()),
        streams: vec![("orders".into(), 1), ("secrets".into(), 1)],
        clock: Arc::new(Ahead(ahead)),
        ..EndpointConfig::default()
    };
    Endpoint::start(config).await.unwrap()
}

fn client(endpoint: &Endpoint, id: &str, secret: &str, token: Option<&str>) -> Client {
    let credentials = Credentials::new(id, secret, token.map(str::to_owned), None, "test");
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(credentials)
        .endpoint_url(endpoint.url())
        .retry_config(RetryConfig::disabled())
        .http_client(Http::new().build_http())
        .build();
    Client::from_conf(config)
}

async fn put(client: &Client, stream: &str) -> Result<(), String> {
    let put = client.put_record().stream_name(stream).partition_key("k").data(Blob::new("x"));
    put.send().await.map(drop).map_err(|error| error.code().unwrap_or("?").to_owned())
}

#[tokio::test]
async fn only_whom_the_keys_name_gets_in() {
    let endpoint = endpoint(Duration::ZERO).await;
    let admin = client(&endpoint, "ADMIN", "admin-secret-0123456789", None);
    assert_eq!(put(&admin, "orders").await, Ok(()));
    let listed = admin.list_streams().send().await.unwrap();
    assert_eq!(listed.stream_names(), ["orders", "secrets"]);
    for (id, secret, token, expected) in [
        ("ADMIN", "admin-secret-0123456780", None, "InvalidSignatureException"),
        ("NOBODY", "admin-secret-0123456789", None, "UnrecognizedClientException"),
        ("ADMIN", "admin-secret-0123456789", Some("t"), "UnrecognizedClientException"),
        ("PRODUCER", "producer-secret-0123456789", None, "UnrecognizedClientException"),
        ("PRODUCER", "producer-secret-0123456789", Some("x"), "UnrecognizedClientException"),
    ] {
        let refused = put(&client(&endpoint, id, secret, token), "orders").await;
        assert_eq!(refused, Err(expected.to_owned()), "{id}");
    }
}

#[tokio::test]
async fn a_key_does_what_its_rules_allow_and_nothing_else() {
    let endpoint = endpoint(Duration::ZERO).await;
    let admin = client(&endpoint, "ADMIN", "admin-secret-0123456789", None);
    let producer = client(&endpoint, "PRODUCER", "producer-secret-0123456789", Some("today"));
    assert_eq!(put(&producer, "orders").await, Ok(()));
    let denied = Err("AccessDeniedException".to_owned());
    assert_eq!(put(&producer, "secrets").await, denied);
    let elsewhere = "arn:aws:kinesis:us-east-1:000000000000:stream/secrets";
    let by_arn = producer.put_record().stream_arn(elsewhere).partition_key("k");
    let error = by_arn.data(Blob::new("x")).send().await.unwrap_err();
    assert_eq!(error.code(), Some("AccessDeniedException"));
    let says = error.message().unwrap_or_default();
    assert!(
        says.contains("user/producer is not authorized to perform: kinesis:PutRecord"),
        "{says}"
    );
    let code = |error: Option<&str>| error.map(str::to_owned);
    let listed = producer.list_streams().send().await.unwrap_err();
    assert_eq!(code(listed.code()), denied.clone().err());
    // An iterator names its stream, sealed: it is no way around.
    let iterator = |client: &Client, stream: &str| {
        let iterator = client.get_shard_iterator().stream_name(stream);
        let iterator = iterator.shard_id("shardId-000000000000");
        iterator.shard_iterator_type(ShardIteratorType::TrimHorizon).send()
    };
    let own = iterator(&producer, "orders").await.unwrap();
    let read = producer.get_records().set_shard_iterator(own.shard_iterator).send().await;
    assert_eq!(code(read.unwrap_err().code()), denied.clone().err());
    let given = iterator(&admin, "secrets").await.unwrap();
    let read = producer.get_records().set_shard_iterator(given.shard_iterator).send().await;
    assert_eq!(code(read.unwrap_err().code()), denied.err());
}

#[tokio::test]
async fn a_clock_six_minutes_off_is_refused() {
    for (ahead, expected) in [
        (Duration::from_secs(240), Ok(())),
        (Duration::from_secs(360), Err("InvalidSignatureException".to_owned())),
    ] {
        let endpoint = endpoint(ahead).await;
        let admin = client(&endpoint, "ADMIN", "admin-secret-0123456789", None);
        assert_eq!(put(&admin, "orders").await, expected, "{ahead:?}");
    }
}
