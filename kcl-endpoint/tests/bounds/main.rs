//! Clients that say nothing, too little, too slowly or too much, over real sockets and with short
//! times.

mod sizes;
mod times;

use std::time::Duration;

use kcl_endpoint::{Bounds, Endpoint, EndpointConfig};
use kcl_stream_local::Throughput;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const SHORT: Duration = Duration::from_millis(200);
/// What is not ended within this is not bounded.
const LONG: Duration = Duration::from_secs(20);
const PUT: &str = "X-Amz-Target: Kinesis_20131202.PutRecord\r\n\
                   Content-Type: application/x-amz-json-1.1\r\n";

async fn endpoint(bounds: Bounds) -> Endpoint {
    let streams = vec![("s".to_owned(), 1)];
    let throughput = Throughput::Unlimited;
    let config = EndpointConfig { streams, throughput, bounds, ..EndpointConfig::default() };
    Endpoint::start(config).await.unwrap()
}

async fn connect(endpoint: &Endpoint) -> TcpStream {
    TcpStream::connect(endpoint.url().replace("http://", "")).await.unwrap()
}

/// All that comes until the other side ends the connection.
async fn ends(stream: &mut TcpStream) -> Vec<u8> {
    let mut came = Vec::new();
    // A reset is an end too.
    let ended = timeout(LONG, stream.read_to_end(&mut came)).await;
    let _ = ended.expect("the connection is held for ever");
    came
}

async fn say(endpoint: &Endpoint, text: &str) -> (TcpStream, Vec<u8>) {
    let mut stream = connect(endpoint).await;
    stream.write_all(text.as_bytes()).await.unwrap();
    let came = ends(&mut stream).await;
    (stream, came)
}

fn list() -> String {
    "POST / HTTP/1.1\r\nHost: here\r\nX-Amz-Target: Kinesis_20131202.ListStreams\r\n\
     Content-Type: application/x-amz-json-1.1\r\nContent-Length: 2\r\n\r\n{}"
        .to_owned()
}

fn status(came: &[u8]) -> &str {
    std::str::from_utf8(came.get(9..12).unwrap_or_default()).unwrap()
}

/// Asks, and reads the answer's head; the connection goes on.
async fn ask(stream: &mut TcpStream) {
    stream.write_all(list().as_bytes()).await.unwrap();
    let mut came = vec![0; 8192];
    let count = timeout(LONG, stream.read(&mut came)).await.expect("no answer").unwrap();
    assert_eq!(status(&came[..count]), "200");
}
