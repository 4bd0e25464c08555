//! An endpoint of its own for each test, and a client of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::endpoint::{
    Endpoint as Address, EndpointFuture, Params, ResolveEndpoint,
};
use aws_sdk_kinesis::config::{self, BehaviorVersion, Config, Credentials, Region};
use kcl_core::protocol::Moment;
use kcl_core::{Clock, SystemClock, async_trait};
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
    client_of(&endpoint.url())
}

/// A client with connections of its own.
pub fn client_of(url: &str) -> Client {
    Client::from_conf(config().endpoint_url(url).build())
}

/// A client that signs with this key.
pub fn client_with_key(url: &str, id: &str, secret: &str) -> Client {
    let credentials = Credentials::new(id, secret, None, None, "tests");
    Client::from_conf(config().endpoint_url(url).credentials_provider(credentials).build())
}

/// A client that sends requests with a StreamId to this address too: by itself it makes up a host
/// from the id.
pub fn client_by_id(endpoint: &Endpoint) -> Client {
    #[derive(Debug)]
    struct Fixed(String);
    impl ResolveEndpoint for Fixed {
        fn resolve_endpoint(&self, _: &Params) -> EndpointFuture<'_> {
            EndpointFuture::ready(Ok(Address::builder().url(self.0.clone()).build()))
        }
    }
    Client::from_conf(config().endpoint_resolver(Fixed(endpoint.url())).build())
}

fn config() -> config::Builder {
    Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "tests"))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
}

/// A clock that stands still unless a test sets it forward.
#[derive(Clone, Debug, Default)]
pub struct Forward(Arc<AtomicU64>);

/// What the clock shows at first (Unix milliseconds).
const START: u64 = 1_700_000_000_000;

impl Forward {
    /// Sets the clock forward.
    pub fn by(&self, duration: Duration) {
        self.0.fetch_add(duration.as_millis() as u64, Ordering::SeqCst);
    }
    fn ahead(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Clock for Forward {
    fn monotonic(&self) -> Moment {
        Moment(Duration::from_secs(1000) + Duration::from_millis(self.ahead()))
    }
    fn wall_millis(&self) -> u64 {
        START + self.ahead()
    }
    async fn sleep_until(&self, moment: Moment) {
        while self.monotonic() < moment {
            SystemClock.sleep(Duration::from_millis(2)).await;
        }
    }
}

/// An endpoint with the service's limits, on a clock that can be set forward.
pub async fn limited(shards: u32, transition: Duration) -> (Endpoint, Forward) {
    let clock = Forward::default();
    let config = EndpointConfig {
        streams: vec![("s".to_owned(), shards)],
        transition,
        clock: Arc::new(clock.clone()),
        ..EndpointConfig::default()
    };
    (Endpoint::start(config).await.unwrap(), clock)
}
