//! The program of the README.

use std::sync::Arc;

use kcl_core::{Config, RecordBatch, Scheduler, SystemClock, closure};
use kcl_lease_local::MemoryLeaseTable;
use kcl_stream_local::{Engine, NewRecord, StreamOptions};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let stream =
        Engine::new(Arc::new(SystemClock)).create_stream("orders", 4, StreamOptions::default())?;
    let table = Arc::new(MemoryLeaseTable::new());

    let count = closure::batches(|batch: &RecordBatch| {
        batch.records.iter().for_each(|it| println!("{}: {:?}", it.partition_key, it.data));
        Ok(())
    });
    let worker = Scheduler::new(Config::new("shop"), table, Arc::new(stream.source()), count)?;
    let handle = worker.handle();
    let running = tokio::spawn(worker.run());

    for number in 0..10 {
        stream.put(NewRecord::new(format!("order-{number}"), "two apples"))?;
    }
    let delivered = || handle.status().shards.iter().map(|it| it.consumer.delivered).sum::<u64>();
    while delivered() < 10 && !running.is_finished() {
        tokio::task::yield_now().await;
    }
    handle.shutdown().await;
    Ok(running.await??)
}
