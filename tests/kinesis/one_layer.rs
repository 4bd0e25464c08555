//! Retries in one layer: a call of the source is one request, and what fails is told at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kcl_core::{ReadFrom, SourceError, StreamSource};
use kcl_producer::{KinesisSink, PutSink, SinkError, SinkRecord};
use kcl_stream_kinesis::{FanOut, KinesisSource};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::local;
use crate::pushed::{LIMIT, first_shard};

const FAILURE: &str = "HTTP/1.1 500 Internal Server Error\r\nConnection: close\r\n\
                      x-amzn-ErrorType: InternalFailureException\r\nContent-Length: 2\r\n\r\n{}";

const ITERATOR: &str = "{\"ShardIterator\": \"somewhere\"}";

/// Answers 500 to everything but requests for an iterator; how often.
async fn failing() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let requests = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            let answer = match read_request(&mut stream).await.contains("getsharditerator") {
                true => format!(
                    "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{ITERATOR}",
                    ITERATOR.len()
                ),
                false => FAILURE.to_owned(),
            };
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (url, requests)
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
    let (url, requests) = failing().await;
    let polled = KinesisSource::builder(local::client_of(&url), "s").build();
    let pushed = KinesisSource::builder(local::client_of(&url), "s");
    let pushed = pushed.fan_out(FanOut::register("app")).build();
    let counted = |asked: &str, count: usize| {
        assert_eq!(requests.swap(0, Ordering::SeqCst), count, "{asked}");
    };
    let once = |asked: &str, error: Option<SourceError>| {
        assert!(error.as_ref().is_some_and(SourceError::is_transient), "{asked}: {error:?}");
        counted(asked, 1);
    };
    for source in [&polled, &pushed] {
        once("describe", source.describe().await.err());
        once("list", source.list_shards().await.err());
    }
    once("subscribe", pushed.open(&first_shard(), ReadFrom::TrimHorizon).await.err());
    let mut reader = polled.open(&first_shard(), ReadFrom::TrimHorizon).await.unwrap();
    counted("iterator", 1);
    for _ in 0..2 {
        once("read", reader.next(LIMIT).await.err());
    }
    let sink = KinesisSink::new(&local::client_of(&url), "s");
    let lost = |error: Option<SinkError>| assert!(matches!(error, Some(SinkError::Unknown(_))));
    lost(sink.list_shards().await.err());
    counted("listing by a producer", 1);
    lost(sink.put_records(vec![record()]).await.err());
    counted("put", 1);
}

fn record() -> SinkRecord {
    let (partition_key, data) = ("key".into(), "x".into());
    SinkRecord { partition_key, explicit_hash_key: None, hash_key: 0, data }
}
