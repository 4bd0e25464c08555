//! What no client sends: pages of browsers, garbage, requests that are too large.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::local;

/// Sends bytes, and returns everything that comes back until the other side closes.
async fn send(url: &str, request: &[u8]) -> String {
    let address = url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

fn post(headers: &str, body: &str) -> Vec<u8> {
    format!(
        "POST / HTTP/1.1\r\nHost: anything.example\r\nConnection: close\r\n{headers}\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

const JSON: &str = "Content-Type: application/x-amz-json-1.1\r\n";

#[tokio::test]
async fn any_host_is_served_and_every_answer_has_a_date_and_an_id() {
    let endpoint = local::endpoint(1).await;
    let headers = format!("{JSON}X-Amz-Target: Kinesis_20131202.ListStreams\r\n");
    let answer = send(&endpoint.url(), &post(&headers, "{}")).await.to_lowercase();
    assert!(answer.starts_with("http/1.1 200"), "{answer}");
    assert!(answer.contains("x-amzn-requestid: ") && answer.contains("\r\ndate: "), "{answer}");
}

#[tokio::test]
async fn pages_of_browsers_unknown_operations_and_garbage_are_refused() {
    let endpoint = local::endpoint(1).await;
    let target = "X-Amz-Target: Kinesis_20131202.ListStreams\r\n";
    for (request, expected) in [
        (post(&format!("{JSON}{target}Origin: http://evil.example\r\n"), "{}"), "AccessDenied"),
        (post(&format!("{JSON}{target}Sec-Fetch-Site: same-site\r\n"), "{}"), "AccessDenied"),
        (post(&format!("{JSON}X-Amz-Target: Kinesis_20131202.Nope\r\n"), "{}"), "UnknownOp"),
        (post(&format!("Content-Type: text/html\r\n{target}"), "{}"), "UnknownOp"),
        (post(&format!("{JSON}{target}"), "{\"Limit\": \"x\""), "SerializationException"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".to_vec(), "UnknownOp"),
    ] {
        let answer = send(&endpoint.url(), &request).await;
        assert!(answer.contains(expected), "{expected}: {answer}");
        assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    // No HTTP at all: closed, and the next request is served.
    send(&endpoint.url(), b"\x00\x01garbage\r\n\r\n").await;
    let answer = send(&endpoint.url(), &post(&format!("{JSON}{target}"), "{}")).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let endpoint = local::endpoint(1).await;
    let headers = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{JSON}\
         X-Amz-Target: Kinesis_20131202.PutRecord\r\nContent-Length: {}\r\n\r\n",
        64 << 20
    );
    let answer = send(&endpoint.url(), headers.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}
