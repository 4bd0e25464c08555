//! Records per second from put to processor, as a share of hashing their keys alone.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use kcl_core::{Bytes, Clock, PartitionKey, SystemClock};
use kcl_stream_local::{Engine, NewRecord, Stream, StreamOptions, hash_key};

use super::probe::{Fleet, wait};
use super::{Number, percentile};

const SHARDS: u32 = 8;
const WORKERS: usize = 2;
/// Threads that put, as many as those that hash alone: each hashes the keys of what it puts.
const PRODUCERS: usize = 2;
const RECORD_BYTES: usize = 100;
const RECORDS: usize = 2_000_000;
const KEYS: usize = 10_000;
const BATCH: usize = 500;
const RUNS: usize = 5;

/// Runs hashing and the whole way in turn; medians of both, and of their ratio.
///
/// # Errors
/// If a worker does not start.
pub fn measure(progress: impl Fn(&str)) -> Result<Vec<Number>, Box<dyn Error>> {
    let keys: Vec<PartitionKey> =
        (0..KEYS).map(|number| PartitionKey::from(format!("key-{number}"))).collect();
    let (mut hashed, mut moved, mut shares) = (Vec::new(), Vec::new(), Vec::new());
    for run in 1..=RUNS {
        progress(&format!("throughput, run {run} of {RUNS}"));
        let hash = hash_rate(&keys);
        let rate = end_to_end_rate(&keys)?;
        hashed.push(hash);
        moved.push(rate);
        shares.push(100.0 * rate / hash);
    }
    let rate = percentile(&mut moved, 0.5);
    let share = percentile(&mut shares, 0.5);
    Ok(vec![
        Number::new("MD5 of the keys alone, both cores", percentile(&mut hashed, 0.5), "records/s"),
        Number::new("put to processor, 100-byte records, 8 shards, 2 workers", rate, "records/s")
            .goal("at least 1.5 million"),
        Number::new("the same as a share of hashing alone", share, "%").goal("15%, then 25%"),
    ])
}

/// Hashes every record's key on two threads.
fn hash_rate(keys: &[PartitionKey]) -> f64 {
    let started = SystemClock.monotonic();
    let sum: u128 = std::thread::scope(|scope| {
        let half = |from: usize| {
            let numbers = (from..RECORDS).step_by(2);
            numbers.fold(0u128, |sum, n| sum ^ hash_key(keys[n % KEYS].as_str()))
        };
        let other = scope.spawn(move || half(1));
        half(0) ^ other.join().unwrap_or(0)
    });
    let took = SystemClock.monotonic().since(started);
    assert_ne!(sum, 1, "the hashes are used");
    RECORDS as f64 / took.as_secs_f64()
}

fn end_to_end_rate(keys: &[PartitionKey]) -> Result<f64, Box<dyn Error>> {
    let engine = Engine::new(Arc::new(SystemClock));
    let options = StreamOptions { memory_bytes: 4 << 30, ..StreamOptions::unlimited() };
    let stream = engine.create_stream("throughput", SHARDS, options)?;
    let mut fleet = Fleet::new(stream.clone(), Duration::from_secs(3));
    let mut workers = Vec::new();
    for _ in 0..WORKERS {
        workers.push(fleet.start()?);
    }
    wait("the workers to hold all shards", || {
        workers.iter().map(super::probe::Worker::shards).sum::<usize>() == SHARDS as usize
    })?;
    let data = Bytes::from(vec![7; RECORD_BYTES]);
    let started = SystemClock.monotonic();
    std::thread::scope(|scope| {
        let (stream, data) = (&stream, &data);
        let producer = |number| scope.spawn(move || put_part(stream, keys, data, number));
        let producers: Vec<_> = (0..PRODUCERS).map(producer).collect();
        let mut parts = producers.into_iter().map(std::thread::ScopedJoinHandle::join);
        parts.try_for_each(|part| part.unwrap_or_else(|_| Err("a producer panicked".to_owned())))
    })?;
    wait("the records to be processed", || fleet.delivered().records >= RECORDS as u64)?;
    let took = SystemClock.monotonic().since(started);
    workers.iter_mut().for_each(super::probe::Worker::shut_down);
    Ok(RECORDS as f64 / took.as_secs_f64())
}

/// Puts every batch of one of the producers.
fn put_part(
    stream: &Stream,
    keys: &[PartitionKey],
    data: &Bytes,
    producer: usize,
) -> Result<(), String> {
    for batch in (producer..RECORDS / BATCH).step_by(PRODUCERS) {
        let record = |n: usize| NewRecord::new(keys[n % KEYS].clone(), data.clone());
        let records = (batch * BATCH..(batch + 1) * BATCH).map(record).collect();
        let put = stream.put_many(records).map_err(|error| error.to_string())?;
        if put.failed_count() > 0 {
            return Err("a put was refused".to_owned());
        }
    }
    Ok(())
}
