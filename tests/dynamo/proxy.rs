//! Proxies: one that treats each request as it is told, and one that drops, doubles and loses
//! requests, drawn from a seed.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::draw::Draw;

/// Starts a proxy of `upstream` (`http://host:port`); returns its URL. Each request is answered by
/// what `treat` makes of the upstream's address and the request; without an answer the connection
/// is closed. It lives as long as the runtime.
pub async fn proxy<F, A>(upstream: &str, treat: F) -> String
where
    F: Fn(String, Vec<u8>) -> A + Clone + Send + 'static,
    A: Future<Output = Option<Vec<u8>>> + Send,
{
    let upstream = upstream.strip_prefix("http://").unwrap().to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (upstream, treat) = (upstream.clone(), treat.clone());
            tokio::spawn(async move {
                while let Some(request) = read_whole(&mut client).await {
                    let Some(answer) = treat(upstream.clone(), request).await else { return };
                    client.write_all(&answer).await.ok();
                }
            });
        }
    });
    url
}

/// The operation a request asks for, as in `UpdateItem`.
pub fn operation(request: &[u8]) -> String {
    let text = String::from_utf8_lossy(request);
    let target = text.lines().find_map(|line| line.strip_prefix("x-amz-target: "));
    target.and_then(|target| target.rsplit('.').next()).unwrap_or("none").to_owned()
}

/// What became of the requests, counted.
#[derive(Debug, Default)]
pub struct Faults {
    /// Never forwarded; the connection was closed.
    pub dropped: AtomicU64,
    /// Forwarded; the reply was not.
    pub reply_lost: AtomicU64,
    /// Forwarded twice; the first reply was given.
    pub doubled: AtomicU64,
}

/// Starts a proxy of `upstream` (`http://host:port`); returns its URL. It lives as long as the
/// runtime.
pub async fn start(upstream: &str, seed: u64, faults: Arc<Faults>) -> String {
    let upstream = upstream.strip_prefix("http://").unwrap().to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut draw = Draw(seed);
        while let Ok((connection, _)) = listener.accept().await {
            let draw = Draw(seed ^ draw.below(u64::MAX >> 11).wrapping_add(1));
            tokio::spawn(serve(connection, upstream.clone(), draw, Arc::clone(&faults)));
        }
    });
    url
}

async fn serve(mut client: TcpStream, upstream: String, mut draw: Draw, faults: Arc<Faults>) {
    while let Some(request) = read_whole(&mut client).await {
        match draw.below(10) {
            0 => {
                faults.dropped.fetch_add(1, Ordering::Relaxed);
                return;
            }
            1 => {
                faults.reply_lost.fetch_add(1, Ordering::Relaxed);
                forward(&upstream, &request).await;
                return;
            }
            2 => {
                faults.doubled.fetch_add(1, Ordering::Relaxed);
                let reply = forward(&upstream, &request).await;
                forward(&upstream, &request).await;
                client.write_all(&reply).await.ok();
            }
            _ => {
                let reply = forward(&upstream, &request).await;
                client.write_all(&reply).await.ok();
            }
        }
    }
}

/// Sends a request on, on a connection of its own; the reply.
pub async fn forward(upstream: &str, request: &[u8]) -> Vec<u8> {
    let mut connection = TcpStream::connect(upstream).await.unwrap();
    connection.write_all(request).await.unwrap();
    read_whole(&mut connection).await.unwrap()
}

/// One request or reply, head and body; `None` at the end of the connection.
pub async fn read_whole(connection: &mut TcpStream) -> Option<Vec<u8>> {
    let mut whole = Vec::new();
    while !whole.ends_with(b"\r\n\r\n") {
        whole.push(connection.read_u8().await.ok()?);
    }
    let head = String::from_utf8(whole.clone()).unwrap().to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
    let start = whole.len();
    whole.resize(start + length, 0);
    connection.read_exact(&mut whole[start..]).await.ok()?;
    Some(whole)
}
