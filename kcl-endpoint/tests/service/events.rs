//! The events of a subscription, as a client reads them in either encoding.
//!
//! Endpoint and test share one thread: what a test reads was sent by a subscription that has stood
//! still since, so that the clock may be moved.

use std::time::Duration;

use ciborium::Value as Cbor;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::world::{SHARD, World};

/// What has not come within this does not come.
const LONG: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Json,
    Cbor,
}

/// The events of one subscription.
pub struct Events {
    stream: TcpStream,
    bytes: Vec<u8>,
    encoding: Encoding,
}

/// One event: its headers as text, and what it carries.
pub struct Event {
    pub headers: String,
    pub told: Value,
}

/// As JSON has it, with `{"bytes": ...}` for bytes and `{"tag": [number, value]}` for what is
/// tagged.
fn as_json(value: &Cbor) -> Value {
    match value {
        Cbor::Text(text) => json!(text),
        Cbor::Integer(number) => json!(i64::try_from(*number).unwrap()),
        Cbor::Bytes(bytes) => json!({"bytes": bytes}),
        Cbor::Tag(tag, value) => json!({"tag": [tag, as_json(value)]}),
        Cbor::Array(items) => items.iter().map(as_json).collect(),
        Cbor::Map(members) => {
            let members = members.iter();
            members.map(|(name, value)| (name.as_text().unwrap(), as_json(value))).collect()
        }
        Cbor::Null => Value::Null,
        other => panic!("{other:?} is in no event"),
    }
}

impl Encoding {
    fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/x-amz-json-1.1",
            Self::Cbor => "application/x-amz-cbor-1.1",
        }
    }
    fn write(self, request: &Value) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self {
            Self::Json => bytes = request.to_string().into_bytes(),
            Self::Cbor => ciborium::into_writer(request, &mut bytes).unwrap(),
        }
        bytes
    }
    fn read(self, bytes: &[u8]) -> Value {
        match self {
            Self::Json => serde_json::from_slice(bytes).unwrap(),
            Self::Cbor => {
                let mut left = bytes;
                let value = as_json(&ciborium::from_reader(&mut left).unwrap());
                assert!(left.is_empty(), "{} bytes behind the event", left.len());
                value
            }
        }
    }
}

impl Events {
    pub async fn open(world: &World, consumer: &str, position: Value) -> Self {
        Self::open_in(Encoding::Json, world, consumer, position).await
    }
    pub async fn open_in(
        encoding: Encoding,
        world: &World,
        consumer: &str,
        position: Value,
    ) -> Self {
        let body = json!({"ConsumerARN": consumer, "ShardId": SHARD, "StartingPosition": position});
        let body = encoding.write(&body);
        let head = format!(
            "POST / HTTP/1.1\r\nhost: here\r\nx-amz-target: Kinesis_20131202.SubscribeToShard\r\n\
             content-type: {}\r\ncontent-length: {}\r\n\r\n",
            encoding.content_type(),
            body.len()
        );
        let mut stream = world.connect().await;
        stream.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
        let mut events = Self { stream, bytes: Vec::new(), encoding };
        let head = events.until(b"\r\n\r\n").await.unwrap();
        let head = String::from_utf8(head).unwrap().to_lowercase();
        assert!(
            head.starts_with("http/1.1 200") && head.contains("application/vnd.amazon.eventstream")
        );
        let first = events.next().await.unwrap();
        assert!(first.headers.contains("initial-response"), "{}", first.headers);
        events
    }
    /// Reads more; false at the end.
    async fn fill(&mut self) -> bool {
        let read = timeout(LONG, self.stream.read_buf(&mut self.bytes)).await;
        read.expect("nothing comes, and no end").unwrap() > 0
    }
    async fn until(&mut self, mark: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.bytes.windows(mark.len()).position(|window| window == mark) {
                return Some(self.bytes.drain(..at + mark.len()).collect());
            }
            if !self.fill().await {
                return None;
            }
        }
    }
    /// The next event; none once the answer has ended.
    pub async fn next(&mut self) -> Option<Event> {
        let line = self.until(b"\r\n").await?;
        let length = usize::from_str_radix(std::str::from_utf8(&line).unwrap().trim(), 16).unwrap();
        while self.bytes.len() < length + 2 {
            assert!(self.fill().await, "half an event");
        }
        let frame: Vec<u8> = self.bytes.drain(..length + 2).take(length).collect();
        if frame.is_empty() {
            return None;
        }
        let number = |at: usize| u32::from_be_bytes(frame[at..at + 4].try_into().unwrap()) as usize;
        assert_eq!(number(0), frame.len());
        assert_eq!(number(frame.len() - 4), crc32fast::hash(&frame[..frame.len() - 4]) as usize);
        let headers = String::from_utf8_lossy(&frame[12..12 + number(4)]).into_owned();
        assert!(headers.contains(self.encoding.content_type()), "{headers}");
        let told = self.encoding.read(&frame[12 + number(4)..frame.len() - 4]);
        Some(Event { headers, told })
    }
    /// The next event, with records or without.
    pub async fn records(&mut self) -> Value {
        let event = self.next().await.unwrap();
        assert!(event.headers.contains("SubscribeToShardEvent"), "{}", event.headers);
        event.told
    }
}
