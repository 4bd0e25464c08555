//! What is known of requests to Kinesis that had no answer.
#![cfg(feature = "aws")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future;
use aws_sdk_kinesis::config::timeout::TimeoutConfig;
use aws_sdk_kinesis::config::{
    BehaviorVersion, Builder, Config, Credentials, ProvideCredentials, Region, SharedHttpClient,
};
use aws_sdk_kinesis::{Client, error};
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_runtime_api::client::connection::{CaptureSmithyConnection, ConnectionMetadata};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use kcl_core::{Clock, TokioClock};
use kcl_producer::{
    KinesisSink, LostReply, Producer, ProducerOptions, PutFailure, PutSink, SinkError, SinkRecord,
};

fn config(url: &str) -> Builder {
    Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(url)
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .credentials_provider(Credentials::new("local", "local", None, None, "tests"))
}

fn sink(config: Builder) -> KinesisSink {
    KinesisSink::new(&Client::from_conf(config.build()), "s")
}

/// What a put of one record comes to.
async fn failure(sink: &KinesisSink) -> SinkError {
    let partition_key = "key".into();
    let data = "x".into();
    let record = SinkRecord { partition_key, explicit_hash_key: None, hash_key: 0, data };
    sink.put_records(vec![record]).await.unwrap_err()
}

fn is_not_sent(error: &SinkError) -> bool {
    matches!(error, SinkError::NotNow(_)) && error.to_string().contains("not sent")
}

/// Credentials that never come, or are refused.
#[derive(Debug)]
struct NoCredentials {
    is_slow: bool,
}

impl ProvideCredentials for NoCredentials {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        match self.is_slow {
            true => future::ProvideCredentials::new(std::future::pending()),
            false => {
                let why = CredentialsError::provider_error("nobody is logged in");
                future::ProvideCredentials::ready(Err(why))
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_for_which_no_credentials_come_was_not_sent() {
    for is_slow in [false, true] {
        let config = config("http://127.0.0.1:9");
        let sink = sink(config.credentials_provider(NoCredentials { is_slow }));
        let failed = failure(&sink).await;
        assert!(is_not_sent(&failed), "slow: {is_slow}: {failed:?}");
        let (patience, lost_reply) = (Duration::from_millis(100), LostReply::Report);
        let options = ProducerOptions { patience, lost_reply, ..Default::default() };
        let producer = Producer::builder(Arc::new(sink)).options(options).start();
        let failed = producer.put("key", "x").await.unwrap().await.unwrap_err();
        assert!(matches!(failed, PutFailure::GivenUp { .. }), "slow: {is_slow}: {failed:?}");
    }
}

#[tokio::test]
async fn a_record_for_a_host_that_does_not_resolve_was_not_sent() {
    let failed = failure(&sink(config("http://nowhere.invalid"))).await;
    assert!(is_not_sent(&failed), "{failed:?}");
}

#[tokio::test]
async fn a_record_whose_connection_ends_in_the_tls_handshake_was_not_sent() {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let closes = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            drop(stream);
        }
    });
    let https = aws_smithy_http_client::Builder::new();
    let https = https.tls_provider(Provider::Rustls(CryptoMode::AwsLc)).build_https();
    let failed = failure(&sink(config(&url).http_client(https))).await;
    assert!(is_not_sent(&failed), "{failed:?}");
    closes.abort();
}

#[tokio::test]
async fn a_record_whose_connection_ends_after_that_may_have_been_sent() {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let closes = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            drop(stream);
        }
    });
    let failed = failure(&sink(config(&url))).await;
    assert!(matches!(failed, SinkError::Unknown(_)), "{failed:?}");
    closes.abort();
}

/// Takes requests over a connection that is dead, and counts how often it is given up.
#[derive(Clone, Debug, Default)]
struct Dead {
    /// How long it was told to wait for an answer.
    read_timeout: Arc<Mutex<Option<Duration>>>,
    requests: Arc<AtomicUsize>,
    given_up: Arc<AtomicUsize>,
    /// Fails by itself instead of being silent.
    has_timeout: bool,
}

impl Dead {
    fn client(&self) -> SharedHttpClient {
        let dead = self.clone();
        http_client_fn(move |settings, _| {
            *dead.read_timeout.lock().unwrap() = settings.read_timeout();
            SharedHttpConnector::new(dead.clone())
        })
    }
}

