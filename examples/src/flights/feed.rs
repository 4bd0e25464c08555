//! Puts the rows on the stream, at a pace.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kcl_core::protocol::ShardId;
use kcl_core::{Clock, SystemClock};
use kcl_stream_local::{EngineError, NewRecord, Producer};
use tokio::task::JoinSet;

use super::rows::{KeyedFlight, encode};

/// The pace is kept in steps of this.
const STEP: Duration = Duration::from_millis(20);
/// Slow means so many times slower.
const SLOWER: u64 = 20;
/// Puts under way at once.
const UNDER_WAY: usize = 4096;

/// How far the feed is; shared with whoever watches.
#[derive(Debug, Default)]
pub struct Progress {
    put: AtomicUsize,
    /// Rows up to here go at full pace, those beyond slowly.
    full_pace_to: AtomicUsize,
    loads: Mutex<Loads>,
    /// Records of each shard since the start.
    records: Mutex<BTreeMap<ShardId, u64>>,
}

/// What went where.
#[derive(Clone, Debug, Default)]
pub struct Loads {
    /// Bytes and records of each shard and key.
    pub by_shard: BTreeMap<ShardId, BTreeMap<String, (u64, u64)>>,
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
    /// What went where since this was last asked.
    pub fn take_loads(&self) -> Loads {
        std::mem::take(&mut self.loads.lock().unwrap_or_else(PoisonError::into_inner))
    }
    /// Records of each shard since the start.
    pub fn records(&self) -> BTreeMap<ShardId, u64> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
    fn note(&self, shard: ShardId, key: &str, bytes: u64) {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        *records.entry(shard.clone()).or_default() += 1;
        drop(records);
        let mut loads = self.loads.lock().unwrap_or_else(PoisonError::into_inner);
        let load = loads.by_shard.entry(shard).or_default().entry(key.to_owned()).or_default();
        *load = (load.0 + bytes, load.1 + 1);
        self.put.fetch_add(1, Ordering::Relaxed);
    }
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
) -> Result<(), EngineError> {
    let mut deliveries = JoinSet::new();
    let mut next = 0;
    let started = SystemClock.monotonic();
    // Thousandths of a row, so that slow rates come out even.
    let mut owed = 0;
    let mut steps = 0u32;
    while next < rows.len() {
        let pace = u64::from(rate) * STEP.as_millis() as u64;
        let slow = next >= progress.full_pace_to.load(Ordering::Relaxed);
        owed += if slow { pace / SLOWER } else { pace };
        while owed >= 1000 && next < rows.len() {
            owed -= 1000;
            let row = &rows[next];
            let record = NewRecord::new(row.key.as_str(), encode(next, &row.flight));
            let bytes = record.size_bytes() as u64;
            let delivery = producer.send(record).await?;
            let (key, progress) = (row.key.clone(), Arc::clone(&progress));
            deliveries.spawn(async move {
                delivery.await.map(|receipt| progress.note(receipt.shard.id(), &key, bytes))
            });
            next += 1;
            while deliveries.len() >= UNDER_WAY {
                settle(deliveries.join_next().await)?;
            }
        }
        steps += 1;
        SystemClock.sleep_until(started + STEP * steps).await;
    }
    while let Some(delivery) = deliveries.join_next().await {
        settle(Some(delivery))?;
    }
    Ok(())
}

type Settled = Result<Result<(), EngineError>, tokio::task::JoinError>;

fn settle(delivery: Option<Settled>) -> Result<(), EngineError> {
    match delivery {
        Some(Ok(result)) => result,
        // A delivery does not panic and is not aborted while the feed runs.
        Some(Err(_)) | None => Ok(()),
    }
}
