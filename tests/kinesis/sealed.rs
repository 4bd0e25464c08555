//! What a producer seals goes through the service's protocol to a worker that opens it; who has no
//! key sees nothing, and what was sealed with another goes to the error policy.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_kinesis::Client;
use kcl_core::{
    Action, Attempt, Clock, Config, MemoryDeadLetters, ProcessorError, ReadFrom, ReadOutcome,
    RecordBatch, Scheduler, StreamSource, SystemClock, closure,
};
use kcl_lease_local::MemoryLeaseTable;
use kcl_producer::{Aggregation, KinesisSink, Producer, ProducerOptions, Shutdown};
use kcl_records::{LocalKeyRing, Opener, Sealer, UnpackedSource};
use kcl_stream_kinesis::{FanOut, KinesisSource};

use crate::local;
use crate::pushed::LIMIT;

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const OTHER_KEY: &str = "//////////////////////////////////////////8=";
const ARN: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/s";
const ORDERS: usize = 200;

fn ring(key: &str) -> Arc<LocalKeyRing> {
    let text = format!("primary = \"k\"\n[keys]\nk = \"{key}\"");
    Arc::new(LocalKeyRing::from_text(&text).unwrap())
}

fn order(number: usize) -> String {
    format!("order number {number}")
}

/// Puts these in aggregates, to the stream by its name.
async fn put(client: &Client, key: &str, texts: impl Iterator<Item = String>) {
    let sealer = Arc::new(Sealer::new(ring(key), "s", Arc::new(SystemClock)));
    let options = ProducerOptions { aggregation: Aggregation::KPL, ..Default::default() };
    let producer = Producer::builder(Arc::new(KinesisSink::new(client, "s")));
    let producer = producer.options(options).sealer(sealer).start();
    for (number, text) in texts.enumerate() {
        drop(producer.put(format!("k{}", number % 20), text).await.unwrap());
    }
    assert_eq!(producer.shutdown(Duration::from_secs(30)).await, Shutdown::Flushed);
}

/// Everything in the stream, as who has no key sees it.
async fn raw(client: &Client) -> Vec<u8> {
    let source =
        KinesisSource::builder(client.clone(), "s").idle(Duration::from_millis(20)).build();
    let mut seen = Vec::new();
    for shard in source.list_shards().await.unwrap() {
        let mut reader = source.open(&shard.id, ReadFrom::TrimHorizon).await.unwrap();
        while let ReadOutcome::Records { records, .. } = reader.next(LIMIT).await.unwrap() {
            records.iter().for_each(|record| seen.extend_from_slice(&record.data));
        }
    }
    seen
}

async fn arrive(fan_out: Option<FanOut>) {
    let endpoint = local::endpoint(2).await;
    let client = local::client(&endpoint);
    put(&client, KEY, (0..ORDERS).map(order)).await;
    put(&client, OTHER_KEY, std::iter::once("of somebody else".to_owned())).await;
    let bytes = raw(&client).await;
    assert!(bytes.len() > ORDERS * order(0).len());
    let shows = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
    assert!(!shows(b"order number") && !shows(b"somebody"), "a payload is to be seen");

    let builder = KinesisSource::builder(client, ARN).idle(Duration::from_millis(20));
    let source = match fan_out {
        Some(consumer) => builder.fan_out(consumer).build(),
        None => builder.build(),
    };
    let opener = Arc::new(Opener::new(ring(KEY), ARN, Arc::new(SystemClock)));
    let source = UnpackedSource::new(source).opened_by(opener);
    let kept = Arc::new(MemoryDeadLetters::bounded(10));
    let config = Config::new("app")
        .error_policy(|_: &ProcessorError, _: Attempt| Action::DeadLetter)
        .dead_letters(kept.clone());
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let sees = Arc::clone(&seen);
    let processor = closure::batches(move |batch: &RecordBatch| {
        let texts = batch.records.iter().map(|record| String::from_utf8_lossy(&record.data));
        sees.lock().unwrap().extend(texts.map(|text| text.into_owned()));
        Ok(())
    });
    let table = Arc::new(MemoryLeaseTable::new());
    let scheduler = Scheduler::new(config, table, Arc::new(source), processor).unwrap();
    let handle = scheduler.handle();
    let running = tokio::spawn(scheduler.run());
    let mut letters = Vec::new();
    let all = async {
        while letters.is_empty() || seen.lock().unwrap().len() < ORDERS {
            letters.extend(kept.drain());
            SystemClock.sleep(Duration::from_millis(10)).await;
        }
    };
    let is_in_time = tokio::time::timeout(Duration::from_secs(30), all).await.is_ok();
    handle.shutdown().await;
    running.await.unwrap().unwrap();
    let expected: BTreeSet<_> = (0..ORDERS).map(order).collect();
    assert!(is_in_time && *seen.lock().unwrap() == expected, "{:?}", seen.lock().unwrap());
    assert_eq!(letters.len(), 1);
}

#[tokio::test]
async fn sealed_records_arrive_by_polling() {
    arrive(None).await;
}

#[tokio::test]
async fn sealed_records_arrive_by_fan_out() {
    arrive(Some(FanOut::register("app"))).await;
}
