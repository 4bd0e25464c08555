//! The real client over TLS, with keys: it picks HTTP/2 by ALPN, where the signed host stands in
//! `:authority`.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::config::{self, BehaviorVersion, Config, Credentials, Region};
use aws_sdk_kinesis::error::ProvideErrorMetadata;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::ShardIteratorType;
use aws_smithy_http_client::Builder as Http;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use kcl_core::{ReadFrom, ShardReader, StreamSource};
use kcl_endpoint::{AccessKeys, Endpoint, EndpointConfig, TlsFiles};
use kcl_producer::{KinesisSink, NewRecord, Producer};
use kcl_stream_kinesis::{FanOut, KinesisSource};
use kcl_stream_local::Throughput;
use tracing::level_filters::LevelFilter;

use crate::local::Forward;
use crate::log::Log;
use crate::pushed::{first_shard, take};

const SECRET: &str = "0123456789abcdef";
const KEYS: &str = r#"
[[key]]
id = "AK"
secret = "SECRET"
[[key.statement]]
Effect = "Allow"
Action = "*"
Resource = "*"
"#;

/// An endpoint with TLS and a key, and its certificate in PEM.
async fn guarded(shards: u32) -> (Endpoint, String) {
    let keys = KEYS.replace("SECRET", SECRET);
    with_tls(EndpointConfig {
        streams: vec![("s".to_owned(), shards)],
        throughput: Throughput::Unlimited,
        auth: Some(AccessKeys::from_toml(&keys).unwrap()),
        ..EndpointConfig::default()
    })
    .await
}

/// Such an endpoint with TLS, and its certificate in PEM.
pub async fn with_tls(config: EndpointConfig) -> (Endpoint, String) {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let [certificates, key] = ["cert.pem", "key.pem"].map(|name| folder.path().join(name));
    std::fs::write(&certificates, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let config = EndpointConfig { tls: Some(TlsFiles { certificates, key }), ..config };
    (Endpoint::start(config).await.unwrap(), made.cert.pem())
}

fn client(endpoint: &Endpoint, trusted: TrustStore, secret: &str) -> Client {
    Client::from_conf(config(&endpoint.url(), trusted, secret).build())
}

/// What makes a client that takes HTTP/2.
pub fn config(url: &str, trusted: TrustStore, secret: &str) -> config::Builder {
    let context = TlsContext::builder().with_trust_store(trusted).build().unwrap();
    let http = Http::new().tls_provider(Provider::Rustls(CryptoMode::AwsLc));
    Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("AK", secret, None, None, "test"))
        .endpoint_url(url)
        .retry_config(RetryConfig::disabled())
        .http_client(http.tls_context(context).build_https())
}

#[tokio::test]
async fn signed_requests_over_tls_come_by_http2_and_are_known_by_their_authority() {
    // The endpoint runs on this thread too.
    let (log, _logging) = Log::of_this_thread(LevelFilter::DEBUG);
    let (endpoint, pem) = guarded(1).await;
    let trusted = TrustStore::empty().with_pem_certificate(pem.into_bytes());
    let known = client(&endpoint, trusted.clone(), SECRET);
    let put = known.put_record().stream_name("s").partition_key("k").data(Blob::new("x"));
    put.send().await.unwrap();
    let place = known.get_shard_iterator().stream_name("s").shard_id("shardId-000000000000");
    let place = place.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await.unwrap();
    let got = known.get_records().set_shard_iterator(place.shard_iterator).send().await.unwrap();
    assert_eq!(got.records()[0].data().as_ref(), b"x");
    let wrong = client(&endpoint, trusted, "0123456789abcdeg");
    let put = wrong.put_record().stream_name("s").partition_key("k").data(Blob::new("x"));
    let refused = put.send().await.unwrap_err();
    assert_eq!(refused.code(), Some("InvalidSignatureException"));
    let answered = answered(&log);
    assert_eq!(answered.len(), 4, "{answered:#?}");
    assert!(answered.iter().all(|line| line.contains("version=HTTP/2.0")), "{answered:#?}");
}

