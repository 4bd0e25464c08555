//! Retries in one layer: a call of the source is one request, and what fails is told at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kcl_core::{ReadFrom, SourceError, StreamSource};
use kcl_stream_kinesis::{FanOut, KinesisSource};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::local;
use crate::pushed::first_shard;

const ANSWER: &str = "HTTP/1.1 500 Internal Server Error\r\nConnection: close\r\n\
                      x-amzn-ErrorType: InternalFailureException\r\nContent-Length: 2\r\n\r\n{}";

/// Answers 500 to everything; how often.
async fn failing() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let requests = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            read_request(&mut stream).await;
            let _ = stream.write_all(ANSWER.as_bytes()).await;
        }
    });
    (url, requests)
}

/// Until the body is there too: a connection closed before is another error, tried again by HTTP.
pub async fn read_request(stream: &mut TcpStream) {
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
            return;
        }
    }
}

#[tokio::test]
async fn a_failing_service_sees_each_request_once() {
    let (url, requests) = failing().await;
    let polled = KinesisSource::builder(local::client_of(&url), "s").build();
    let pushed = KinesisSource::builder(local::client_of(&url), "s");
    let pushed = pushed.fan_out(FanOut::register("app")).build();
    for source in [&polled, &pushed] {
        let once = |asked: &str, error: Option<SourceError>| {
            assert!(error.as_ref().is_some_and(SourceError::is_transient), "{asked}: {error:?}");
            assert_eq!(requests.swap(0, Ordering::SeqCst), 1, "{asked}");
        };
        once("describe", source.describe().await.err());
        once("list", source.list_shards().await.err());
        once("open", source.open(&first_shard(), ReadFrom::TrimHorizon).await.err());
    }
}
