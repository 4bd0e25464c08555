//! Which records share a request, and which an aggregate.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use kcl_core::{Bytes, Clock};
use kcl_producer::{
    Aggregation, Misplaced, NewRecord, NotAccepted, ProducerOptions, SinkError, SinkLimits,
    SinkRecord,
};
use kcl_records::AggregateBuilder;
use kcl_records::aggregate::{Decoded, decode};

use crate::sink::{Answer, Sink, aggregating, fates, halves, options, put, start};

#[tokio::test(start_paused = true)]
async fn records_share_a_request_after_lingering_or_when_it_is_full() {
    let sink = Sink::new([]);
    let clock = sink.clock;
    let producer = start(&sink, ProducerOptions { batch_records: 3, ..options() });
    for delivery in put(&producer, &["a1", "b1", "c1", "d1"]).await {
        delivery.await.unwrap();
    }
    assert_eq!(sink.put(), [vec!["a1", "b1", "c1"], vec!["d1"]]);
    assert_eq!(clock.wall_millis(), 50, "the last one lingered");
    let delivery = put(&producer, &["e1"]).await.remove(0);
    producer.flush().await;
    assert_eq!(clock.wall_millis(), 50, "a flush does not linger");
    assert_eq!(delivery.await.unwrap().attempts, 1);
}

#[tokio::test(start_paused = true)]
async fn data_that_looks_like_an_aggregate_comes_out_as_it_went_in() {
    let sink = Sink::new([]);
    let producer = start(&sink, aggregating());
    let forged = Bytes::from_static(b"\xf3\x89\x9a\xc2 not really");
    producer.put("key", forged.clone()).await.unwrap().await.unwrap();
    let record = sink.requests.lock().unwrap()[0][0].clone();
    let Decoded::Records(inside) = decode(&record.data) else { panic!("it is wrapped") };
    assert_eq!((inside.len(), &inside[0].data), (1, &forged));
    producer.put("key", "plain").await.unwrap().await.unwrap();
    assert_eq!(sink.requests.lock().unwrap()[1][0].data, "plain", "alone it is not wrapped");
}

/// Data that is an aggregate of somebody else's.
fn foreign_aggregate() -> Bytes {
    let mut builder = AggregateBuilder::new();
    for data in [b"one", b"two"] {
        builder.push(&"other".into(), None, data);
    }
    builder.finish()
}

/// Every record that was put is an aggregate of one with this data, where its own key belongs.
fn assert_wrapped(sink: &Sink, data: &Bytes) {
    let requests = sink.requests.lock().unwrap();
    assert!(requests.iter().any(|records| !records.is_empty()));
    for record in requests.iter().flatten() {
        let Decoded::Records(inside) = decode(&record.data) else { panic!("it is wrapped") };
        assert_eq!((inside.len(), &inside[0].data), (1, data));
        assert_eq!(record.explicit_hash_key, Some(record.hash_key));
        assert_eq!(inside[0].partition_key, record.partition_key);
    }
}

#[tokio::test(start_paused = true)]
async fn data_that_looks_like_an_aggregate_is_wrapped_also_where_nothing_is_aggregated() {
    let data = foreign_aggregate();
    // The shards cannot be listed.
    let sink = Sink::new([]);
    sink.is_listed.store(false, Ordering::SeqCst);
    let producer = start(&sink, aggregating());
    for _ in 0..3 {
        let record = NewRecord::new("key", data.clone()).with_hash_key(7);
        assert!(producer.put_and_wait(record).await.is_ok());
    }
    assert_wrapped(&sink, &data);
    // It is larger than an aggregate may be.
    let sink = Sink::new([]);
    let small = ProducerOptions { aggregation: Aggregation::Kpl { bytes: 60 }, ..options() };
    let producer = start(&sink, small);
    assert!(producer.put_and_wait(NewRecord::new("key", data.clone())).await.is_ok());
    assert_wrapped(&sink, &data);
    // It was in a request that was refused for one of its records.
    let sink = Sink::new([Answer::Fail(SinkError::Invalid("one is wrong".into()))]);
    let producer = start(&sink, aggregating());
    let deliveries = [
        producer.put("key", data.clone()).await.unwrap(),
        producer.put("other", data.clone()).await.unwrap(),
    ];
    assert!(fates(deliveries.into()).await.iter().all(Result::is_ok));
    sink.requests.lock().unwrap().remove(0);
    assert_wrapped(&sink, &data);
    // The shards were resharded, and no listing says how.
    let sink = Sink::new([]);
    let whole = sink.shards.lock().unwrap().clone();
    let producer = start(&sink, aggregating());
    producer.put_and_wait(NewRecord::new("k", "x")).await.unwrap();
    sink.requests.lock().unwrap().clear();
    sink.reshard(halves());
    *sink.listing.lock().unwrap() = Some(whole);
    let ends = [0, u128::MAX].map(|end| NewRecord::new("key", data.clone()).with_hash_key(end));
    let mut deliveries = Vec::new();
    for record in ends {
        deliveries.push(producer.put_record(record).await.unwrap());
    }
    assert!(fates(deliveries).await.iter().all(Result::is_ok));
    assert_eq!(producer.metrics().misplaced_aggregates, 1);
    assert_eq!(sink.requests.lock().unwrap().remove(0).len(), 1, "both in one aggregate");
    assert_wrapped(&sink, &data);
}

