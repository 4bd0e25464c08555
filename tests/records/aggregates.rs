//! Aggregates of every size of key, hash key, data and table, and those that a producer makes.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kcl_core::protocol::{HashKeyRange, SequenceNumber, ShardId};
use kcl_core::{Bytes, PartitionKey, Shard, async_trait};
use kcl_producer::{
    Aggregation, NewRecord, Outcome, Placed, Producer, ProducerOptions, PutSink, SinkError,
    SinkRecord,
};
use kcl_records::AggregateBuilder;
use serde_json::{Value, json};

/// One record: key, explicit hash key, data.
type Given = (String, Option<u128>, Vec<u8>);

pub async fn print() {
    let keys = ["k", "Straße 🍎", &"long ".repeat(51)];
    let hash_keys = [0, 1, 9, 10, u128::from(u64::MAX), 1 << 127, u128::MAX];
    let sizes = [0, 1, 127, 128, 16_383, 16_384, 200_000];
    let every = |with_hash_key: bool| {
        let given = |(index, size): (usize, &usize)| {
            let hash_key = with_hash_key.then(|| hash_keys[index % hash_keys.len()]);
            (keys[index % keys.len()].to_owned(), hash_key, vec![index as u8; *size])
        };
        sizes.iter().enumerate().map(given).collect()
    };
    let number = |index: u32| (format!("k{index}"), Some(index.into()), index.to_be_bytes().into());
    let cases: [Vec<Given>; 4] =
        [every(false), every(true), vec![number(0)], (0..20_000).map(number).collect()];
    cases.iter().for_each(|case| println!("{}", line(&[built(case)], case)));
    // With and without a hash key by turns, and more of each than one aggregate takes.
    let put = |index: u32| {
        let hash_key = (index / 300 % 2 == 1).then(|| u128::from(index % 9) << 124);
        (format!("k{}", index % 7), hash_key, index.to_be_bytes().repeat(50))
    };
    let case: Vec<_> = (0..1_200).map(put).collect();
    println!("{}", line(&produced(&case).await, &case));
}

fn built(case: &[Given]) -> Bytes {
    let mut builder = AggregateBuilder::new();
    for (key, hash_key, data) in case {
        builder.push(&PartitionKey::from(key.as_str()), *hash_key, data);
    }
    builder.finish()
}

/// What a producer puts into a stream of one shard.
async fn produced(case: &[Given]) -> Vec<Bytes> {
    let taken = Arc::new(Taken::default());
    // Nothing goes before all is put: so no record is left alone, and plain.
    let linger = Some(Duration::from_secs(60));
    let options = ProducerOptions { aggregation: Aggregation::KPL, linger, ..Default::default() };
    let producer = Producer::builder(taken.clone()).options(options).start();
    let mut deliveries = Vec::new();
    for (key, explicit_hash_key, data) in case {
        let explicit_hash_key = *explicit_hash_key;
        let record = NewRecord::new(key.as_str(), data.clone());
        let put = producer.put_record(NewRecord { explicit_hash_key, ..record }).await;
        deliveries.push(put.unwrap());
    }
    producer.flush().await;
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    std::mem::take(&mut taken.0.lock().unwrap())
}

/// A stream of one shard that keeps what it takes.
#[derive(Default)]
struct Taken(Mutex<Vec<Bytes>>);

#[async_trait]
impl PutSink for Taken {
    async fn list_shards(&self) -> Result<Vec<Shard>, SinkError> {
        let range = HashKeyRange { start: 0, end: u128::MAX };
        let (id, parents) = (ShardId::new("whole"), Default::default());
        Ok(vec![Shard { id, parents, range, is_open: true, tip: None }])
    }
    async fn put_records(&self, records: Vec<SinkRecord>) -> Result<Vec<Outcome>, SinkError> {
        let mut taken = self.0.lock().unwrap();
        let place = |record: SinkRecord| {
            taken.push(record.data);
            Ok(Placed { shard: ShardId::new("whole"), sequence: SequenceNumber::ZERO })
        };
        Ok(records.into_iter().map(place).collect())
    }
}

fn line(aggregates: &[Bytes], case: &[Given]) -> Value {
    let aggregates: Vec<_> = aggregates.iter().map(|bytes| STANDARD.encode(bytes)).collect();
    let record = |(key, hash_key, data): &Given| {
        let hash_key = hash_key.map(|hash_key| hash_key.to_string());
        json!({"key": key, "hash_key": hash_key, "data": STANDARD.encode(data)})
    };
    json!({"aggregates": aggregates, "inside": case.iter().map(record).collect::<Vec<_>>()})
}
