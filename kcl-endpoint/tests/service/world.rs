//! An endpoint on a clock of its own, and a client that writes whatever a test wants.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kcl_core::Clock;
use kcl_core::protocol::Moment;
use kcl_endpoint::{Endpoint, EndpointConfig};
use kcl_stream_local::Throughput;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

/// Unix milliseconds at the beginning of a test.
pub const START: u64 = 1_700_000_000_000;
pub const HOUR: Duration = Duration::from_secs(3600);
pub const SHARD: &str = "shardId-000000000000";
const JSON: &str = "application/x-amz-json-1.1";

/// A clock that tests move.
pub struct Hand(watch::Sender<Duration>);

#[async_trait]
impl Clock for Hand {
    fn monotonic(&self) -> Moment {
        Moment(Duration::from_secs(1000) + *self.0.borrow())
    }
    fn wall_millis(&self) -> u64 {
        START + self.0.borrow().as_millis() as u64
    }
    async fn sleep_until(&self, moment: Moment) {
        let mut passed = self.0.subscribe();
        let is_there = |passed: &Duration| Moment(Duration::from_secs(1000) + *passed) >= moment;
        passed.wait_for(is_there).await.unwrap();
    }
}

pub struct World {
    pub endpoint: Endpoint,
    pub clock: Arc<Hand>,
}

/// An answer as it came.
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let find = |line: &'_ str| line.to_lowercase().starts_with(&format!("{name}:"));
        let line = self.head.lines().find(|line| find(line))?;
        Some(line.split_once(':')?.1.trim())
    }
    pub fn json(&self) -> Value {
        if self.body.is_empty() { json!({}) } else { serde_json::from_slice(&self.body).unwrap() }
    }
}

impl World {
    pub async fn with(change: impl FnOnce(&mut EndpointConfig)) -> Self {
        let clock = Arc::new(Hand(watch::Sender::new(Duration::ZERO)));
        let mut config = EndpointConfig {
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            throughput: Throughput::Unlimited,
            ..EndpointConfig::default()
        };
        change(&mut config);
        Self { endpoint: Endpoint::start(config).await.unwrap(), clock }
    }
    /// Without rates.
    pub async fn new() -> Self {
        Self::with(|_| ()).await
    }
    /// With the service's rates and quotas.
    pub async fn limited() -> Self {
        Self::with(|config| config.throughput = Throughput::Provisioned).await
    }
    /// Creating and changing a stream takes a second.
    pub async fn slow() -> Self {
        Self::with(|config| config.transition = Duration::from_secs(1)).await
    }
    pub async fn kept(folder: &Path) -> Self {
        let folder = folder.to_owned();
        Self::with(|config| config.data = Some(folder)).await
    }

    pub fn pass(&self, time: Duration) {
        self.clock.0.send_modify(|passed| *passed += time);
    }
    pub fn now_seconds(&self) -> f64 {
        self.clock.wall_millis() as f64 / 1000.0
    }
    pub async fn connect(&self) -> TcpStream {
        let url = self.endpoint.url();
        TcpStream::connect(url.strip_prefix("http://").unwrap()).await.unwrap()
    }

    /// Sends bytes, and returns the one answer to them.
    pub async fn send(&self, request: &[u8]) -> Answer {
        let mut stream = self.connect().await;
        stream.write_all(request).await.unwrap();
        let mut bytes = Vec::new();
        let head = loop {
            if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break String::from_utf8(bytes.drain(..at + 4).collect()).unwrap();
            }
            assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0, "no answer");
        };
        let status = head[9..12].parse().unwrap();
        let mut answer = Answer { status, head, body: Vec::new() };
        let length = answer.header("content-length").map(|length| length.parse().unwrap());
        while bytes.len() < length.unwrap_or(0) {
            assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0, "half an answer");
        }
        answer.body = bytes;
        answer
    }
    /// A request of this type.
    pub async fn raw(&self, operation: &str, content_type: &str, body: &[u8]) -> Answer {
        let head = format!(
            "POST / HTTP/1.1\r\nhost: here\r\nx-amz-target: Kinesis_20131202.{operation}\r\n\
             content-type: {content_type}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        self.send(&[head.as_bytes(), body].concat()).await
    }
    pub async fn call(&self, operation: &str, request: Value) -> Answer {
        self.raw(operation, JSON, request.to_string().as_bytes()).await
    }
    /// The answer of a request that succeeds.
    pub async fn ok(&self, operation: &str, request: Value) -> Value {
        let answer = self.call(operation, request).await;
        assert_eq!(answer.status, 200, "{operation}: {}", String::from_utf8_lossy(&answer.body));
        answer.json()
    }
    /// The message of a request that is refused so.
    pub async fn refused(&self, operation: &str, request: Value, error: &str) -> String {
        let answer = self.call(operation, request.clone()).await;
        let told = answer.json();
        assert_eq!(told["__type"], error, "{operation} {request}: {} {told}", answer.status);
        assert_eq!(answer.header("x-amzn-errortype"), Some(error));
        told["message"].as_str().unwrap().to_owned()
    }

    pub async fn stream(&self, name: &str, shards: u32) {
        self.ok("CreateStream", json!({"StreamName": name, "ShardCount": shards})).await;
    }
    pub async fn summary(&self, name: &str) -> Value {
        let told = self.ok("DescribeStreamSummary", json!({"StreamName": name})).await;
        told["StreamDescriptionSummary"].clone()
    }
    pub async fn status(&self, name: &str) -> String {
        self.summary(name).await["StreamStatus"].as_str().unwrap().to_owned()
    }
    /// The answer to a put of this key and text.
    pub async fn put(&self, stream: &str, key: &str, text: &str) -> Value {
        let put =
            json!({"StreamName": stream, "PartitionKey": key, "Data": base64(text.as_bytes())});
        self.ok("PutRecord", put).await
    }
    pub async fn iterator(&self, stream: &str, more: Value) -> String {
        let mut request = json!({"StreamName": stream, "ShardId": SHARD});
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let got = self.ok("GetShardIterator", request).await;
        got["ShardIterator"].as_str().unwrap().to_owned()
    }
    pub async fn whole_of(&self, stream: &str) -> String {
        self.iterator(stream, json!({"ShardIteratorType": "TRIM_HORIZON"})).await
    }
    pub async fn read(&self, iterator: &str) -> Value {
        self.ok("GetRecords", json!({"ShardIterator": iterator})).await
    }
    /// The keys that an iterator reads at once.
    pub async fn keys(&self, iterator: &str) -> Vec<String> {
        keys(&self.read(iterator).await)
    }
    pub async fn shards(&self, request: Value) -> Vec<String> {
        ids(&self.ok("ListShards", request).await)
    }
    pub async fn consumer(&self, stream: &str, name: &str) -> String {
        let request = json!({"StreamARN": arn(stream), "ConsumerName": name});
        let told = self.ok("RegisterStreamConsumer", request).await;
        told["Consumer"]["ConsumerARN"].as_str().unwrap().to_owned()
    }
}

pub fn arn(stream: &str) -> String {
    format!("arn:aws:kinesis:us-east-1:000000000000:stream/{stream}")
}

pub fn ids(listed: &Value) -> Vec<String> {
    let id = |shard: &Value| shard["ShardId"].as_str().unwrap().replace("shardId-00000000000", "");
    listed["Shards"].as_array().unwrap().iter().map(id).collect()
}

pub fn keys(got: &Value) -> Vec<String> {
    let key = |record: &Value| record["PartitionKey"].as_str().unwrap().to_owned();
    got["Records"].as_array().unwrap().iter().map(key).collect()
}

pub fn base64(data: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(data)
}
