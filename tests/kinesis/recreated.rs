//! A stream that is deleted and created again under its name is another one.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_kinesis::Client;
use kcl_core::{
    Clock, Config, ReadFrom, RecordBatch, Scheduler, SourceError, StreamSource, SystemClock,
    WorkerError, closure,
};
use kcl_lease_local::MemoryLeaseTable;
use kcl_stream_kinesis::{FanOut, KinesisSource};

use crate::harness::put;
use crate::local;
use crate::pushed::first_shard;

async fn create_again(client: &Client) {
    // Creation times are told to the second.
    SystemClock.sleep(Duration::from_millis(1_100)).await;
    let delete = client.delete_stream().stream_name("s").enforce_consumer_deletion(true);
    delete.send().await.unwrap();
    client.create_stream().stream_name("s").shard_count(1).send().await.unwrap();
    put(client, 0, b"of the new stream").await;
}

fn tells_both_times(error: &WorkerError) {
    let WorkerError::StreamRecreated { bound_to_millis, found_millis, .. } = error else {
        panic!("{error}")
    };
    assert!(bound_to_millis < found_millis, "{error}");
    for millis in [bound_to_millis, found_millis] {
        assert!(error.to_string().contains(&format!("{millis} ms")), "{error}");
    }
}

async fn is_refused(fan_out: Option<FanOut>) {
    let endpoint = local::endpoint(1).await;
    let client = local::client(&endpoint);
    let table = Arc::new(MemoryLeaseTable::new());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let worker = || {
        let builder = KinesisSource::builder(client.clone(), "s").idle(Duration::from_millis(20));
        let source = match &fan_out {
            Some(consumer) => builder.fan_out(consumer.clone()).build(),
            None => builder.build(),
        };
        let seen = Arc::clone(&seen);
        let note = closure::batches(move |batch: &RecordBatch| {
            let data = batch.records.iter().map(|record| record.data.clone());
            seen.lock().unwrap().extend(data);
            Ok(())
        });
        let config = Config::new("app");
        let source: Arc<dyn StreamSource> = Arc::new(source);
        Scheduler::new(config, Arc::clone(&table) as Arc<_>, source, note).unwrap()
    };
    let first = worker();
    let running = tokio::spawn(first.run());
    put(&client, 0, b"of the old stream").await;
    let is_seen = |count: usize| seen.lock().unwrap().len() >= count;
    while !is_seen(1) {
        SystemClock.sleep(Duration::from_millis(10)).await;
    }
    create_again(&client).await;
    let ended = running.await.unwrap().unwrap_err();
    tells_both_times(&ended);
    let refused = worker().run().await.unwrap_err();
    tells_both_times(&refused);
    assert_eq!(&seen.lock().unwrap()[..], ["of the old stream"], "nothing of the new one");
}

#[tokio::test]
async fn a_polled_stream_created_again_is_refused_while_a_worker_runs_and_at_a_start() {
    is_refused(None).await;
}

#[tokio::test]
async fn a_pushed_stream_created_again_is_refused_while_a_worker_runs_and_at_a_start() {
    is_refused(Some(FanOut::register("app"))).await;
}

#[tokio::test]
async fn no_shard_of_a_stream_created_again_is_opened() {
    let endpoint = local::endpoint(1).await;
    let client = local::client(&endpoint);
    let source = KinesisSource::builder(client.clone(), "s").build();
    source.describe().await.unwrap();
    create_again(&client).await;
    for from in [ReadFrom::TrimHorizon, ReadFrom::Latest, ReadFrom::AtTimestamp(0)] {
        let Err(error) = source.open(&first_shard(), from).await else { panic!("{from:?}") };
        assert!(matches!(error, SourceError::Refused(_)), "{error}");
        assert!(error.to_string().contains("was deleted and created again"), "{error}");
    }
}
