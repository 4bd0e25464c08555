//! One port, both versions of HTTP: a subscription over cleartext HTTP/2, as the Java SDK opens it.

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kcl_endpoint::{Endpoint, EndpointConfig};
use tokio::net::TcpStream;

type Client = SendRequest<Full<Bytes>>;

async fn connect(endpoint: &Endpoint) -> Client {
    let stream = TcpStream::connect(endpoint.url().replace("http://", "")).await.unwrap();
    let (client, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn call(client: &mut Client, operation: &str, body: String) -> Response<Incoming> {
    let request = Request::post("http://anything.example/")
        .header("content-type", "application/x-amz-json-1.1")
        .header("x-amz-target", format!("Kinesis_20131202.{operation}"))
        .body(Full::from(body));
    client.send_request(request.unwrap()).await.unwrap()
}

async fn text(response: Response<Incoming>) -> String {
    assert_eq!(response.status(), StatusCode::OK);
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn a_subscription_and_other_calls_share_one_http2_connection() {
    let streams = vec![("s".to_owned(), 1)];
    let endpoint = Endpoint::start(EndpointConfig { streams, ..EndpointConfig::default() });
    let endpoint = endpoint.await.unwrap();
    let mut client = connect(&endpoint).await;
    let arn = "arn:aws:kinesis:us-east-1:000000000000:stream/s";
    let body = format!(r#"{{"StreamARN":"{arn}","ConsumerName":"c"}}"#);
    let registered = text(call(&mut client, "RegisterStreamConsumer", body).await).await;
    let registered: serde_json::Value = serde_json::from_str(&registered).unwrap();
    let consumer = registered["Consumer"]["ConsumerARN"].as_str().unwrap();
    let body = format!(
        r#"{{"ConsumerARN":"{consumer}","ShardId":"shardId-000000000000",
            "StartingPosition":{{"Type":"LATEST"}}}}"#
    );
    let mut events = call(&mut client, "SubscribeToShard", body).await;
    let content_type = events.headers()["content-type"].to_str().unwrap();
    assert_eq!(content_type, "application/vnd.amazon.eventstream");
    let first = events.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(first.windows(16).any(|window| window == b"initial-response"), "{first:?}");
    // The subscription stays open beside this.
    let put = r#"{"StreamName":"s","PartitionKey":"a-key","Data":"AA=="}"#.to_owned();
    text(call(&mut client, "PutRecord", put).await).await;
    let event = events.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(event.windows(5).any(|window| window == b"a-key"), "{event:?}");
}
