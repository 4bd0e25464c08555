//! The producer.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{START, drain, engine};
use kcl_core::protocol::{HashKeyRange, StreamName};
use kcl_core::{Clock, TokioClock};
use kcl_producer::{LostReply, NotAccepted, PutError, PutFailure};
use kcl_stream_local::{
    Engine, Entry, Journal, NewRecord, ProducerOptions, Saved, ShardNumber, Store, StoreError,
    StreamOptions, StreamRow, Throughput,
};

#[tokio::test(start_paused = true)]
async fn throttled_records_are_put_in_the_end_in_order() {
    let stream = engine().create_stream("s", 1, StreamOptions::default()).unwrap();
    let producer = stream.producer(ProducerOptions::default());
    let clock = TokioClock::starting_at(0);
    let mut deliveries = Vec::new();
    for n in 0..3000 {
        deliveries.push(producer.put_record(NewRecord::new("k", n.to_string())).await.unwrap());
    }
    let mut last = None;
    for delivery in deliveries {
        let sequence = delivery.await.unwrap().position.sequence;
        assert!(last < Some(sequence));
        last = Some(sequence);
    }
    let taken = clock.wall_millis();
    assert!((1900..5000).contains(&taken), "3,000 records at 1,000/s took {taken} ms");
    stream.set_throughput(Throughput::Unlimited).unwrap();
    let expected: Vec<_> = (0..3000).map(|n| n.to_string()).collect();
    assert_eq!(drain(&stream, 0), expected);
}

#[tokio::test(start_paused = true)]
async fn keys_stay_in_order_while_the_stream_is_resharded_under_throttling() {
    let stream = engine().create_stream("s", 1, StreamOptions::default()).unwrap();
    let producer = stream.producer(ProducerOptions::default());
    let (keys, each) = (10, 450);
    let mut deliveries = Vec::new();
    for n in 0..keys * each {
        // Each reshard comes while records wait for a throttled shard.
        if n == 2000 {
            tokio::time::sleep(Duration::from_millis(5)).await;
            stream.split_shard(&ShardNumber(0).id(), 1 << 127).unwrap();
        }
        if n == 4200 {
            tokio::time::sleep(Duration::from_millis(5)).await;
            stream.merge_shards(&ShardNumber(1).id(), &ShardNumber(2).id()).unwrap();
        }
        let text = format!("{} {}", n % keys, n / keys);
        let record = NewRecord::new(format!("key{}", n % keys), text);
        deliveries.push(producer.put_record(record).await.unwrap());
    }
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    stream.set_throughput(Throughput::Unlimited).unwrap();
    // Parents before children: the order a consumer reads in.
    let texts: Vec<String> = (0..4).flat_map(|shard| drain(&stream, shard)).collect();
    for key in 0..keys {
        let prefix = format!("{key} ");
        let seen: Vec<_> = texts.iter().filter_map(|text| text.strip_prefix(&prefix)).collect();
        assert_eq!(seen, (0..each).map(|n| n.to_string()).collect::<Vec<_>>());
    }
}

#[tokio::test(start_paused = true)]
async fn a_throttled_shard_does_not_hold_up_another() {
    let stream = engine().create_stream("s", 2, StreamOptions::default()).unwrap();
    let producer = stream.producer(ProducerOptions::default());
    let ranges = HashKeyRange::split_evenly(2);
    let mut slow = Vec::new();
    for _ in 0..2000 {
        let record = NewRecord::new("k", "x").with_hash_key(ranges[0].start);
        slow.push(producer.put_record(record).await.unwrap());
    }
    let clock = TokioClock::starting_at(0);
    producer.put_and_wait(NewRecord::new("k", "x").with_hash_key(ranges[1].start)).await.unwrap();
    assert!(clock.wall_millis() < 5);
    for delivery in slow {
        delivery.await.unwrap();
    }
    assert!(clock.wall_millis() >= 990);
}

