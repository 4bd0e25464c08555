//! A proxy that counts what passes, by operation.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use crate::proxy::{forward, read_whole};

/// Requests seen by a proxy, by operation.
pub type Seen = Arc<Mutex<BTreeMap<String, u64>>>;

/// Starts a proxy that counts; returns its URL.
pub async fn counting_proxy(upstream: &str, seen: Seen) -> String {
    let upstream = upstream.strip_prefix("http://").unwrap().to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            tokio::spawn(serve(connection, upstream.clone(), Arc::clone(&seen)));
        }
    });
    url
}

async fn serve(mut client: TcpStream, upstream: String, seen: Seen) {
    while let Some(request) = read_whole(&mut client).await {
        let text = String::from_utf8_lossy(&request);
        let target = text.lines().find_map(|line| line.strip_prefix("x-amz-target: "));
        let operation = target.and_then(|target| target.rsplit('.').next()).unwrap_or("none");
        *seen.lock().unwrap().entry(operation.to_owned()).or_default() += 1;
        let reply = forward(&upstream, &request).await;
        client.write_all(&reply).await.ok();
    }
}
