//! Puts the rows on the stream, at a pace.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kcl_core::protocol::ShardId;
use kcl_core::{Clock, SystemClock};
use kcl_producer::PutError;
use kcl_stream_local::{NewRecord, Producer};
use tokio::task::JoinSet;

use super::rows::{KeyedFlight, encode};

/// The pace is kept in steps of this.
const STEP: Duration = Duration::from_millis(20);
/// Slow means at least so many times slower,
const SLOWER: u64 = 20;
/// and never faster than what is left in so many seconds, so that the input does not run out.
const FADE_SECONDS: u64 = 20;
/// Puts under way at once.
const UNDER_WAY: usize = 4096;

/// How far the feed is; shared with whoever watches.
#[derive(Debug, Default)]
pub struct Progress {
    put: AtomicUsize,
    /// Rows up to here go at full pace, those beyond slowly.
    full_pace_to: AtomicUsize,
    /// Records of each shard since the start.
    records: Mutex<BTreeMap<ShardId, u64>>,
}

impl Progress {
    /// Rows in the stream.
    pub fn put(&self) -> usize {
        self.put.load(Ordering::Relaxed)
    }
    /// Lets the feed run at full pace up to this row.
    pub fn allow(&self, rows: usize) {
        self.full_pace_to.store(rows, Ordering::Relaxed);
    }
    /// Records of each shard since the start.
    pub fn records(&self) -> BTreeMap<ShardId, u64> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
    fn note(&self, shard: ShardId) {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        *records.entry(shard).or_default() += 1;
        drop(records);
        self.put.fetch_add(1, Ordering::Relaxed);
    }
}

/// A row the stream did not take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("row {row} of the file: {source}")]
pub struct FeedError {
    /// Which row, from 1.
    pub row: usize,
    /// Why.
    pub source: PutError,
}

/// What is due in one step, in thousandths of a row, so that slow rates come out even.
fn due(rate: u32, left: usize, is_slow: bool) -> u64 {
    let full = u64::from(rate) * STEP.as_millis() as u64;
    if !is_slow {
        return full;
    }
    let fading = left as u64 * STEP.as_millis() as u64 / FADE_SECONDS;
    (full / SLOWER).min(fading).max(1)
}

/// Puts every row, in order for each key; a throttled put is tried again by the producer.
///
/// # Errors
/// The first record the stream did not take.
pub async fn feed(
    rows: Arc<Vec<KeyedFlight>>,
    producer: Producer,
    rate: u32,
    progress: Arc<Progress>,
) -> Result<(), FeedError> {
    let mut deliveries = JoinSet::new();
    let mut next = 0;
    let started = SystemClock.monotonic();
    let mut owed = 0;
    let mut steps = 0u32;
    while next < rows.len() {
        let gate = progress.full_pace_to.load(Ordering::Relaxed).min(rows.len());
        let is_slow = next >= gate;
        owed += due(rate, rows.len() - next, is_slow);
        // A whole step at full pace does not run past the row from which the pace is slow.
        let end = if is_slow { rows.len() } else { gate };
        while owed >= 1000 && next < end {
            owed -= 1000;
            let row = &rows[next];
            let record = NewRecord::new(row.key.as_str(), encode(next, &row.flight));
            next += 1;
            let refused = move |source| FeedError { row: next, source };
            let delivery = producer.put_record(record).await;
            let delivery = delivery.map_err(|error| refused(error.into()))?;
            let progress = Arc::clone(&progress);
            deliveries.spawn(async move {
                let receipt = delivery.await.map_err(|error| refused(error.into()))?;
                progress.note(receipt.shard);
                Ok(())
            });
            while deliveries.len() >= UNDER_WAY {
                settle(deliveries.join_next().await)?;
            }
        }
        // What is left of the last step at full pace is not made up for at the slow one.
        owed %= 1000;
        steps += 1;
        SystemClock.sleep_until(started + STEP * steps).await;
    }
    while let Some(delivery) = deliveries.join_next().await {
        settle(Some(delivery))?;
    }
    Ok(())
}

type Settled = Result<Result<(), FeedError>, tokio::task::JoinError>;

fn settle(delivery: Option<Settled>) -> Result<(), FeedError> {
    match delivery {
        Some(Ok(result)) => result,
        // A delivery does not panic and is not aborted while the feed runs.
        Some(Err(_)) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flights::rows::Flight;
    use kcl_stream_local::{Engine, ProducerOptions, StreamOptions};

    #[test]
    fn the_pace_drops_at_the_gate_and_fades_towards_the_end() {
        assert_eq!(due(1800, 10_000, false), 36_000, "36 rows in 20 ms");
        assert_eq!(due(1800, 10_000, true), 1_800);
        assert_eq!(due(1_000_000, 10_000, true), 10_000, "not 50,000 rows/s: 500 rows/s");
        assert_eq!(due(1800, 100, true), 100, "5 rows/s");
        assert_eq!(due(1, 1, true), 1, "never nothing");
    }

    fn flights(keys: &[&str]) -> Arc<Vec<KeyedFlight>> {
        let flight = Flight { origin: "JFK".into(), carrier: "B6".into(), dep_delay: None };
        let row = |key: &&str| KeyedFlight { key: (*key).to_owned(), flight: flight.clone() };
        Arc::new(keys.iter().map(row).collect())
    }

    async fn feed_all(keys: &[&str]) -> (Result<(), FeedError>, Arc<Progress>) {
        let engine = Engine::new(Arc::new(SystemClock));
        let stream = engine.create_stream("flights", 1, StreamOptions::default()).unwrap();
        let progress = Arc::new(Progress::default());
        progress.allow(keys.len());
        let producer = stream.producer(ProducerOptions::default());
        let fed = feed(flights(keys), producer, 1_000_000, Arc::clone(&progress)).await;
        (fed, progress)
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap()
            .block_on(future)
    }

    #[test]
    fn what_was_put_is_noted_by_shard() {
        let (fed, progress) = block_on(feed_all(&["a", "b", "a"]));
        fed.unwrap();
        assert_eq!(progress.put(), 3);
        assert_eq!(progress.records().values().sum::<u64>(), 3);
    }

    #[test]
    fn a_refused_record_is_named_by_its_row() {
        let long = "k".repeat(300);
        let (fed, _) = block_on(feed_all(&["a", &long]));
        assert_eq!(fed.unwrap_err().row, 2);
    }
}
