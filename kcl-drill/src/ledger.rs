//! The producer: puts numbered records at a steady rate and remembers where each went.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, PutRecordsResultEntry};
use kcl_core::protocol::{Position, SequenceNumber};
use kcl_core::{Clock, SystemClock};
use tokio::task::JoinHandle;

use crate::limits::{PUT_EVERY, RATE_PER_SHARD};
use crate::worker::unix_seconds;

/// A record the stream has acknowledged.
#[derive(Clone, Debug)]
pub(crate) struct Put {
    pub shard: String,
    pub position: Position,
    /// Unix seconds.
    pub at: f64,
}

/// Everything put so far, by number.
pub(crate) type Puts = BTreeMap<u64, Put>;

/// What was put, and into which shards.
#[derive(Clone, Default)]
pub(crate) struct Ledger {
    puts: Arc<Mutex<Puts>>,
    shards: Arc<Mutex<BTreeSet<String>>>,
}

impl Ledger {
    pub fn puts(&self) -> MutexGuard<'_, Puts> {
        self.puts.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// The shards that have taken something.
    pub fn shards(&self) -> BTreeSet<String> {
        self.shards.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
    fn note(&self, number: u64, put: Put) {
        let mut shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        if !shards.contains(&put.shard) {
            shards.insert(put.shard.clone());
        }
        drop(shards);
        self.puts().insert(number, put);
    }
}

/// Puts records until told to stop.
pub(crate) struct Producer {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Result<(), String>>,
}

impl Producer {
    /// Starts putting so many records at a time as there are shards, 50 times a second.
    pub fn start(client: Client, stream: &str, shards: u32, ledger: Ledger) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let rows = Rows { client, stream: stream.to_owned(), shards, ledger };
        let task = tokio::spawn(rows.run(Arc::clone(&stop)));
        Self { stop, task }
    }

    /// Stops; everything put is in the ledger then.
    ///
    /// # Errors
    /// Why it stopped before.
    pub async fn stop(self) -> Result<(), String> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.map_err(|error| error.to_string())?
    }

    /// True once it could not go on.
    pub fn has_failed(&self) -> bool {
        self.task.is_finished()
    }
}

struct Rows {
    client: Client,
    stream: String,
    shards: u32,
    ledger: Ledger,
}

impl Rows {
    async fn run(self, stop: Arc<AtomicBool>) -> Result<(), String> {
        let started = SystemClock.monotonic();
        let each = f64::from(RATE_PER_SHARD) * PUT_EVERY.as_secs_f64();
        let count = (f64::from(self.shards) * each).round().max(1.0) as u32;
        let (mut next, mut step) = (0u64, 0u32);
        while !stop.load(Ordering::Relaxed) {
            let numbers = next..next + u64::from(count);
            next = numbers.end;
            self.put(numbers.collect()).await?;
            step += 1;
            SystemClock.sleep_until(started + PUT_EVERY * step).await;
        }
        Ok(())
    }

    /// Puts these numbers; what the stream refuses is put again, so that none is missing.
    async fn put(&self, mut numbers: Vec<u64>) -> Result<(), String> {
        for _ in 0..1000 {
            let request = self.client.put_records().stream_name(&self.stream);
            let entries = numbers.iter().map(|number| self.entry(*number)).collect::<Vec<_>>();
            let answer = request.set_records(Some(entries)).send().await;
            let answer = match answer {
                Ok(answer) => answer,
                Err(error) => return Err(format!("the producer failed: {error:?}")),
            };
            let refused = self.note(&numbers, answer.records());
            if refused.is_empty() {
                return Ok(());
            }
            numbers = refused;
            SystemClock.sleep(PUT_EVERY).await;
        }
        Err("the stream refuses the producer's records".to_owned())
    }

    /// Notes what the stream took; the numbers it did not take.
    fn note(&self, numbers: &[u64], results: &[PutRecordsResultEntry]) -> Vec<u64> {
        let at = unix_seconds();
        let mut refused = Vec::new();
        for (number, result) in numbers.iter().zip(results) {
            let sequence = result.sequence_number();
            let sequence = sequence.and_then(|text| text.parse::<SequenceNumber>().ok());
            match (result.shard_id(), sequence) {
                (Some(shard), Some(sequence)) => {
                    let position = Position::from(sequence);
                    self.ledger.note(*number, Put { shard: shard.to_owned(), position, at });
                }
                _ => refused.push(*number),
            }
        }
        refused
    }

    /// Spread evenly over the hash keys, whatever the shards are.
    fn entry(&self, number: u64) -> PutRecordsRequestEntry {
        let slot = u128::from(number % u64::from(self.shards));
        let width = u128::MAX / u128::from(self.shards);
        // Within its slot each row has a place of its own, so that splits share the load.
        let within = (width / 97) * u128::from(number / u64::from(self.shards) % 97);
        let hash = slot * width + within;
        let entry = PutRecordsRequestEntry::builder()
            .partition_key(format!("k{}", number % 1000))
            .explicit_hash_key(hash.to_string())
            .data(Blob::new(number.to_string()));
        // Every required member is there.
        entry.build().unwrap_or_else(|error| unreachable!("{error}"))
    }
}
