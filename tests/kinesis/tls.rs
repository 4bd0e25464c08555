//! The real client over TLS, with keys: it picks HTTP/2 by ALPN, where the signed host stands in
//! `:authority`.

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::config::{BehaviorVersion, Config, Credentials, Region};
use aws_sdk_kinesis::error::ProvideErrorMetadata;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::ShardIteratorType;
use aws_smithy_http_client::Builder as Http;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use kcl_endpoint::{AccessKeys, Endpoint, EndpointConfig, TlsFiles};
use tracing::level_filters::LevelFilter;

use crate::log::Log;

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
async fn guarded() -> (Endpoint, String) {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let [certificates, key] = ["cert.pem", "key.pem"].map(|name| folder.path().join(name));
    std::fs::write(&certificates, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let keys = KEYS.replace("SECRET", SECRET);
    let config = EndpointConfig {
        streams: vec![("s".to_owned(), 1)],
        auth: Some(AccessKeys::from_toml(&keys).unwrap()),
        tls: Some(TlsFiles { certificates, key }),
        ..EndpointConfig::default()
    };
    (Endpoint::start(config).await.unwrap(), made.cert.pem())
}

fn client(endpoint: &Endpoint, trusted: TrustStore, secret: &str) -> Client {
    let context = TlsContext::builder().with_trust_store(trusted).build().unwrap();
    let http = Http::new().tls_provider(Provider::Rustls(CryptoMode::AwsLc));
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("AK", secret, None, None, "test"))
        .endpoint_url(endpoint.url())
        .retry_config(RetryConfig::disabled())
        .http_client(http.tls_context(context).build_https())
        .build();
    Client::from_conf(config)
}

#[tokio::test]
async fn signed_requests_over_tls_come_by_http2_and_are_known_by_their_authority() {
    // The endpoint runs on this thread too.
    let (log, _logging) = Log::of_this_thread(LevelFilter::DEBUG);
    let (endpoint, pem) = guarded().await;
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
    // The endpoint's own word for it.
    let text = log.text();
    let answered: Vec<_> = text.lines().filter(|line| line.contains("answered")).collect();
    assert_eq!(answered.len(), 4, "{answered:#?}");
    assert!(answered.iter().all(|line| line.contains("version=HTTP/2.0")), "{answered:#?}");
}

#[tokio::test]
async fn a_client_that_does_not_trust_the_certificate_says_so() {
    let (endpoint, _) = guarded().await;
    let stranger = client(&endpoint, TrustStore::empty(), SECRET);
    let error = stranger.list_streams().send().await.unwrap_err();
    assert!(error.as_service_error().is_none(), "{error:?}");
    let error = format!("{error:?}");
    assert!(error.contains("UnknownIssuer"), "{error}");
}
