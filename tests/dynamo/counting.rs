//! A proxy that counts what passes, by operation.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::proxy::{forward, operation, proxy};

/// Requests seen by a proxy, by operation.
pub type Seen = Arc<Mutex<BTreeMap<String, u64>>>;

/// Starts a proxy that counts; returns its URL.
pub async fn counting_proxy(upstream: &str, seen: Seen) -> String {
    let treat = move |upstream: String, request: Vec<u8>| {
        let seen = Arc::clone(&seen);
        async move {
            *seen.lock().unwrap().entry(operation(&request)).or_default() += 1;
            Some(forward(&upstream, &request).await)
        }
    };
    proxy(upstream, treat).await
}
