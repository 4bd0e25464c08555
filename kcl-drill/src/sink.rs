//! What the workers write to: it accepts an effect only from the highest fence it has seen, as a
//! database with a fencing column would. One JSON line a request, one word a reply.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::worker::unix_seconds;

/// One write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Effect {
    shard: String,
    fence: u64,
    ids: Vec<String>,
}

/// What came to the sink.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heard {
    pub accepted: Vec<Accepted>,
    /// How many were refused, for a later owner had written.
    pub stale_rejected: u64,
}

/// An effect that was accepted.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Accepted {
    /// Unix seconds.
    pub at: f64,
    pub shard: String,
    pub fence: u64,
}

#[derive(Debug, Default)]
struct Books {
    highest: BTreeMap<String, u64>,
    /// In the order in which they were accepted; whether the order of fences held is judged from
    /// this, not where it is decided.
    accepted: Vec<Accepted>,
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

    /// What came so far.
    pub fn heard(&self) -> Heard {
        let books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        Heard { accepted: books.accepted.clone(), stale_rejected: books.stale_rejected }
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
    let (shard, fence) = (effect.shard.clone(), effect.fence);
    books.accepted.push(Accepted { at: unix_seconds(), shard, fence });
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
        let heard = sink.heard();
        let accepted: Vec<_> =
            heard.accepted.iter().map(|effect| (effect.shard.as_str(), effect.fence)).collect();
        assert_eq!(accepted, [("s", 2), ("s", 2), ("t", 1)]);
        assert_eq!(heard.stale_rejected, 1);
    }
}
