//! From put to processor at a steady 10,000 records per second.

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kcl_core::protocol::Moment;
use kcl_core::{
    Checkpointer, Clock, Config, ProcessorError, RecordBatch, RecordProcessor, Scheduler,
    SystemClock, async_trait,
};
use kcl_lease_local::MemoryLeaseTable;
use kcl_stream_local::{Engine, NewRecord, StreamOptions};

use super::probe::wait;
use super::{Number, percentile};

const RATE: u32 = 10_000;
const SECONDS: u32 = 5;
const SHARDS: u32 = 8;
/// Records of the first second warm caches and branch predictors.
const WARM_UP: usize = RATE as usize;

#[derive(Clone, Default)]
struct Samples(Arc<Mutex<Vec<f64>>>);

#[async_trait]
impl RecordProcessor for Samples {
    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        _: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        let now = SystemClock.monotonic();
        let mut samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for record in &batch.records {
            let put: [u8; 8] = record.data[..8].try_into().unwrap_or_default();
            let put = Moment::from_nanos(u64::from_le_bytes(put));
            samples.push(now.since(put).as_secs_f64() * 1e6);
        }
        Ok(())
    }
}

/// Puts single records, each with the moment of its put inside.
///
/// # Errors
/// If the worker does not start.
pub fn measure() -> Result<Vec<Number>, Box<dyn Error>> {
    let engine = Engine::new(Arc::new(SystemClock));
    let stream = engine.create_stream("latency", SHARDS, StreamOptions::unlimited())?;
    let samples = Samples::default();
    let made = samples.clone();
    let scheduler = Scheduler::new(
        Config::new("latency"),
        Arc::new(MemoryLeaseTable::new()),
        Arc::new(stream.source()),
        move |_: &_| made.clone(),
    )?;
    let handle = scheduler.handle();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build()?;
    runtime.spawn(scheduler.run());
    wait("the worker to hold all shards", || handle.status().shards.len() == SHARDS as usize)?;
    let started = SystemClock.monotonic();
    for number in 0..RATE * SECONDS {
        let due = started + Duration::from_secs(1) * number / RATE;
        let early = due.since(SystemClock.monotonic());
        if !early.is_zero() {
            std::thread::sleep(early);
        }
        let put = SystemClock.monotonic().as_nanos().to_le_bytes().to_vec();
        stream.put(NewRecord::new(format!("key-{number}"), put))?;
    }
    let all = (RATE * SECONDS) as usize;
    let len = || samples.0.lock().unwrap_or_else(PoisonError::into_inner).len();
    wait("the records to be processed", || len() == all)?;
    runtime.block_on(handle.shutdown());
    let mut micros = samples.0.lock().unwrap_or_else(PoisonError::into_inner).split_off(WARM_UP);
    Ok(vec![
        Number::new(
            "put to processor at 10,000 records/s, p50",
            percentile(&mut micros, 0.5),
            "us",
        )
        .goal("under 100 us"),
        Number::new(
            "put to processor at 10,000 records/s, p99",
            percentile(&mut micros, 0.99),
            "us",
        )
        .goal("under 1,000 us"),
    ])
}
