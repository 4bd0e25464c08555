//! How much: connections, requests, heads and bodies.

use std::time::Duration;

use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http2::handshake;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kcl_endpoint::{Bounds, Endpoint, EndpointConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::times::large_read;
use super::{LONG, PUT, SHORT, ask, connect, endpoint, list, say, status};

#[tokio::test]
async fn a_connection_beyond_the_most_waits_until_another_ends() {
    let endpoint = endpoint(Bounds { connections: 2, ..Bounds::default() }).await;
    let mut held = [connect(&endpoint).await, connect(&endpoint).await];
    for stream in &mut held {
        ask(stream).await;
    }
    let mut third = connect(&endpoint).await;
    third.write_all(list().as_bytes()).await.unwrap();
    let mut came = vec![0; 8192];
    let early = timeout(SHORT * 3, third.read(&mut came)).await;
    assert!(early.is_err(), "a third connection is served beside two");
    drop(held);
    let count = timeout(LONG, third.read(&mut came)).await.expect("the place does not come back");
    assert_eq!(status(&came[..count.unwrap()]), "200");
}

#[tokio::test]
async fn a_bound_of_nothing_is_refused_by_name() {
    let (all, zero) = (Bounds::default(), Duration::ZERO);
    for (name, bounds) in [
        ("handshake", Bounds { handshake: zero, ..all }),
        ("head", Bounds { head: zero, ..all }),
        ("body", Bounds { body: zero, ..all }),
        ("write", Bounds { write: zero, ..all }),
        ("idle", Bounds { idle: zero, ..all }),
        ("bodies_bytes", Bounds { bodies_bytes: 0, ..all }),
        ("answers_bytes", Bounds { answers_bytes: 0, ..all }),
        ("connections", Bounds { connections: 0, ..all }),
        ("requests", Bounds { requests: 0, ..all }),
    ] {
        let config = EndpointConfig { bounds, ..EndpointConfig::default() };
        let refused = Endpoint::start(config).await.err().map(|why| why.to_string());
        assert!(refused.is_some_and(|why| why.starts_with(&format!("bounds: {name} is 0"))));
    }
}

/// The settings with which the server begins a connection of HTTP/2.
async fn settings(endpoint: &Endpoint) -> Vec<(u16, u32)> {
    let mut stream = connect(endpoint).await;
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut head = [0; 9];
    let read = timeout(LONG, stream.read_exact(&mut head)).await.expect("no settings");
    read.unwrap();
    assert_eq!(head[3], 4, "no frame of settings but {head:?}");
    let mut body = vec![0; usize::from(head[2])];
    stream.read_exact(&mut body).await.unwrap();
    let number = |at: &[u8]| u32::from_be_bytes(at.try_into().unwrap());
    body.chunks(6).map(|one| (u16::from_be_bytes([one[0], one[1]]), number(&one[2..]))).collect()
}

#[tokio::test]
async fn an_http2_connection_has_so_many_requests_at_once_and_a_head_of_so_many_bytes() {
    // RFC 9113, section 6.5.2.
    let (concurrent, head_bytes) = (3, 6);
    let told = settings(&endpoint(Bounds { requests: 2, ..Bounds::default() }).await).await;
    assert!(told.contains(&(concurrent, 2)) && told.contains(&(head_bytes, 32 << 10)), "{told:?}");
    let told = settings(&endpoint(Bounds::default()).await).await;
    assert!(told.contains(&(concurrent, 256)), "{told:?}");
}

#[tokio::test]
async fn an_http2_head_beyond_its_bytes_is_refused() {
    let endpoint = endpoint(Bounds::default()).await;
    let io = TokioIo::new(connect(&endpoint).await);
    let (mut client, connection) = handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let mut ask = |filling: usize| {
        let request = Request::post("http://here/")
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", "Kinesis_20131202.ListStreams")
            .header("x-filling", "x".repeat(filling))
            .body(Full::new(Bytes::from_static(b"{}")));
        client.send_request(request.unwrap())
    };
    assert_eq!(timeout(LONG, ask(30 << 10)).await.unwrap().unwrap().status(), 200);
    let refused = timeout(LONG, ask(33 << 10)).await.unwrap();
    assert!(refused.is_err() || refused.unwrap().status() == 431);
}

#[tokio::test]
async fn a_body_without_a_length_has_sixteen_mebibytes_too() {
    let endpoint = endpoint(Bounds::default()).await;
    let send = async |mebibytes: usize| {
        let (mut read, mut write) = connect(&endpoint).await.into_split();
        let head = "POST / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\
                    Transfer-Encoding: chunked\r\nContent-Type: application/x-amz-json-1.1\r\n\
                    X-Amz-Target: Kinesis_20131202.ListStreams\r\n\r\n2\r\n{}\r\n";
        let writing = tokio::spawn(async move {
            write.write_all(head.as_bytes()).await?;
            let chunk = format!("100000\r\n{}\r\n", " ".repeat(1 << 20));
            for _ in 0..mebibytes {
                write.write_all(chunk.as_bytes()).await?;
            }
            write.write_all(b"0\r\n\r\n").await?;
            std::io::Result::Ok(write)
        });
        let mut came = vec![0; 8192];
        let count = timeout(LONG, read.read(&mut came)).await.expect("no answer").unwrap();
        writing.abort();
        status(&came[..count]).to_owned()
    };
    assert_eq!(send(15).await, "200");
    assert_eq!(send(16).await, "413");
}

#[tokio::test]
async fn bodies_beyond_what_all_may_hold_are_refused_and_the_room_comes_back() {
    let endpoint = endpoint(Bounds { bodies_bytes: 1000, ..Bounds::default() }).await;
    let put = |length: usize| {
        let head = format!("POST / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n{PUT}");
        format!("{head}Content-Length: {length}\r\n\r\n")
    };
    let mut holding = connect(&endpoint).await;
    holding.write_all((put(901) + &" ".repeat(900)).as_bytes()).await.unwrap();
    let body = r#"{"StreamName":"s","PartitionKey":"k","Data":""}"#;
    let body = format!("{body:<200}");
    let busy = put(200) + &body;
    // The other one's bytes may still be under way.
    let refused = async {
        loop {
            let (_, came) = say(&endpoint, &busy).await;
            if status(&came) == "503" {
                return came;
            }
        }
    };
    let came = timeout(LONG, refused).await.expect("never refused");
    assert!(String::from_utf8_lossy(&came).contains("ServiceUnavailable"));
    let large = say(&endpoint, &(put(1001) + &" ".repeat(1001))).await;
    assert_eq!(status(&large.1), "503", "alone it is too much");
    drop(holding);
    let taken = async {
        loop {
            let (_, came) = say(&endpoint, &busy).await;
            if status(&came) == "200" {
                return;
            }
        }
    };
    timeout(LONG, taken).await.expect("the room does not come back");
}

/// A listing in a body of so many bytes.
fn padded(length: usize) -> String {
    list().replace("Content-Length: 2", &format!("Content-Length: {length}"))
        + &" ".repeat(length - 2)
}

#[test]
fn a_put_that_waits_for_the_disk_counts_also_when_its_client_has_gone() {
    // Puts that are kept wait for a thread; this one is taken.
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).max_blocking_threads(1).enable_all().build().unwrap();
    let (release, wait) = std::sync::mpsc::channel::<()>();
    runtime.block_on(async move {
        let folder = tempfile::tempdir().unwrap();
        let bounds = Bounds { bodies_bytes: 1000, connections: 2, ..Bounds::default() };
        let data = Some(folder.path().to_owned());
        let config = EndpointConfig { bounds, data, ..EndpointConfig::default() };
        let endpoint = Endpoint::start(config).await.unwrap();
        let taken = tokio::task::spawn_blocking(move || wait.recv());
        let mut putting = connect(&endpoint).await;
        let head = format!("POST / HTTP/1.1\r\nHost: here\r\n{PUT}Content-Length: 900\r\n\r\n");
        putting.write_all((head + &" ".repeat(900)).as_bytes()).await.unwrap();
        let mut beside = connect(&endpoint).await;
        let mut came = vec![0; 8192];
        let taken_in = async {
            loop {
                beside.write_all(padded(200).as_bytes()).await.unwrap();
                let count = beside.read(&mut came).await.unwrap();
                if status(&came[..count]) == "503" {
                    return;
                }
            }
        };
        timeout(LONG, taken_in).await.expect("the put is not taken in");
        // There are two places: this one is served once the first has ended.
        drop(putting);
        let mut third = connect(&endpoint).await;
        third.write_all(padded(200).as_bytes()).await.unwrap();
        let count = timeout(LONG, third.read(&mut came)).await.expect("no answer").unwrap();
        assert_eq!(status(&came[..count]), "503", "bytes that wait for the disk do not count");
        release.send(()).unwrap();
        taken.await.unwrap().unwrap();
        drop((beside, third));
        let comes_back = async {
            loop {
                let mut stream = connect(&endpoint).await;
                stream.write_all(padded(200).as_bytes()).await.unwrap();
                let count = stream.read(&mut came).await.unwrap();
                if status(&came[..count]) == "200" {
                    return;
                }
            }
        };
        timeout(LONG, comes_back).await.expect("the room does not come back");
    });
}

#[tokio::test]
async fn answers_beyond_what_all_may_hold_are_refused_and_the_room_comes_back() {
    let endpoint = endpoint(Bounds { answers_bytes: 16 << 20, ..Bounds::default() }).await;
    let request = large_read(&endpoint).await;
    let read = async || {
        let mut stream = connect(&endpoint).await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut came = vec![0; 8192];
        let count = timeout(LONG, stream.read(&mut came)).await.expect("no answer").unwrap();
        (status(&came[..count]).to_owned(), stream)
    };
    // Of its 11 MB sockets take a few.
    let (told, held) = read().await;
    assert_eq!(told, "200");
    let (told, _) = read().await;
    assert_eq!(told, "503");
    ask(&mut connect(&endpoint).await).await;
    drop(held);
    let comes_back = async { while read().await.0 != "200" {} };
    timeout(LONG, comes_back).await.expect("the room does not come back");
}
