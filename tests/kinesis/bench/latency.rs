//! From put to processor at 100 records a second, within the service's limits.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_kinesis::primitives::Blob;
use kcl_core::protocol::Moment;
use kcl_core::{Clock, Config, RecordBatch, Scheduler, SystemClock, closure};
use kcl_lease_local::MemoryLeaseTable;

use crate::{Result, Way, serve};

const EVERY: Duration = Duration::from_millis(10);
const COUNT: u32 = 2_000;
/// Records of the first two seconds, in which shards are opened.
const WARM_UP: usize = 200;

/// Milliseconds within which 99% have to come.
pub fn asked_p99(way: Way) -> f64 {
    match way {
        Way::FanOut => 10.0,
        Way::Polling => 300.0,
    }
}

/// Milliseconds: half and 99% of all.
pub async fn measure(way: Way) -> Result<(f64, f64)> {
    let served = serve::start("latency", 4, false)?;
    let samples = Arc::new(Mutex::new(Vec::new()));
    let taken = Arc::clone(&samples);
    let processor = closure::batches(move |batch: &RecordBatch| {
        let now = SystemClock.monotonic();
        for record in &batch.records {
            let put = std::str::from_utf8(&record.data).unwrap_or_default().parse().unwrap_or(0);
            let took = now.since(Moment::from_nanos(put));
            taken.lock().unwrap().push(took.as_secs_f64() * 1e3);
        }
        Ok(())
    });
    let source = Arc::new(way.source(&served.url, "latency"));
    let table = Arc::new(MemoryLeaseTable::new());
    let scheduler = Scheduler::new(Config::new("latency"), table, source, processor)?;
    let handle = scheduler.handle();
    let running = tokio::spawn(scheduler.run());
    while handle.status().shards.len() < 4 {
        SystemClock.sleep(Duration::from_millis(20)).await;
    }
    let client = serve::client(&served.url);
    let started = SystemClock.monotonic();
    for number in 0..COUNT {
        SystemClock.sleep_until(started + EVERY * number).await;
        let put = client.put_record().stream_name("latency").partition_key(format!("{number}"));
        let now = SystemClock.monotonic().0.as_nanos().to_string();
        put.data(Blob::new(now)).send().await?;
    }
    while samples.lock().unwrap().len() < COUNT as usize {
        SystemClock.sleep(Duration::from_millis(20)).await;
    }
    handle.shutdown().await;
    running.await??;
    let mut samples = samples.lock().unwrap().split_off(WARM_UP);
    samples.sort_by(f64::total_cmp);
    let at = |percent: usize| samples[(samples.len() - 1) * percent / 100];
    Ok((at(50), at(99)))
}
