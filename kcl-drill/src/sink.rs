//! What the workers write to: it accepts an effect only from the highest fence it has seen, as a
//! database with a fencing column would. One JSON line a request, one word a reply.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// One write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Effect {
    shard: String,
    fence: u64,
    ids: Vec<String>,
}

/// What came to the sink.
#[derive(Clone, Debug, Default)]
pub(crate) struct SinkCounts {
    pub accepted: u64,
    /// Refused, for a later owner had written.
    pub stale_rejected: u64,
    /// Accepted although a later owner had written: must never be. Counted from the log of what
    /// was accepted, not where it is decided.
    pub stale_accepted: u64,
}

#[derive(Debug, Default)]
struct Books {
    highest: BTreeMap<String, u64>,
    /// Fences accepted, of each shard, in order.
    accepted: BTreeMap<String, Vec<u64>>,
    stale_rejected: u64,
}

/// The sink's server; it lives as long as the runtime.
#[derive(Clone)]
pub(crate) struct Sink {
    pub address: SocketAddr,
    books: Arc<Mutex<Books>>,
}

impl Sink {
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let books = Arc::<Mutex<Books>>::default();
        let shared = Arc::clone(&books);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Ok(Self { address, books })
    }

    pub fn counts(&self) -> SinkCounts {
        let books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        let falls = |fences: &Vec<u64>| {
            let mut top = 0;
            let stale = fences.iter().filter(|fence| {
                let is_stale = **fence < top;
                top = top.max(**fence);
                is_stale
            });
            stale.count() as u64
        };
        SinkCounts {
            accepted: books.accepted.values().map(|fences| fences.len() as u64).sum(),
            stale_rejected: books.stale_rejected,
            stale_accepted: books.accepted.values().map(falls).sum(),
        }
    }
}

async fn serve(stream: TcpStream, books: Arc<Mutex<Books>>) {
    let (input, mut output) = stream.into_split();
    let mut lines = BufReader::new(input).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let reply = match serde_json::from_str::<Effect>(&line) {
            Ok(effect) => accept(&books, &effect),
            Err(_) => "bad\n",
        };
        if output.write_all(reply.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn accept(books: &Mutex<Books>, effect: &Effect) -> &'static str {
    let mut books = books.lock().unwrap_or_else(PoisonError::into_inner);
    let books = &mut *books;
    let highest = books.highest.entry(effect.shard.clone()).or_default();
    if effect.fence < *highest {
        books.stale_rejected += 1;
        return "stale\n";
    }
    *highest = effect.fence;
    books.accepted.entry(effect.shard.clone()).or_default().push(effect.fence);
    "ok\n"
}

/// A worker's connections to the sink, one a shard at a time.
pub(crate) struct SinkClient {
    address: String,
    spare: tokio::sync::Mutex<Vec<BufReader<TcpStream>>>,
}

impl SinkClient {
    pub fn new(address: &str) -> Self {
        Self { address: address.to_owned(), spare: tokio::sync::Mutex::default() }
    }

    /// Writes the effect of a batch.
    ///
    /// # Errors
    /// A later owner has written, or the sink is gone.
    pub async fn put(&self, shard: &str, fence: u64, ids: &[String]) -> Result<(), String> {
        let effect = Effect { shard: shard.to_owned(), fence, ids: ids.to_vec() };
        let mut line = serde_json::to_string(&effect).map_err(|error| error.to_string())?;
        line.push('\n');
        let spare = self.spare.lock().await.pop();
        let mut stream = match spare {
            Some(stream) => stream,
            None => {
                let connected = TcpStream::connect(&self.address).await;
                BufReader::new(connected.map_err(|error| format!("the sink is gone: {error}"))?)
            }
        };
        stream.write_all(line.as_bytes()).await.map_err(|error| error.to_string())?;
        let mut reply = String::new();
        stream.read_line(&mut reply).await.map_err(|error| error.to_string())?;
        self.spare.lock().await.push(stream);
        match reply.trim_end() {
            "ok" => Ok(()),
            reply => Err(format!("the sink refused fence {fence} of {shard}: {reply:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_lower_fence_is_rejected_and_an_equal_one_is_not() {
        let sink = Sink::start().await.unwrap();
        let client = SinkClient::new(&sink.address.to_string());
        let ids = ["1".to_owned()];
        assert!(client.put("s", 2, &ids).await.is_ok());
        assert!(client.put("s", 2, &ids).await.is_ok());
        assert!(client.put("s", 1, &ids).await.unwrap_err().contains("stale"));
        assert!(client.put("t", 1, &ids).await.is_ok());
        let counts = sink.counts();
        assert_eq!((counts.accepted, counts.stale_rejected, counts.stale_accepted), (3, 1, 0));
    }
}
