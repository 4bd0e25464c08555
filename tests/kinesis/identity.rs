//! A stream is one stream, by name and by ARN.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_kinesis::Client;
use kcl_core::{Clock, SystemClock, protocol::Row};
use kcl_core::{
    Config, LeaseTable, RecordBatch, Scan, Scheduler, StreamError, StreamSource, WorkerError,
    closure,
};
use kcl_lease_local::MemoryLeaseTable;
use kcl_stream_kinesis::KinesisSource;

use crate::local;

const ARN: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/s";

fn source(client: &Client, stream: &str) -> Arc<dyn StreamSource> {
    let brief = Duration::from_millis(20);
    Arc::new(KinesisSource::builder(client.clone(), stream).idle(brief).build())
}

fn worker(client: &Client, table: &Arc<MemoryLeaseTable>, stream: &str) -> Scheduler {
    let table = Arc::clone(table) as Arc<dyn LeaseTable>;
    Scheduler::new(Config::new("app"), table, source(client, stream), ignore()).unwrap()
}

fn ignore() -> impl kcl_core::ProcessorFactory {
    closure::batches(|_: &RecordBatch| Ok(()))
}

async fn streams_in(table: &MemoryLeaseTable) -> Vec<String> {
    let rows = table.scan(Scan::Coordination).await.unwrap();
    let names = rows.into_iter().filter_map(|row| match row {
        Row::Stream(stream) => Some(stream.name.to_string()),
        _ => None,
    });
    names.collect()
}

#[tokio::test]
async fn workers_that_name_a_stream_in_two_ways_share_its_row() {
    let endpoint = local::endpoint(1).await;
    let (client, table) = (local::client(&endpoint), Arc::new(MemoryLeaseTable::new()));
    for named in ["s", ARN] {
        let scheduler = worker(&client, &table, named);
        let handle = scheduler.handle();
        let running = tokio::spawn(scheduler.run());
        while handle.status().shards.is_empty() {
            assert!(!running.is_finished(), "named {named}: {:?}", running.await);
            SystemClock.sleep(Duration::from_millis(10)).await;
        }
        handle.shutdown().await;
        running.await.unwrap().unwrap();
        assert_eq!(streams_in(&table).await, [ARN]);
    }
}

#[tokio::test]
async fn a_worker_given_one_stream_by_name_and_by_arn_is_refused_and_the_error_names_it() {
    let endpoint = local::endpoint(1).await;
    let (client, table) = (local::client(&endpoint), Arc::new(MemoryLeaseTable::new()));
    let twice = worker(&client, &table, "s").stream(source(&client, ARN), ignore());
    let twice = twice.run().await.unwrap_err();
    assert!(matches!(twice, WorkerError::StreamTwice { .. }), "{twice}");
    assert!(twice.to_string().contains(ARN), "{twice}");
    assert_eq!(streams_in(&table).await, [ARN], "one row");
}

#[tokio::test]
async fn a_running_worker_takes_no_stream_it_reads_under_another_name() {
    let endpoint = local::endpoint(1).await;
    let (client, table) = (local::client(&endpoint), Arc::new(MemoryLeaseTable::new()));
    let scheduler = worker(&client, &table, "s").several_streams();
    let handle = scheduler.handle();
    let running = tokio::spawn(scheduler.run());
    let twice = handle.add_stream(source(&client, ARN), ignore()).await.unwrap_err();
    assert!(matches!(&twice, StreamError::AlreadyRead(name) if name.as_str() == ARN), "{twice}");
    let name = source(&client, "s").describe().await.unwrap().name;
    handle.remove_stream(&name).await.unwrap();
    handle.shutdown().await;
    running.await.unwrap().unwrap();
}
