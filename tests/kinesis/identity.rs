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
use kcl_stream_kinesis::{KinesisSource, StreamRef};

use crate::harness::put;
use crate::local;

const ARN: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/s";

fn source(client: &Client, stream: impl Into<StreamRef>) -> Arc<dyn StreamSource> {
    let brief = Duration::from_millis(20);
    Arc::new(KinesisSource::builder(client.clone(), stream).idle(brief).build())
}

fn worker(
    client: &Client,
    table: &Arc<MemoryLeaseTable>,
    stream: impl Into<StreamRef>,
) -> Scheduler {
    let table = Arc::clone(table) as Arc<dyn LeaseTable>;
    Scheduler::new(Config::new("app"), table, source(client, stream), ignore()).unwrap()
}

fn ignore() -> impl kcl_core::ProcessorFactory {
    closure::batches(|_: &RecordBatch| Ok(()))
}

pub async fn id_of(client: &Client, stream: &str) -> String {
    let described = client.describe_stream_summary().stream_name(stream).send().await.unwrap();
    described.stream_description_summary.unwrap().stream_id.unwrap()
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
async fn workers_that_name_a_stream_in_three_ways_share_its_row_and_read_it() {
    let endpoint = local::endpoint(1).await;
    let (client, table) = (local::client_by_id(&endpoint), Arc::new(MemoryLeaseTable::new()));
    let id = id_of(&client, "s").await;
    for named in [StreamRef::from("s"), StreamRef::from(ARN), StreamRef::Id(id)] {
        let scheduler = worker(&client, &table, named.clone());
        let handle = scheduler.handle();
        let running = tokio::spawn(scheduler.run());
        put(&client, 0, b"one more").await;
        while handle.status().shards.first().is_none_or(|shard| shard.consumer.delivered == 0) {
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