impl HttpConnector for Dead {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        self.requests.fetch_add(1, Ordering::SeqCst);
        let request = request.try_into_http1x().unwrap();
        let captured = request.extensions().get::<CaptureSmithyConnection>().unwrap();
        let given_up = Arc::clone(&self.given_up);
        captured.set_connection_retriever(move || {
            let given_up = Arc::clone(&given_up);
            let count = move || _ = given_up.fetch_add(1, Ordering::SeqCst);
            Some(ConnectionMetadata::builder().proxied(false).poison_fn(count).build())
        });
        let late = || error::ConnectorError::timeout("no answer".into());
        let has_timeout = self.has_timeout;
        HttpConnectorFuture::new(async move {
            match has_timeout {
                true => Err(late()),
                false => std::future::pending().await,
            }
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_on_which_a_request_timed_out_is_given_up_and_its_outcome_unknown() {
    for has_timeout in [false, true] {
        let dead = Dead { has_timeout, ..Dead::default() };
        let base = config("http://127.0.0.1:9").http_client(dead.client());
        let failed = failure(&sink(base)).await;
        assert!(matches!(failed, SinkError::Unknown(_)), "{failed:?}");
        let counts = [&dead.requests, &dead.given_up].map(|count| count.load(Ordering::SeqCst));
        assert_eq!(counts, [1, 1], "has a timeout of its own: {has_timeout}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_has_ten_seconds_whatever_the_client_was_told() {
    let dead = Dead::default();
    let brief = Duration::from_millis(100);
    let timeouts = TimeoutConfig::builder().read_timeout(brief).operation_timeout(brief);
    let timeouts = timeouts.operation_attempt_timeout(brief).build();
    let base = config("http://127.0.0.1:9").timeout_config(timeouts).http_client(dead.client());
    let clock = TokioClock::starting_at(0);
    let failed = failure(&sink(base)).await;
    assert!(matches!(failed, SinkError::Unknown(_)), "{failed:?}");
    assert!(clock.wall_millis() >= 10_000, "{} ms", clock.wall_millis());
    assert_eq!(*dead.read_timeout.lock().unwrap(), Some(Duration::from_secs(10)));
}

#[tokio::test]
async fn a_stream_that_no_stream_can_be_named_as_refuses_all_and_nothing_is_asked() {
    let dead = Dead::default();
    let client = Client::from_conf(config("http://[::1]:9").http_client(dead.client()).build());
    let account = "arn:aws:kinesis:us-east-1:123456789012";
    let long = "s".repeat(129);
    let arns = ["", ":stream/", ":stream/a b", ":shard/s", ":stream"];
    let mut names: Vec<_> = arns.iter().map(|rest| format!("{account}{rest}")).collect();
    let wrong = ["", "no stream", "a/b", &long, "Straße", "arn:aws:s3:::s", "arn:aws:kinesis"];
    names.extend(wrong.map(str::to_owned));
    for name in names {
        let sink = KinesisSink::new(&client, &name);
        let listed = sink.list_shards().await.unwrap_err();
        assert!(matches!(listed, SinkError::Never(_)), "{name}: {listed:?}");
        let producer = Producer::builder(Arc::new(sink)).start();
        let deliveries =
            [producer.put("a", "x").await.unwrap(), producer.put("b", "x").await.unwrap()];
        for delivery in deliveries {
            let failed = delivery.await.unwrap_err();
            assert!(matches!(failed, PutFailure::StreamRefuses { attempts: 1, .. }), "{failed:?}");
            let why = failed.to_string();
            assert!(
                why.contains(&format!("{name:?}")) && why.contains("[a-zA-Z0-9_.-]{1,128}"),
                "{why}"
            );
        }
    }
    assert_eq!(dead.requests.load(Ordering::SeqCst), 0);
    let longest = "s".repeat(128);
    for name in [&format!("{account}:stream/a.b_c-D1"), &longest] {
        let dead = Dead { has_timeout: true, ..Dead::default() };
        let base = config("http://127.0.0.1:9").http_client(dead.client());
        let sink = KinesisSink::new(&Client::from_conf(base.build()), name);
        assert!(matches!(failure(&sink).await, SinkError::Unknown(_)), "{name}");
    }
}
