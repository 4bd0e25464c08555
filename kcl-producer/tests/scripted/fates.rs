//! What becomes of each record, whatever the sink answers.

use std::time::Duration;

use kcl_core::protocol::ShardId;
use kcl_producer::{
    Copies, LostReply, Misplaced, NewRecord, NotAccepted, ProducerOptions, PutFailure, Refusal,
    Shutdown, SinkError, hash_key,
};

use crate::sink::{Answer, MIDDLE, Sink, aggregating, halves, options, put, start};

#[tokio::test(start_paused = true)]
async fn a_key_has_one_record_under_way_and_an_aggregate_counts_as_one() {
    let sink = Sink::new([Answer::Refuse(vec![0])]);
    let producer = start(&sink, options());
    let deliveries = put(&producer, &["a1", "a2", "b1", "a3"]).await;
    producer.flush().await;
    assert_eq!(sink.put(), [vec!["a1", "b1"], vec!["a1"], vec!["a2"], vec!["a3"]]);
    let mut attempts = Vec::new();
    for delivery in deliveries {
        attempts.push(delivery.await.unwrap().attempts);
    }
    assert_eq!(attempts, [2, 1, 1, 1]);
    let sink = Sink::new([Answer::Refuse(vec![0])]);
    let producer = start(&sink, aggregating());
    put(&producer, &["a1", "a2", "b1", "a3"]).await;
    producer.flush().await;
    let all = ["a1", "a2", "a3", "b1"];
    assert_eq!(sink.put(), [all.to_vec(), all.to_vec()]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_is_told_or_the_record_is_put_again_and_may_be_there_twice() {
    let sink = Sink::new([Answer::Lose]);
    let producer = start(&sink, options());
    let receipt = producer.put_and_wait(NewRecord::new("k", "x")).await.unwrap();
    assert_eq!((receipt.attempts, receipt.copies), (2, Copies::OneOrMore));
    assert_eq!(producer.metrics().lost_replies, 1);

    let sink = Sink::new([Answer::Lose]);
    let producer = start(&sink, ProducerOptions { lost_reply: LostReply::Report, ..options() });
    let failure = producer.put("k", "x").await.unwrap().await.unwrap_err();
    assert!(matches!(failure, PutFailure::Unknown { attempts: 1, .. }), "{failure:?}");

    // What a lost reply left behind is not denied by what follows.
    let never = || Answer::Fail(SinkError::Never("no such stream".into()));
    let sink = Sink::new([Answer::Lose, never(), never()]);
    let producer = start(&sink, options());
    let failure = producer.put("k", "x").await.unwrap().await.unwrap_err();
    assert!(failure.may_be_in_stream(), "{failure:?}");
    let failure = producer.put("k", "x").await.unwrap().await.unwrap_err();
    assert!(matches!(failure, PutFailure::StreamRefuses { .. }), "{failure:?}");
    assert_eq!(producer.last_failure(), Some(failure));
}

#[tokio::test(start_paused = true)]
async fn a_record_that_was_lost_by_itself_is_told_or_put_again_as_one_whose_reply_was_lost() {
    let lost = || Answer::RefuseAll(Refusal::Unknown("the disk failed".into()));
    let sink = Sink::new([lost()]);
    let producer = start(&sink, options());
    let receipt = producer.put_and_wait(NewRecord::new("k", "x")).await.unwrap();
    assert_eq!((receipt.attempts, receipt.copies), (2, Copies::OneOrMore));
    let asked_at = sink.asked_at.lock().unwrap().clone();
    assert!(asked_at[1] > asked_at[0], "not at once");
    assert_eq!(producer.metrics().refused_stream_records, 1);

    let sink = Sink::new([lost()]);
    let producer = start(&sink, ProducerOptions { lost_reply: LostReply::Report, ..options() });
    let failure = producer.put("k", "x").await.unwrap().await.unwrap_err();
    assert!(matches!(failure, PutFailure::Unknown { attempts: 1, .. }), "{failure:?}");

    let sink = Sink::new([lost(), Answer::RefuseAll(Refusal::Never("it has stopped".into()))]);
    let producer = start(&sink, options());
    let failure = producer.put("k", "x").await.unwrap().await.unwrap_err();
    assert!(failure.may_be_in_stream(), "{failure:?}");
}

/// What becomes of four records, of which the stream takes no request with the third.
async fn one_is_wrong(options: ProducerOptions) {
    let sink = Sink::new([]);
    *sink.wrong.lock().unwrap() = Some("c1");
    let producer = start(&sink, options);
    let mut fates = Vec::new();
    for delivery in put(&producer, &["a1", "b1", "c1", "d1"]).await {
        fates.push(delivery.await);
    }
    let mut alone = sink.put().split_off(1);
    alone.sort_unstable();
    assert_eq!(alone, [["a1"], ["b1"], ["c1"], ["d1"]]);
    let why = "a record is too large".to_owned();
    let refused = fates.remove(2).unwrap_err();
    assert_eq!(refused, PutFailure::Refused { why, attempts: 2 });
    for fate in fates {
        let receipt = fate.unwrap();
        assert_eq!((receipt.attempts, receipt.copies), (2, Copies::One));
    }
    producer.put_and_wait(NewRecord::new("k", "x")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn of_a_request_refused_for_a_record_in_it_that_record_alone_is_refused() {
    one_is_wrong(options()).await;
}

#[tokio::test(start_paused = true)]
async fn of_an_aggregate_refused_for_a_record_in_it_that_record_alone_is_refused() {
    one_is_wrong(aggregating()).await;
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_panics_or_answers_for_too_few_leaves_the_outcome_unknown() {
    for (answer, why) in
        [(Answer::Panic, "the sink panicked"), (Answer::Short, "1 outcomes for 2 records")]
    {
        let sink = Sink::new([answer]);
        let producer = start(&sink, ProducerOptions { lost_reply: LostReply::Report, ..options() });
        for delivery in put(&producer, &["a1", "b1"]).await {
            let failure = delivery.await.unwrap_err();
            assert!(matches!(failure, PutFailure::Unknown { .. }), "{failure:?}");
            assert!(failure.to_string().contains(why), "{failure}");
        }
        producer.put_and_wait(NewRecord::new("k", "y")).await.unwrap();
    }
}

/// Two keys of the two halves.
fn keys() -> (String, String) {
    let find = |is_left: bool| {
        let mut keys = (0..).map(|number| format!("key-{number}-"));
        keys.find(|key| (hash_key(key) < MIDDLE) == is_left).unwrap()
    };
    (find(true), find(false))
}

async fn reshard_under_an_aggregate(
    misplaced: Misplaced,
    is_listed: bool,
) -> (Vec<usize>, Vec<(ShardId, Copies)>, Vec<usize>) {
    let sink = Sink::new([]);
    let whole = sink.shards.lock().unwrap().clone();
    let producer = start(&sink, ProducerOptions { misplaced, ..aggregating() });
    producer.put_and_wait(NewRecord::new("k", "x")).await.unwrap();
    sink.requests.lock().unwrap().clear();
    sink.reshard(halves());
    if !is_listed {
        *sink.listing.lock().unwrap() = Some(whole);
    }
    let (left, right) = keys();
    let texts = [format!("{left}1"), format!("{right}1"), format!("{left}2"), format!("{right}2")];
    let deliveries = put(&producer, &texts.each_ref().map(String::as_str)).await;
    let mut receipts = Vec::new();
    for delivery in deliveries {
        let receipt = delivery.await.unwrap();
        receipts.push((receipt.shard, receipt.copies));
    }
    assert_eq!(producer.metrics().misplaced_aggregates, 1);
    let records = sink.requests.lock().unwrap().iter().map(Vec::len).collect();
    let inside = sink.put().iter().map(Vec::len).collect();
    (records, receipts, inside)
}

#[tokio::test(start_paused = true)]
async fn of_an_aggregate_in_another_shard_what_readers_would_drop_is_put_again() {
    let (left, right) = (ShardId::from("left"), ShardId::from("right"));
    let twice = |shard: &ShardId| (shard.clone(), Copies::OneOrMore);
    let once = |shard: &ShardId| (shard.clone(), Copies::One);
    // All of it, in one aggregate for each half.
    let (records, receipts, inside) = reshard_under_an_aggregate(Misplaced::All, true).await;
    assert_eq!((records, inside), (vec![1, 2], vec![4, 4]));
    assert_eq!(receipts, [twice(&left), twice(&right), twice(&left), twice(&right)]);
    // Only what does not belong: the aggregate came where its first record belongs.
    let (records, receipts, inside) = reshard_under_an_aggregate(Misplaced::Foreign, true).await;
    assert_eq!((records, inside), (vec![1, 1], vec![4, 2]));
    assert_eq!(receipts, [once(&left), twice(&right), once(&left), twice(&right)]);
    // A listing that does not know the shard: each by itself, one of a key at a time.
    let (records, receipts, inside) = reshard_under_an_aggregate(Misplaced::Foreign, false).await;
    assert_eq!((records, inside), (vec![1, 2, 2], vec![4, 2, 2]));
    assert_eq!(receipts, [twice(&left), twice(&right), twice(&left), twice(&right)]);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_that_comes_to_its_deadline_tells_every_fate() {
    let sink = Sink::new([Answer::Hang]);
    let options = ProducerOptions { requests: 1, ..options() };
    let producer = start(&sink, options);
    let deliveries = put(&producer, &["a1", "a2", "b1"]).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let ended = producer.shutdown(Duration::from_secs(3)).await;
    assert_eq!(ended, Shutdown::DeadlineReached { never_put: 1, unknown: 2 });
    let mut in_stream = Vec::new();
    for delivery in deliveries {
        in_stream.push(delivery.await.unwrap_err().may_be_in_stream());
    }
    assert_eq!(in_stream, [true, false, true]);
    assert_eq!(producer.put("k", "x").await.unwrap_err(), NotAccepted::Closed);
    assert_eq!(producer.try_put(NewRecord::new("k", "x")).unwrap_err(), NotAccepted::Closed);
    assert_eq!(producer.shutdown(Duration::ZERO).await, ended, "as the first one ended");
    producer.flush().await;
    assert_eq!(producer.metrics().waiting_records, 0);
}

#[tokio::test(start_paused = true)]
async fn a_full_producer_makes_put_wait_and_try_put_refuse() {
    let sink = Sink::new([Answer::Hang]);
    let options = ProducerOptions { memory_bytes: 1000, ..options() };
    let producer = start(&sink, options);
    let record = || NewRecord::new("k", vec![0; 300]);
    producer.try_put(record()).unwrap();
    assert_eq!(producer.try_put(record()).unwrap_err(), NotAccepted::Full);
    let waiting = tokio::time::timeout(Duration::from_secs(5), producer.put_record(record())).await;
    assert!(waiting.is_err(), "there is no room");
    assert!(producer.put("", "x").await.is_err(), "a wrong record is told at once");
    let ended = producer.shutdown(Duration::ZERO).await;
    assert_eq!(ended, Shutdown::DeadlineReached { never_put: 0, unknown: 1 });
}

#[tokio::test(start_paused = true)]
async fn a_dropped_producer_still_puts_what_it_took_in() {
    let sink = Sink::new([Answer::Fail(SinkError::NotNow("busy".into()))]);
    let producer = start(&sink, options());
    let deliveries = put(&producer, &["a1", "a2"]).await;
    drop(producer);
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    assert_eq!(sink.put(), [vec!["a1"], vec!["a1"], vec!["a2"]]);
}

#[test]
fn a_runtime_that_ends_leaves_no_delivery_waiting() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let sink = Sink::new([Answer::Hang]);
    let mut deliveries = runtime.block_on(async {
        let producer = start(&sink, options());
        put(&producer, &["a1"]).await
    });
    let delivery = deliveries.remove(0);
    drop(runtime);
    let other = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(other.block_on(delivery), Err(PutFailure::Stopped));
}
