//! Payloads that only holders of a key can read.
#![cfg(feature = "encryption")]

use std::sync::{Arc, Mutex};

use kcl_core::protocol::{HashKeyRange, SequenceNumber};
use kcl_core::{Clock, Shard, TokioClock, async_trait};
use kcl_producer::{
    Aggregation, NewRecord, NotAccepted, Outcome, Placed, Producer, ProducerOptions, PutSink,
    SinkError, SinkRecord,
};
use kcl_records::aggregate::{Decoded, decode};
use kcl_records::{LocalKeyRing, Opener, Sealer};

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
