//! The lease table in a local file against the suite.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use kcl_core::{Config, RecordBatch, Scheduler, SystemClock, closure};
use kcl_lease_local::FileLeaseTable;
use kcl_stream_local::{Engine, NewRecord, Stream, StreamOptions};

/// A table in a new file; the name goes at once, the open file lives until the test ends.
pub fn fresh() -> FileLeaseTable {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let name = format!("kcl-conformance-{}-{number}.redb", std::process::id());
    let path = std::env::temp_dir().join(name);
    let table = FileLeaseTable::open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    table
}

kcl_testkit::lease_table_suite!(Arc::new(fresh()));

/// One scheduler on the file until it has seen so many records; what they were.
async fn run(path: &std::path::Path, stream: &Stream, records: usize) -> Vec<String> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&seen);
    let processor = closure::batches(move |batch: &RecordBatch| {
        let keys = batch.records.iter().map(|record| record.partition_key.to_string());
        keep.lock().unwrap().extend(keys);
        Ok(())
    });
    let table = Arc::new(FileLeaseTable::open(path).unwrap());
    let source = Arc::new(stream.source());
    let worker = Scheduler::new(Config::new("shop"), table, source, processor).unwrap();
    let handle = worker.handle();
    let running = tokio::spawn(worker.run());
    while seen.lock().unwrap().len() < records {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    handle.shutdown().await;
    running.await.unwrap().unwrap();
    let mut seen = std::mem::take(&mut *seen.lock().unwrap());
    seen.sort();
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scheduler_goes_on_where_the_one_before_it_left_the_file() {
    let path = std::env::temp_dir().join(format!("kcl-goes-on-{}.redb", std::process::id()));
    let engine = Engine::new(Arc::new(SystemClock));
    let stream = engine.create_stream("orders", 2, StreamOptions::unlimited()).unwrap();
    for day in ["monday", "tuesday"] {
        let orders: Vec<String> = (10..40).map(|number| format!("{day}-{number}")).collect();
        for order in &orders {
            stream.put(NewRecord::new(order.as_str(), "two apples")).unwrap();
        }
        assert_eq!(run(&path, &stream, orders.len()).await, orders, "no more and no less");
    }
    std::fs::remove_file(path).unwrap();
}
