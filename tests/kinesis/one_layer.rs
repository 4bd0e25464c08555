//! Retries in one layer: a call of the source is one request, and what fails is told at once.

use std::sync::{Arc, Mutex};

use kcl_core::protocol::Moment;
use kcl_core::{Clock, ReadFrom, SourceError, StreamSource, async_trait};
use kcl_producer::{KinesisSink, PutSink, SinkError, SinkRecord};
use kcl_stream_kinesis::{FanOut, KinesisSource};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::local::{self, Forward};
use crate::pushed::{LIMIT, first_shard};

/// An operation in small letters, if need be with more words that the request must have, and the
/// status and body of its answer.
pub type Answer = (&'static str, &'static str, &'static str);

const FAILURE: &str = r#"{"__type": "InternalFailureException"}"#;

pub const ITERATOR: Answer = ("getsharditerator", "200 OK", r#"{"ShardIterator": "somewhere"}"#);

pub const SUMMARY: Answer = (
    "describestreamsummary",
    "200 OK",
    r#"{"StreamDescriptionSummary": {
        "StreamName": "s", "StreamARN": "arn:aws:kinesis:us-east-1:000000000000:stream/s",
        "StreamStatus": "ACTIVE", "StreamCreationTimestamp": 1700000000,
        "RetentionPeriodHours": 24, "EnhancedMonitoring": [], "OpenShardCount": 1}}"#,
);

const NO_CONSUMER: Answer = (
    "describestreamconsumer",
    "400 Bad Request",
    r#"{"__type": "ResourceNotFoundException", "message": "no such consumer"}"#,
);

const CONSUMER: Answer = (
    "describestreamconsumer",
    "200 OK",
    r#"{"ConsumerDescription": {
        "ConsumerName": "app", "ConsumerStatus": "ACTIVE", "ConsumerCreationTimestamp": 1700000000,
        "ConsumerARN": "arn:aws:kinesis:us-east-1:000000000000:stream/s/consumer/app:1700000000",
        "StreamARN": "arn:aws:kinesis:us-east-1:000000000000:stream/s"}}"#,
);

const REGISTERED: Answer = (
    "registerstreamconsumer",
    "400 Bad Request",
    r#"{"__type": "ResourceInUseException", "message": "it is there already"}"#,
);

/// Whoever sleeps sets it forward.
#[derive(Clone, Default)]
struct Skipping(Forward);

#[async_trait]
impl Clock for Skipping {
    fn monotonic(&self) -> Moment {
        self.0.monotonic()
    }
    fn wall_millis(&self) -> u64 {
        self.0.wall_millis()
    }
    async fn sleep_until(&self, moment: Moment) {
        self.0.by(moment.since(self.monotonic()));
    }
}

pub struct Service {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
    /// The operation that has no answer any more.
    failing: Arc<Mutex<Option<&'static str>>>,
}

impl Service {
    /// Has these answers, and 500 to all else.
    pub async fn with(answers: &'static [Answer]) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let asks = Arc::clone(&asked);
        let failing = Arc::<Mutex<Option<&'static str>>>::default();
        let fails = Arc::clone(&failing);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let request = read_request(&mut stream).await;
                let target = request.split_once("x-amz-target: kinesis_20131202.");
                let operation = target.and_then(|(_, rest)| rest.lines().next()).unwrap_or("none");
                asks.lock().unwrap().push(operation.to_owned());
                let is_of = |words: &str| {
                    let (of, more) = words.split_once(' ').unwrap_or((words, ""));
                    of == operation && request.contains(more)
                };
                let has_answer = *fails.lock().unwrap() != Some(operation);
                let known = answers.iter().find(|(words, ..)| has_answer && is_of(words));
                let failure = ("", "500 Internal Server Error", FAILURE);
                let (_, status, body) = known.unwrap_or(&failure);
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n\
                     {body}"
                );
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Self { url, asked, failing }
    }

    /// Has 500 to this operation from now on.
    pub fn fail(&self, operation: &'static str) {
        *self.failing.lock().unwrap() = Some(operation);
    }

    /// The operations that were asked for since the last time.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
    pub fn polled(&self) -> KinesisSource {
        KinesisSource::builder(local::client_of(&self.url), "s").build()
    }
    fn pushed(&self) -> KinesisSource {
        let builder = KinesisSource::builder(local::client_of(&self.url), "s");
        builder.fan_out(FanOut::register("app")).build()
    }
}

