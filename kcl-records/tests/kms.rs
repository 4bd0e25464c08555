//! What the key ring asks of KMS, and what it makes of the answers.
#![cfg(feature = "kms")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_kms::Client;
use aws_sdk_kms::config::retry::RetryConfig;
use aws_sdk_kms::config::timeout::TimeoutConfig;
use aws_sdk_kms::config::{BehaviorVersion, Builder, Config, Credentials, Region};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::http::StatusCode;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use kcl_core::{Clock, TokioClock};
use kcl_records::envelope::{KeyRing, KeyRingError, KmsKeyRing};

/// Answers as a test says, and not at all after that.
#[derive(Clone, Debug, Default)]
struct Kms {
    answers: Arc<Mutex<VecDeque<(u16, String)>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl HttpConnector for Kms {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let asked: serde_json::Value =
            serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
        self.asked.lock().unwrap().push(asked["KeyId"].as_str().unwrap().to_owned());
        let answer = self.answers.lock().unwrap().pop_front();
        HttpConnectorFuture::new(async move {
            let Some((status, body)) = answer else { return std::future::pending().await };
            let status = StatusCode::try_from(status).unwrap();
            Ok(HttpResponse::new(status, body.into()))
        })
    }
}

impl Kms {
    fn answers(answers: &[(u16, String)]) -> Self {
        let answers = Arc::new(Mutex::new(answers.iter().cloned().collect()));
        Self { answers, ..Self::default() }
    }
    fn config(&self) -> Builder {
        let kms = self.clone();
        Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-west-1"))
            .credentials_provider(Credentials::new("AK", "secret", None, None, "tests"))
            .http_client(http_client_fn(move |_, _| SharedHttpConnector::new(kms.clone())))
            .retry_config(RetryConfig::disabled())
    }
    fn client(&self) -> Client {
        Client::from_conf(self.config().build())
    }
    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn opened() -> (u16, String) {
    let key = BASE64_STANDARD.encode([7; 32]);
    (200, format!(r#"{{"Plaintext": "{key}", "EncryptionAlgorithm": "SYMMETRIC_DEFAULT"}}"#))
}

fn arn(region: &str, account: &str, id: &str) -> String {
    format!("arn:aws:kms:{region}:{account}:key/{id}")
}

#[tokio::test]
async fn a_data_key_of_a_replica_elsewhere_is_unwrapped_by_the_one_of_the_ring() {
    let here = |id: &str| arn("eu-west-1", "111", id);
    let there = |id: &str| arn("us-east-1", "111", id);
    let stranger = arn("us-east-1", "222", "mrk-1");
    for (key, asked) in [
        (there("mrk-1"), here("mrk-1")),
        (there("mrk-2"), here("mrk-2")),
        // Without a replica on the list, of another account, or no multi-Region key.
        (there("mrk-3"), there("mrk-3")),
        (stranger.clone(), stranger),
        (there("1"), there("1")),
        (here("mrk-1"), here("mrk-1")),
    ] {
        let kms = Kms::answers(&[opened()]);
        let ring = KmsKeyRing::new(kms.client(), &here("mrk-1"));
        let ring = ring.also_opens(&here("mrk-2")).also_opens(&here("1")).also_opens(&key);
        ring.unwrap(&key, b"wrapped", "orders").await.unwrap();
        assert_eq!(kms.asked(), [asked], "for {key}");
    }
}

#[tokio::test]
async fn a_listed_key_that_kms_does_not_find_is_waited_for_and_named() {
    let not_found = r#"{"__type": "NotFoundException", "message": "no such key"}"#;
    let kms = Kms::answers(&[(400, not_found.to_owned())]);
    let key = arn("us-east-1", "111", "1");
    let ring = KmsKeyRing::new(kms.client(), &arn("eu-west-1", "111", "1")).also_opens(&key);
    let error = ring.unwrap(&key, b"wrapped", "orders").await.unwrap_err();
    assert!(matches!(error, KeyRingError::Unavailable(_)), "{error}");
    let error = error.to_string();
    assert!(error.contains(&key) && error.contains("region of the client"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_kms_that_does_not_answer_is_unavailable_after_10_s_or_as_the_client_says() {
    let own = TimeoutConfig::builder().operation_timeout(Duration::from_secs(3)).build();
    let (kms, clock) = (Kms::default(), TokioClock::starting_at(0));
    for (config, seconds) in [(kms.config(), 10), (kms.config().timeout_config(own), 3)] {
        let ring = KmsKeyRing::new(Client::from_conf(config.build()), "key");
        let began = clock.monotonic();
        let made = tokio::time::timeout(Duration::from_secs(60), ring.generate("orders")).await;
        let error = made.expect("it ends").unwrap_err();
        assert!(matches!(error, KeyRingError::Unavailable(_)), "{error}");
        assert_eq!(clock.monotonic().since(began).as_secs(), seconds);
    }
}
