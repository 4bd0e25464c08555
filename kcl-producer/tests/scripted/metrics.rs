//! What a producer counts.

use std::sync::atomic::Ordering;
use std::time::Duration;

use kcl_producer::{LostReply, NewRecord, ProducerMetrics, ProducerOptions, Refusal, SinkError};

use crate::sink::{Answer, Sink, aggregating, fates, halves, options, put, start};

#[tokio::test(start_paused = true)]
async fn a_known_run_is_counted_to_the_last_number() {
    let sink = Sink::new([
        // "a1" and "b1" are taken, "c1" is throttled and then refused for good.
        Answer::Refuse(vec![2]),
        Answer::RefuseAll(Refusal::Never("no".into())),
        // "d" is put at the third attempt.
        Answer::RefuseAll(Refusal::NotNow("not yet".into())),
        Answer::Fail(SinkError::NotNow("busy".into())),
        Answer::Take,
        // Of "e" nobody knows.
        Answer::Lose,
        // "f1" is under way.
        Answer::Hang,
    ]);
    let producer = start(&sink, ProducerOptions { lost_reply: LostReply::Report, ..options() });
    fates(put(&producer, &["a1", "b1", "c1"]).await).await;
    producer.put_and_wait(NewRecord::new("d", "1234")).await.unwrap();
    producer.put_and_wait(NewRecord::new("e", "12345")).await.unwrap_err();
    let _waiting = put(&producer, &["f1"]).await;
    producer.try_put(NewRecord::new("", "refused before it is taken in")).unwrap_err();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let expected = ProducerMetrics {
        accepted_records: 6,
        accepted_bytes: 3 * 3 + 5 + 6 + 3,
        put_records: 3,
        put_bytes: 2 * 3 + 5,
        failed_records: 1,
        unknown_records: 1,
        waiting_records: 1,
        requests: 7,
        stream_records: 9,
        throttled_stream_records: 1,
        refused_stream_records: 3,
        failed_requests: 2,
        lost_replies: 1,
        retried_records: 3,
        misplaced_aggregates: 0,
        failed_listings: 0,
    };
    assert_eq!(producer.metrics(), expected);
}

#[tokio::test(start_paused = true)]
async fn misplaced_aggregates_and_failed_listings_are_counted() {
    let sink = Sink::new([]);
    let producer = start(&sink, aggregating());
    producer.put_and_wait(NewRecord::new("k", "x")).await.unwrap();
    sink.reshard(halves());
    sink.is_listed.store(false, Ordering::SeqCst);
    let keys: Vec<_> = (0..8).map(|number| format!("{}1", "k".repeat(number + 1))).collect();
    let keys: Vec<_> = keys.iter().map(String::as_str).collect();
    assert!(fates(put(&producer, &keys).await).await.iter().all(Result::is_ok));
    let metrics = producer.metrics();
    assert_eq!(metrics.misplaced_aggregates, 1, "{metrics:?}");
    assert!(metrics.failed_listings >= 1, "{metrics:?}");
    // The first record, the aggregate, and each of its records again by itself.
    assert_eq!((metrics.put_records, metrics.stream_records), (9, 10), "{metrics:?}");
    assert_eq!(metrics.retried_records, 8, "{metrics:?}");
}