fn is_told_at_once(error: Option<SourceError>) {
    assert!(error.as_ref().is_some_and(SourceError::is_transient), "{error:?}");
}

/// Until the body is there too: a connection closed before is another error, tried again by HTTP.
/// The request, in small letters.
pub async fn read_request(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    let mut bytes = vec![0; 16 << 10];
    loop {
        let count = stream.read(&mut bytes).await.unwrap_or(0);
        text.push_str(&String::from_utf8_lossy(&bytes[..count]).to_lowercase());
        let is_whole = text.split_once("\r\n\r\n").is_some_and(|(head, body)| {
            let length = head.split_once("content-length: ").and_then(|(_, at)| at.lines().next());
            body.len() >= length.and_then(|length| length.parse().ok()).unwrap_or(0)
        });
        if is_whole || count == 0 {
            return text;
        }
    }
}

#[tokio::test]
async fn a_failing_service_sees_each_request_once() {
    let service = Service::with(&[ITERATOR]).await;
    let (polled, pushed) = (service.polled(), service.pushed());
    for source in [&polled, &pushed] {
        is_told_at_once(source.describe().await.err());
        assert_eq!(service.asked(), ["describestreamsummary"]);
        is_told_at_once(source.list_shards().await.err());
        assert_eq!(service.asked(), ["listshards"]);
    }
    let mut reader = polled.open(&first_shard(), ReadFrom::TrimHorizon).await.unwrap();
    assert_eq!(service.asked(), ["getsharditerator"]);
    for _ in 0..2 {
        is_told_at_once(reader.next(LIMIT).await.err());
        assert_eq!(service.asked(), ["getrecords"]);
    }
    let sink = KinesisSink::new(&local::client_of(&service.url), "s");
    let lost = |error: Option<SinkError>| assert!(matches!(error, Some(SinkError::Unknown(_))));
    lost(sink.list_shards().await.err());
    assert_eq!(service.asked(), ["listshards"]);
    lost(sink.put_records(vec![record()]).await.err());
    assert_eq!(service.asked(), ["putrecords"]);
}

#[tokio::test]
async fn each_request_on_the_way_to_a_subscription_is_made_once_wherever_it_fails() {
    let mut asked = Vec::new();
    let failing_later: [&[Answer]; 4] =
        [&[], &[SUMMARY], &[SUMMARY, NO_CONSUMER], &[SUMMARY, CONSUMER]];
    for answers in failing_later {
        let service = Service::with(answers).await;
        let opened = service.pushed().open(&first_shard(), ReadFrom::TrimHorizon).await;
        is_told_at_once(opened.err());
        asked.push(service.asked().join(" "));
    }
    let expected = [
        "describestreamsummary",
        "describestreamsummary describestreamconsumer",
        "describestreamsummary describestreamconsumer registerstreamconsumer",
        "describestreamsummary describestreamconsumer subscribetoshard",
    ];
    assert_eq!(asked, expected);
}

#[tokio::test]
async fn a_consumer_that_is_registered_and_not_to_be_seen_is_asked_for_twice_a_second_at_most() {
    let service = Service::with(&[SUMMARY, NO_CONSUMER, REGISTERED]).await;
    let clock = Skipping::default();
    let builder = KinesisSource::builder(local::client_of(&service.url), "s");
    let builder = builder.clock(Arc::new(clock.clone())).fan_out(FanOut::register("app"));
    let begun = clock.monotonic();
    is_told_at_once(builder.build().describe().await.err());
    let (asked, seconds) = (service.asked().len() as u64, clock.monotonic().since(begun).as_secs());
    assert!(seconds > 30, "it gives up after {seconds} s");
    assert!(asked <= 4 + 2 * seconds, "{asked} requests in {seconds} s");
}

fn record() -> SinkRecord {
    let (partition_key, data) = ("key".into(), "x".into());
    SinkRecord { partition_key, explicit_hash_key: None, hash_key: 0, data }
}
