//! How long: heads, bodies, answers, and nothing at all.

use std::time::Duration;

use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http2::handshake;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kcl_endpoint::{AccessKeys, Bounds, Endpoint, EndpointConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::{LONG, PUT, SHORT, ask, connect, endpoint, ends, list, say, status};

#[tokio::test]
async fn a_client_that_does_not_finish_its_first_head_is_cut_off() {
    let endpoint = endpoint(Bounds { head: SHORT, ..Bounds::default() }).await;
    // Nothing; less than tells the version; the beginning of either version.
    for text in ["", "P", "PRI * HTTP/2.0\r\n", "POST / HTTP/1.1\r\nHost: here\r\n"] {
        let (_, came) = say(&endpoint, text).await;
        assert_ne!(status(&came), "200", "{text:?}");
    }
}

#[tokio::test]
async fn a_head_that_comes_a_byte_at_a_time_is_cut_off() {
    let endpoint = endpoint(Bounds { head: SHORT, ..Bounds::default() }).await;
    is_cut_off_in_a_trickle(connect(&endpoint).await).await;
}

/// Sends a request a byte at a time; no answer comes before the connection ends.
async fn is_cut_off_in_a_trickle(stream: TcpStream) {
    let (mut read, mut write) = stream.into_split();
    let trickle = tokio::spawn(async move {
        for byte in list().into_bytes() {
            if write.write_all(&[byte]).await.is_err() {
                return;
            }
            sleep(SHORT / 4).await;
        }
    });
    let mut came = Vec::new();
    let _ = timeout(LONG, read.read_to_end(&mut came)).await.expect("held for ever");
    assert_ne!(status(&came), "200");
    trickle.abort();
}

#[tokio::test]
async fn a_connection_without_requests_is_ended_and_one_with_them_is_not() {
    let bounds = Bounds { head: SHORT * 2, idle: SHORT * 2, ..Bounds::default() };
    let endpoint = endpoint(bounds).await;
    let mut stream = connect(&endpoint).await;
    let mut answers = 0;
    for _ in 0..6 {
        stream.write_all(list().as_bytes()).await.unwrap();
        let mut came = vec![0; 8192];
        let count = timeout(LONG, stream.read(&mut came)).await.unwrap().unwrap();
        assert_eq!(status(&came[..count]), "200");
        answers += 1;
        sleep(SHORT / 2).await;
    }
    assert_eq!(answers, 6, "together longer than a connection may be idle");
    ends(&mut stream).await;
}

#[tokio::test]
async fn a_later_head_that_comes_a_byte_at_a_time_is_cut_off_too() {
    let endpoint = endpoint(Bounds { head: SHORT, ..Bounds::default() }).await;
    let mut stream = connect(&endpoint).await;
    ask(&mut stream).await;
    is_cut_off_in_a_trickle(stream).await;
}

#[tokio::test]
async fn between_requests_a_connection_may_be_idle_for_longer_than_a_head_takes() {
    let bounds = Bounds { head: SHORT, idle: LONG, ..Bounds::default() };
    let endpoint = endpoint(bounds).await;
    let mut stream = connect(&endpoint).await;
    ask(&mut stream).await;
    sleep(SHORT * 3).await;
    ask(&mut stream).await;
}

#[tokio::test]
async fn a_body_that_does_not_come_is_refused_in_time() {
    let endpoint = endpoint(Bounds { body: SHORT, ..Bounds::default() }).await;
    let head = format!("POST / HTTP/1.1\r\nHost: here\r\n{PUT}Content-Length: 100\r\n\r\n{{");
    let (_, came) = say(&endpoint, &head).await;
    assert_eq!(status(&came), "408", "{}", String::from_utf8_lossy(&came));
}

/// Puts 8 MB into the stream, and makes a request that reads them.
pub(super) async fn large_read(endpoint: &Endpoint) -> String {
    let body = |operation: &str, body: String| {
        format!(
            "POST / HTTP/1.1\r\nHost: here\r\nX-Amz-Target: Kinesis_20131202.{operation}\r\n\
             Content-Type: application/x-amz-json-1.1\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let data = "AAAA".repeat(250_000);
    let record = format!(r#"{{"PartitionKey":"k","Data":"{data}"}}"#);
    let records = vec![record; 11].join(",");
    let put = body("PutRecords", format!(r#"{{"StreamName":"s","Records":[{records}]}}"#));
    let close = |text: String| text.replace("Host: here", "Host: here\r\nConnection: close");
    let (_, came) = say(endpoint, &close(put)).await;
    assert_eq!(status(&came), "200");
    let place = r#"{"StreamName":"s","ShardId":"shardId-000000000000",
                    "ShardIteratorType":"TRIM_HORIZON"}"#;
    let (_, came) = say(endpoint, &close(body("GetShardIterator", place.to_owned()))).await;
    let came = String::from_utf8(came).unwrap();
    let (_, place) = came.split_once("\r\n\r\n").unwrap();
    body("GetRecords", place.to_owned())
}

#[tokio::test]
async fn an_answer_that_nobody_takes_is_given_up_and_a_slow_one_is_not() {
    let endpoint = endpoint(Bounds { write: SHORT * 2, ..Bounds::default() }).await;
    let request = large_read(&endpoint).await;
    let length = |came: &[u8]| {
        let head = String::from_utf8_lossy(&came[..came.len().min(1000)]).to_lowercase();
        let (_, rest) = head.split_once("content-length: ").unwrap();
        let (head, _) = head.split_once("\r\n\r\n").unwrap();
        head.len() + 4 + rest.split("\r\n").next().unwrap().parse::<usize>().unwrap()
    };
    let mut stream = connect(&endpoint).await;
    stream.write_all(request.as_bytes()).await.unwrap();
    sleep(SHORT * 6).await;
    let came = ends(&mut stream).await;
    assert!(came.len() < length(&came), "all {} bytes of it came", came.len());

    let mut stream = connect(&endpoint).await;
    stream.write_all(request.as_bytes()).await.unwrap();
    let (mut came, mut turn) = (Vec::new(), vec![0; 1 << 20]);
    while came.is_empty() || came.len() < length(&came) {
        let count = timeout(LONG, stream.read(&mut turn)).await.unwrap().unwrap();
        assert_ne!(count, 0, "cut off after {} bytes", came.len());
        came.extend_from_slice(&turn[..count]);
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn an_http2_connection_that_asks_nothing_or_takes_nothing_is_ended() {
    let short = Bounds { head: SHORT, write: SHORT, ..Bounds::default() };
    let endpoint = endpoint(short).await;
    let request = large_read(&endpoint).await;
    let io = TokioIo::new(connect(&endpoint).await);
    // This client answers pings by itself.
    let (silent, connection) =
        handshake::<_, _, Full<Bytes>>(TokioExecutor::new(), io).await.unwrap();
    let _ = timeout(LONG, connection).await.expect("a silent connection is held for ever");
    drop(silent);

    let io = TokioIo::new(connect(&endpoint).await);
    let (mut client, connection) = handshake(TokioExecutor::new(), io).await.unwrap();
    let connection = tokio::spawn(connection);
    let (_, body) = request.split_once("\r\n\r\n").unwrap();
    let get: Request<Full<Bytes>> = Request::post("http://here/")
        .header("content-type", "application/x-amz-json-1.1")
        .header("x-amz-target", "Kinesis_20131202.GetRecords")
        .body(Full::from(body.to_owned()))
        .unwrap();
    let answer = client.send_request(get).await.unwrap();
    assert_eq!(answer.status(), 200);
    let _ = timeout(LONG, connection).await.expect("an answer nobody takes is held for ever");
    drop(answer);
}

#[tokio::test]
async fn without_a_known_key_no_body_is_waited_for() {
    let keys = "[[key]]\nid = \"AK\"\nsecret = \"0123456789abcdef\"";
    let auth = Some(AccessKeys::from_toml(keys).unwrap());
    let endpoint = Endpoint::start(EndpointConfig { auth, ..EndpointConfig::default() });
    let endpoint = endpoint.await.unwrap();
    let signed = |key: &str, date: &str| {
        format!(
            "Authorization: AWS4-HMAC-SHA256 Credential={key}/{}/us-east-1/kinesis/aws4_request, \
             SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature={}\r\n\
             X-Amz-Date: {date}\r\n",
            &date[..8],
            "0".repeat(64)
        )
    };
    for (head, error) in [
        (String::new(), "MissingAuthenticationTokenException"),
        (signed("NOBODY", "20260102T030405Z"), "UnrecognizedClientException"),
        (signed("AK", "20200102T030405Z"), "InvalidSignatureException"),
    ] {
        // The body never comes; the default time for one is longer than this test waits.
        let text = format!(
            "POST / HTTP/1.1\r\nHost: here\r\n{head}{PUT}Content-Length: 1000000\r\n\r\n{{"
        );
        let mut stream = connect(&endpoint).await;
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut came = vec![0; 8192];
        let count = timeout(LONG, stream.read(&mut came)).await.expect("waits for the body");
        let came = String::from_utf8_lossy(&came[..count.unwrap()]).into_owned();
        assert!(came.contains(error), "{came}");
    }
}
