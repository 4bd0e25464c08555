//! Clients of the two services on this machine, each with a connection pool of its own.

use aws_smithy_http_client::Builder as Http;

/// The access key of everything here; the local services take any.
const KEY: &str = "local";
const REGION: &str = "us-east-1";

pub(crate) fn dynamodb(endpoint: &str) -> aws_sdk_dynamodb::Client {
    use aws_sdk_dynamodb::config::{BehaviorVersion, Config, Credentials, Region};
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .credentials_provider(Credentials::new(KEY, KEY, None, None, "drill"))
        .endpoint_url(endpoint)
        .http_client(Http::new().build_http())
        .build();
    aws_sdk_dynamodb::Client::from_conf(config)
}

pub(crate) fn kinesis(endpoint: &str) -> aws_sdk_kinesis::Client {
    use aws_sdk_kinesis::config::{BehaviorVersion, Config, Credentials, Region};
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .credentials_provider(Credentials::new(KEY, KEY, None, None, "drill"))
        .endpoint_url(endpoint)
        .http_client(Http::new().build_http())
        .build();
    aws_sdk_kinesis::Client::from_conf(config)
}
