//! A test of a processor of one's own, as the README shows it from the first struct on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kcl_core::{
    Checkpointer, Config, ProcessorError, RecordBatch, RecordProcessor, Scheduler, ShardStart,
    SystemClock, async_trait,
};
use kcl_lease_dynamo::{DynamoLeaseTable, TableOptions};
use kcl_stream_local::{Engine, NewRecord, StreamOptions};
use kcl_testkit::DynamoDbLocal;

use crate::local::client_of;

struct Orders(Arc<AtomicUsize>);

#[async_trait]
impl RecordProcessor for Orders {
    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        _: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        self.0.fetch_add(batch.records.len(), Ordering::Relaxed);
        Ok(())
    }
}

#[tokio::test]
async fn every_order_is_counted() -> Result<(), Box<dyn std::error::Error>> {
    let dynamodb = DynamoDbLocal::start()?;
    let application = format!("shop-{}", std::process::id());
    let table = DynamoLeaseTable::builder(client_of(dynamodb.endpoint()), &application)
        .create_if_missing(TableOptions::default())
        .build();
    let engine = Engine::new(Arc::new(SystemClock));
    let stream = engine.create_stream("orders", 4, StreamOptions::default())?;
    for number in 0..10 {
        stream.put(NewRecord::new(format!("order-{number}"), "two apples"))?;
    }
    let counted = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&counted);
    let factory = move |_: &ShardStart| Orders(Arc::clone(&count));
    let source = Arc::new(stream.source());
    let worker = Scheduler::new(Config::new(&application), Arc::new(table), source, factory)?;
    let handle = worker.handle();
    let running = tokio::spawn(worker.run());
    while counted.load(Ordering::Relaxed) < 10 && !running.is_finished() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    handle.shutdown().await;
    running.await??;
    assert_eq!(counted.load(Ordering::Relaxed), 10);
    Ok(())
}
