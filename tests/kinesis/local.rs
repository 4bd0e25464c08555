//! An endpoint of its own for each test, and a client of it.

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::{BehaviorVersion, Config, Credentials, Region};
use kcl_endpoint::{Endpoint, EndpointConfig};
use kcl_stream_local::Throughput;

/// An endpoint without rate limits, with a stream `s` of so many shards.
pub async fn endpoint(shards: u32) -> Endpoint {
    let config = EndpointConfig {
        streams: vec![("s".to_owned(), shards)],
        throughput: Throughput::Unlimited,
        ..EndpointConfig::default()
    };
    Endpoint::start(config).await.unwrap()
}

pub fn client(endpoint: &Endpoint) -> Client {
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "tests"))
        .endpoint_url(endpoint.url())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    Client::from_conf(config)
}