#[tokio::test]
async fn a_client_that_does_not_trust_the_certificate_says_so() {
    let (endpoint, _) = guarded(1).await;
    let stranger = client(&endpoint, TrustStore::empty(), SECRET);
    let error = stranger.list_streams().send().await.unwrap_err();
    assert!(error.as_service_error().is_none(), "{error:?}");
    let error = format!("{error:?}");
    assert!(error.contains("UnknownIssuer"), "{error}");
}

/// What the endpoint says of each request.
fn answered(log: &Log) -> Vec<String> {
    log.text().lines().filter(|line| line.contains("answered")).map(str::to_owned).collect()
}

#[tokio::test]
async fn a_producer_puts_and_both_kinds_of_readers_read_over_tls_and_http2() {
    let (log, _logging) = Log::of_this_thread(LevelFilter::DEBUG);
    let (endpoint, pem) = guarded(1).await;
    let trusted = TrustStore::empty().with_pem_certificate(pem.into_bytes());
    let known = client(&endpoint, trusted, SECRET);
    let producer = Producer::builder(Arc::new(KinesisSink::new(&known, "s"))).start();
    for number in 0..10u8 {
        producer.put_and_wait(NewRecord::new("key", vec![number])).await.unwrap();
    }
    let polled = KinesisSource::builder(known.clone(), "s").build();
    let pushed = KinesisSource::builder(known, "s").fan_out(FanOut::register("app")).build();
    for source in [polled, pushed] {
        source.describe().await.unwrap();
        let mut reader = source.open(&first_shard(), ReadFrom::TrimHorizon).await.unwrap();
        assert_eq!(take(&mut *reader, 10).await, (0..10).collect::<Vec<_>>());
    }
    let answered = answered(&log);
    assert!(answered.iter().all(|line| line.contains("version=HTTP/2.0")), "{answered:#?}");
    for operation in ["PutRecords", "GetRecords", "SubscribeToShard", "DescribeStreamSummary"] {
        assert!(answered.iter().any(|line| line.contains(operation)), "{operation}: {answered:#?}");
    }
}

const RECORDS: u8 = 12;

#[tokio::test]
async fn subscriptions_that_are_not_read_hold_up_the_others_of_their_connection_for_10_s_at_most() {
    let (endpoint, pem) = guarded(4).await;
    let trusted = TrustStore::empty().with_pem_certificate(pem.into_bytes());
    let known = client(&endpoint, trusted.clone(), SECRET);
    // By a connection of its own: answers to puts would be held up too.
    let putter = client(&endpoint, trusted, SECRET);
    let producer = Producer::builder(Arc::new(KinesisSink::new(&putter, "s"))).start();
    let clock = Forward::default();
    let source = KinesisSource::builder(known, "s").clock(Arc::new(clock.clone()));
    let source = source.fan_out(FanOut::register("app")).build();
    let mut readers: Vec<Box<dyn ShardReader>> = Vec::new();
    let shards = source.list_shards().await.unwrap();
    for shard in &shards {
        readers.push(source.open(&shard.id, ReadFrom::TrimHorizon).await.unwrap());
    }
    for shard in &shards {
        for number in 0..RECORDS {
            let record = NewRecord::new("key", vec![number; 300_000]);
            producer.put_record(record.with_hash_key(shard.range.start)).await.unwrap();
        }
    }
    producer.flush().await;
    let all: Vec<u8> = (0..RECORDS).collect();
    let mut asked = readers.pop().unwrap();
    // Until then nothing comes, and more time makes it a dead connection.
    let passing = async {
        while source.counters().stalled < 3 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            clock.by(Duration::from_secs(1));
        }
        std::future::pending::<()>().await;
    };
    let read = tokio::time::timeout(Duration::from_secs(30), take(&mut *asked, all.len()));
    tokio::select! { biased;
        read = read => assert_eq!(read.unwrap(), all),
        () = passing => unreachable!("it never ends"),
    }
    assert_eq!(source.counters().stalled, 3, "they were given up");
}