#[tokio::test(start_paused = true)]
async fn data_that_looks_like_an_aggregate_is_never_misplaced_when_it_is_alone() {
    let sink = Sink::new([]);
    let producer = start(&sink, ProducerOptions { misplaced: Misplaced::All, ..aggregating() });
    producer.put_and_wait(NewRecord::new("k", "x")).await.unwrap();
    sink.requests.lock().unwrap().clear();
    sink.reshard(halves());
    let data = foreign_aggregate();
    let receipt = producer.put_and_wait(NewRecord::new("key", data.clone())).await.unwrap();
    assert_eq!((receipt.attempts, receipt.position.subsequence), (1, 0));
    assert_eq!(producer.metrics().misplaced_aggregates, 0, "its own key decides where it goes");
    assert_wrapped(&sink, &data);
}

#[tokio::test(start_paused = true)]
async fn data_that_looks_like_an_aggregate_and_has_no_room_for_its_wrapping_is_refused() {
    let sink = Sink::new([]);
    let data = foreign_aggregate();
    let record_bytes = data.len() + 3;
    *sink.limits.lock().unwrap() = SinkLimits { record_bytes, ..SinkLimits::default() };
    let producer = start(&sink, aggregating());
    let refused = producer.put("key", data.clone()).await.unwrap_err();
    let NotAccepted::Invalid(why) = &refused else { panic!("{refused:?}") };
    assert!(why.contains("begins like an aggregate"), "{why}");
    assert_eq!(producer.try_put(NewRecord::new("key", data.clone())).unwrap_err(), refused);
    let plain = vec![b'x'; data.len()];
    producer.put_and_wait(NewRecord::new("key", plain)).await.unwrap();
    // Who aggregates nothing puts everything as it is.
    let producer = start(&sink, options());
    sink.requests.lock().unwrap().clear();
    producer.put_and_wait(NewRecord::new("key", data.clone())).await.unwrap();
    assert_eq!(sink.requests.lock().unwrap()[0][0].data, data);
}

/// Puts records of these sizes, each with a key of its own of one byte, and waits for them all; how
/// long that took (milliseconds).
async fn put_sizes(sink: &Arc<Sink>, options: ProducerOptions, sizes: &[usize]) -> u64 {
    let producer = start(sink, options);
    let before = sink.clock.wall_millis();
    let mut deliveries = Vec::new();
    for (key, size) in ('a'..).zip(sizes) {
        let data = vec![b'x'; size - 1];
        deliveries.push(producer.put(key.to_string(), data).await.unwrap());
    }
    assert!(fates(deliveries).await.iter().all(Result::is_ok));
    sink.clock.wall_millis() - before
}

