//! Payloads that only holders of a key can read.
#![cfg(feature = "encryption")]

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use kcl_core::protocol::{HashKeyRange, SequenceNumber};
use kcl_core::{Clock, Shard, TokioClock, async_trait};
use kcl_producer::{
    Aggregation, NewRecord, NotAccepted, Outcome, Placed, Producer, ProducerOptions, PutSink,
    Shutdown, SinkError, SinkRecord,
};
use kcl_records::aggregate::{Decoded, decode};
use kcl_records::envelope::{DataKey, KeyRing, KeyRingError, NewKey};
use kcl_records::{LocalKeyRing, Opener, Rotation, Sealer};
use tokio::sync::Semaphore;

const RING: &str = r#"
primary = "key"
[keys]
key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
"#;

#[derive(Default)]
struct Sink(Mutex<Vec<SinkRecord>>);

#[async_trait]
impl PutSink for Sink {
    async fn list_shards(&self) -> Result<Vec<Shard>, SinkError> {
        let (parents, range) = (Default::default(), HashKeyRange::FULL);
        Ok(vec![Shard { id: "shard".into(), parents, range, is_open: true, tip: None }])
    }
    async fn put_records(&self, records: Vec<SinkRecord>) -> Result<Vec<Outcome>, SinkError> {
        let placed = || Placed { shard: "shard".into(), sequence: SequenceNumber::ZERO };
        let outcomes = records.iter().map(|_| Ok(placed())).collect();
        self.0.lock().unwrap().extend(records);
        Ok(outcomes)
    }
}

#[tokio::test(start_paused = true)]
async fn payloads_are_sealed_for_stream_and_key_also_inside_aggregates() {
    let clock: Arc<dyn Clock> = Arc::new(TokioClock::starting_at(0));
    let ring = Arc::new(LocalKeyRing::from_text(RING).unwrap());
    let sealer = Arc::new(Sealer::new(ring.clone(), "orders", Arc::clone(&clock)));
    let opener = Opener::new(ring, "orders", Arc::clone(&clock));
    let sink = Arc::new(Sink::default());
    let options = ProducerOptions { aggregation: Aggregation::KPL, ..Default::default() };
    let builder = Producer::builder(sink.clone()).options(options).clock(clock);
    let producer = builder.sealer(sealer).start();
    let too_early = producer.try_put(NewRecord::new("a", "apples"));
    assert!(matches!(too_early, Err(NotAccepted::NotSealed(_))), "no data key is at hand");
    for (key, data) in [("a", "apples"), ("b", "pears")] {
        producer.put(key, data).await.unwrap();
    }
    producer.try_put(NewRecord::new("a", "plums")).unwrap();
    producer.flush().await;
    let records = sink.0.lock().unwrap().clone();
    let Decoded::Records(inside) = decode(&records[0].data) else { panic!("three share one") };
    let mut opened = Vec::new();
    for inner in &inside {
        opened.push(opener.open(&inner.partition_key, &inner.data).await.unwrap());
    }
    assert_eq!(opened, ["apples", "plums", "pears"], "one key after the other");
    assert!(opener.open(&"b".into(), &inside[0].data).await.is_err(), "sealed for another key");
}

/// A ring that makes so many data keys as it has permits, and counts how often it is asked.
struct Slow {
    ring: LocalKeyRing,
    permits: Semaphore,
    asked: AtomicUsize,
}

#[async_trait]
impl KeyRing for Slow {
    async fn generate(&self, stream: &str) -> Result<NewKey, KeyRingError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.permits.acquire().await.unwrap().forget();
        self.ring.generate(stream).await
    }
    async fn unwrap(&self, _: &str, _: &[u8], _: &str) -> Result<DataKey, KeyRingError> {
        unreachable!("nothing is opened")
    }
}

/// A ring that is asked, and a sealer of it that uses a data key so often.
fn slow(records: u64) -> (Arc<Slow>, Arc<Sealer>) {
    let ring = LocalKeyRing::from_text(RING).unwrap();
    let ring = Arc::new(Slow { ring, permits: Semaphore::new(0), asked: AtomicUsize::new(0) });
    let sealer = Sealer::new(ring.clone(), "orders", Arc::new(TokioClock::starting_at(0)));
    let rotation = Rotation { records, ..Rotation::default() };
    (ring, Arc::new(sealer.with_rotation(rotation).unwrap()))
}

fn producer(sealer: &Arc<Sealer>) -> Producer {
    let clock = Arc::new(TokioClock::starting_at(0));
    Producer::builder(Arc::new(Sink::default())).clock(clock).sealer(Arc::clone(sealer)).start()
}

#[tokio::test(start_paused = true)]
async fn a_put_that_nobody_polls_holds_up_no_other_of_the_same_sealer() {
    let (ring, sealer) = slow(100);
    let (one, other) = (producer(&sealer), producer(&sealer));
    let mut left = pin!(one.put("a", "apples"));
    assert!(left.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    ring.permits.add_permits(1);
    for producer in [&other, &one] {
        let put = producer.put("b", "pears");
        tokio::time::timeout(Duration::from_secs(1), put).await.expect("it is sealed").unwrap();
    }
    assert_eq!(ring.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_put_that_waits_for_a_data_key_hears_of_the_shutdown() {
    let (_ring, sealer) = slow(100);
    let producer = producer(&sealer);
    let putting = producer.clone();
    let put = tokio::spawn(async move { putting.put("a", "apples").await.map(drop) });
    tokio::task::yield_now().await;
    assert_eq!(producer.shutdown(Duration::from_secs(1)).await, Shutdown::Flushed);
    let put = tokio::time::timeout(Duration::from_secs(1), put).await.expect("it is told");
    assert_eq!(put.unwrap(), Err(NotAccepted::Closed));
}

#[tokio::test(start_paused = true)]
async fn a_program_that_never_waits_gets_its_data_keys_also_from_outside_of_the_runtime() {
    let (ring, sealer) = slow(2);
    let producer = producer(&sealer);
    ring.permits.add_permits(2);
    for key in 1..=2 {
        let (putting, record) = (producer.clone(), NewRecord::new("a", "apples"));
        let refused = std::thread::spawn(move || putting.try_put(record).map(drop));
        let refused = refused.join().unwrap();
        assert!(matches!(refused, Err(NotAccepted::NotSealed(_))), "{refused:?}");
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert_eq!(ring.permits.available_permits(), 2 - key, "the data key is made");
        for _ in 0..2 {
            producer.try_put(NewRecord::new("a", "plums")).unwrap();
        }
    }
    assert_eq!(ring.asked.load(Ordering::SeqCst), 2);
}