#[tokio::test(start_paused = true)]
async fn a_shard_above_its_limit_is_used_to_the_full_and_is_not_flooded() {
    // Every hundredth of a second: 1.2 and 2 times what the shard takes, for ten seconds.
    for records in [12, 20] {
        let stream = engine().create_stream("s", 1, StreamOptions::default()).unwrap();
        let producer = stream.producer(ProducerOptions { seed: Some(7), ..Default::default() });
        let clock = TokioClock::starting_at(0);
        let mut deliveries = Vec::new();
        for _ in 0..1_000 {
            for n in 0..records {
                deliveries.push(producer.put(format!("k{n}"), "x").await.unwrap());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        for delivery in deliveries {
            delivery.await.unwrap();
        }
        // The shard began with the credit of a second; the last wait is a second at most.
        let (least, took) = (records * 1_000 - 1_000, clock.wall_millis());
        assert!((least..least + 1_100).contains(&took), "{took} ms");
        let metrics = producer.metrics();
        assert!(metrics.throttled_stream_records < 2 * metrics.put_records, "{metrics:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn patience_ends_with_the_throttle_as_the_error() {
    let options = StreamOptions { max_record_bytes: 10 << 20, ..StreamOptions::default() };
    let stream = engine().create_stream("s", 1, options).unwrap();
    stream.put(NewRecord::new("k", vec![0; 10_000_000])).unwrap();
    let patience = Duration::from_secs(3);
    let producer = stream.producer(ProducerOptions { patience, ..Default::default() });
    let error = producer.put_and_wait(NewRecord::new("k", "x")).await.unwrap_err();
    assert!(error.to_string().contains("rate exceeded for shard"), "{error}");
    assert!(matches!(error, PutError::Failed(PutFailure::GivenUp { .. })), "{error}");
    let patient = stream.producer(ProducerOptions::default());
    assert!(patient.put_and_wait(NewRecord::new("k", "x")).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn send_waits_for_room_and_a_dropped_producer_still_delivers() {
    let stream = engine().create_stream("s", 1, StreamOptions::default()).unwrap();
    stream.put(NewRecord::new("k", vec![0; 1_000_000])).unwrap();
    let producer = stream.producer(ProducerOptions { memory_bytes: 250_000, ..Default::default() });
    let record = || NewRecord::new("k", vec![1; 99_000]);
    let first = producer.put_record(record()).await.unwrap();
    let second = producer.put_record(record()).await.unwrap();
    let third =
        tokio::time::timeout(Duration::from_millis(10), producer.put_record(record())).await;
    assert!(third.is_err(), "no room yet");
    let third = producer.put_record(record()).await.unwrap();
    drop(producer);
    for delivery in [first, second, third] {
        delivery.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn wrong_records_and_a_deleted_stream_are_told_at_once() {
    let engine = engine();
    let stream = engine.create_stream("s", 1, StreamOptions::unlimited()).unwrap();
    let producer = stream.producer(ProducerOptions::default());
    assert!(matches!(
        producer.put_and_wait(NewRecord::new("", "x")).await,
        Err(PutError::NotAccepted(NotAccepted::Invalid(_)))
    ));
    producer.put_and_wait(NewRecord::new("k", "x")).await.unwrap();
    engine.delete_stream("s").unwrap();
    let gone = producer.put_and_wait(NewRecord::new("k", "x")).await;
    let why = "stream s was not found: create it, or check the name".to_owned();
    assert_eq!(gone, Err(PutError::Failed(PutFailure::StreamRefuses { why, attempts: 1 })));
}

#[tokio::test(start_paused = true)]
async fn a_record_for_a_full_stream_is_put_once_others_expire_or_is_given_up() {
    let options = StreamOptions { memory_bytes: 30, ..StreamOptions::unlimited() };
    let stream = engine().create_stream("s", 1, options).unwrap();
    let producer = stream.producer(ProducerOptions::default());
    producer.put_and_wait(NewRecord::new("k", "old")).await.unwrap();
    let full = producer.put_and_wait(NewRecord::new("k", "x")).await.unwrap_err();
    let why = "stream s is full: its 30 bytes of memory hold unexpired records; raise \
               memory_bytes or shorten the retention";
    assert!(full.to_string().contains(why), "{full}");
    assert!(matches!(full, PutError::Failed(PutFailure::GivenUp { .. })), "{full:?}");
    // The old one is kept for a day.
    let to_its_end = Duration::from_secs(24 * 3600 - 90);
    tokio::time::sleep(to_its_end).await;
    let receipt = producer.put_and_wait(NewRecord::new("k", "new")).await.unwrap();
    assert!(receipt.attempts > 1, "{receipt:?}");
    assert_eq!(drain(&stream, 0), ["new"]);
}

/// A store whose disk fails with every record.
struct Failing;

impl Store for Failing {
    fn load(&self) -> Result<Saved, StoreError> {
        Ok(Saved::default())
    }
    fn create(&self, _: &StreamRow) -> Result<Arc<dyn Journal>, StoreError> {
        Ok(Arc::new(FailingJournal))
    }
    fn save(&self, _: &StreamRow) -> Result<(), StoreError> {
        Ok(())
    }
    fn delete(&self, _: &StreamName, _: u64) -> Result<(), StoreError> {
        Ok(())
    }
}

#[derive(Debug)]
struct FailingJournal;

impl Journal for FailingJournal {
    fn append(&self, entry: Entry) -> Result<(), Entry> {
        // The shard is locked meanwhile, and dropping the entry stops it.
        std::thread::spawn(move || drop(entry));
        Ok(())
    }
    fn is_behind(&self) -> bool {
        false
    }
    fn expire(&self, _: u64) {}
}

#[tokio::test(start_paused = true)]
async fn a_record_that_was_lost_on_its_way_to_the_disk_may_be_there_and_a_later_one_is_not() {
    for (lost_reply, attempts) in [(LostReply::Report, 1), (LostReply::Retry, 2)] {
        let clock = Arc::new(TokioClock::starting_at(START));
        let engine = Engine::open(clock, Arc::new(Failing)).unwrap();
        let stream = engine.create_stream("s", 1, StreamOptions::unlimited()).unwrap();
        let producer = stream.producer(ProducerOptions { lost_reply, ..Default::default() });
        let lost = producer.put_and_wait(NewRecord::new("k", "x")).await.unwrap_err();
        let PutError::Failed(PutFailure::Unknown { why, attempts: told }) = &lost else {
            panic!("{lost:?}")
        };
        assert_eq!(*told, attempts);
        assert!(why.contains("a write to the disk failed"), "{why}");
        let refused = producer.put_and_wait(NewRecord::new("k", "x")).await.unwrap_err();
        let PutError::Failed(PutFailure::Refused { why, attempts: 1 }) = &refused else {
            panic!("{refused:?}")
        };
        assert!(why.contains("takes no more records"), "{why}");
    }
}