/// The sizes of the records of each request so far.
fn sizes(sink: &Sink) -> Vec<Vec<usize>> {
    let requests = sink.requests.lock().unwrap();
    let sizes = |records: &Vec<_>| records.iter().map(SinkRecord::size_bytes).collect();
    requests.iter().map(sizes).collect()
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_full_of_bytes_goes_at_once_and_holds_no_more() {
    let bounded = ProducerOptions { batch_bytes: 1_000, ..options() };
    let sink = Sink::new([]);
    assert_eq!(put_sizes(&sink, bounded.clone(), &[300; 3]).await, 50, "900 bytes linger");
    assert_eq!(sizes(&sink), [[300; 3]]);
    let sink = Sink::new([]);
    assert_eq!(put_sizes(&sink, bounded.clone(), &[250; 4]).await, 0, "1,000 do not");
    assert_eq!(sizes(&sink), [[250; 4]]);
    let sink = Sink::new([]);
    assert_eq!(put_sizes(&sink, bounded.clone(), &[300; 4]).await, 50, "the last one lingers");
    assert_eq!(sizes(&sink), [&[300; 3][..], &[300]]);
    // A single larger one goes, and alone.
    let sink = Sink::new([]);
    put_sizes(&sink, bounded, &[300, 5_000, 300]).await;
    assert_eq!(sizes(&sink), [vec![300], vec![5_000], vec![300]]);
}

#[tokio::test(start_paused = true)]
async fn a_request_is_no_larger_than_the_sink_takes() {
    let sink = Sink::new([]);
    *sink.limits.lock().unwrap() = SinkLimits { request_bytes: 1_000, ..SinkLimits::default() };
    put_sizes(&sink, options(), &[300; 7]).await;
    assert_eq!(sizes(&sink), [&[300; 3][..], &[300; 3], &[300]]);
    let sink = Sink::new([]);
    *sink.limits.lock().unwrap() = SinkLimits { request_records: 2, ..SinkLimits::default() };
    put_sizes(&sink, options(), &[300; 5]).await;
    assert_eq!(sizes(&sink), [&[300; 2][..], &[300; 2], &[300]]);
}

#[tokio::test(start_paused = true)]
async fn an_aggregate_is_no_larger_than_asked_and_a_larger_record_goes_as_it_is() {
    let sink = Sink::new([]);
    let small = ProducerOptions { aggregation: Aggregation::Kpl { bytes: 500 }, ..options() };
    let mut mixed = [100; 23];
    mixed[7] = 2_000;
    put_sizes(&sink, small, &mixed).await;
    let all: Vec<_> = sizes(&sink).into_iter().flatten().collect();
    assert_eq!(all.iter().filter(|size| **size > 500).collect::<Vec<_>>(), [&2_000]);
    let inside: Vec<_> = {
        let requests = sink.requests.lock().unwrap();
        let counts = requests.iter().flatten().map(|record| match decode(&record.data) {
            Decoded::Plain => 0,
            Decoded::Records(inside) => inside.len(),
            Decoded::Broken(broken) => panic!("{broken}"),
        });
        counts.collect()
    };
    // Four of 100 bytes and what holds them together are more than 400 and less than 500.
    assert_eq!(inside, [4, 3, 0, 4, 4, 4, 3], "{all:?}");
    assert!(all.iter().filter(|size| **size > 400).count() >= 4, "{all:?}");
}

#[tokio::test(start_paused = true)]
async fn records_with_and_without_a_hash_key_of_their_own_share_no_aggregate() {
    let sink = Sink::new([]);
    let producer = start(&sink, aggregating());
    let mut deliveries = Vec::new();
    for number in 0..12u128 {
        let record = NewRecord::new(format!("key-{number}"), format!("{number}"));
        let record = match number % 3 {
            0 => record.with_hash_key(number << 120),
            _ => record,
        };
        deliveries.push(producer.put_record(record).await.unwrap());
    }
    assert!(fates(deliveries).await.iter().all(Result::is_ok));
    let mut seen = Vec::new();
    for record in sink.requests.lock().unwrap().iter().flatten() {
        let inside = match decode(&record.data) {
            Decoded::Records(inside) => inside,
            Decoded::Plain => {
                seen.push((record.data.clone(), record.explicit_hash_key));
                continue;
            }
            Decoded::Broken(broken) => panic!("{broken}"),
        };
        let have = inside.iter().filter(|inner| inner.explicit_hash_key.is_some()).count();
        assert!(have == 0 || have == inside.len(), "{have} of {}", inside.len());
        assert_eq!(record.explicit_hash_key, Some(record.hash_key));
        seen.extend(inside.into_iter().map(|inner| (inner.data, inner.explicit_hash_key)));
    }
    seen.sort_by_key(|(data, _)| String::from_utf8_lossy(data).parse::<u128>().unwrap());
    let expected = (0..12u128).map(|number| {
        (Bytes::from(format!("{number}")), (number % 3 == 0).then_some(number << 120))
    });
    assert_eq!(seen, expected.collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn where_shards_cannot_be_listed_records_are_put_and_none_is_aggregated() {
    let sink = Sink::new([]);
    sink.is_listed.store(false, Ordering::SeqCst);
    let producer = start(&sink, aggregating());
    let deliveries = put(&producer, &["a1", "b1", "c1", "a2"]).await;
    assert!(fates(deliveries).await.iter().all(Result::is_ok));
    let requests = sink.requests.lock().unwrap();
    assert!(requests.iter().flatten().all(|record| decode(&record.data) == Decoded::Plain));
    assert!(producer.metrics().failed_listings > 0);
}
