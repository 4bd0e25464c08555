//! Which records share a request, and which an aggregate.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use kcl_core::{Bytes, Clock};
use kcl_producer::{Aggregation, NewRecord, ProducerOptions, SinkLimits, SinkRecord};
use kcl_records::aggregate::{Decoded, decode};

use crate::sink::{Sink, aggregating, fates, options, put, start};

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
