//! How long a producer waits before it puts again.

use std::time::Duration;

use kcl_core::Clock;
use kcl_producer::{NewRecord, Order, ProducerOptions, PutFailure, Refusal, SinkError};

use crate::sink::{Answer, Sink, fates, options, put, start};

/// What the producer waits after each of so many failures (milliseconds, at most).
const LONGEST: [u64; 9] = [20, 40, 80, 160, 320, 640, 1_000, 1_000, 1_000];

/// The waits between a record's attempts, while each is answered so.
async fn waits(failure: impl Fn() -> Answer, seed: u64) -> Vec<Duration> {
    let failures = || LONGEST.iter().map(|_| failure());
    // Twice, with a success between that is followed by no wait. The first request goes before the
    // shards are listed: the listing does not end a wait.
    let sink = Sink::new(failures().chain([Answer::Take]).chain(failures()));
    let linger = Some(Duration::ZERO);
    let producer = start(&sink, ProducerOptions { linger, seed: Some(seed), ..options() });
    for _ in 0..2 {
        let receipt = producer.put_and_wait(NewRecord::new("k", "x")).await.unwrap();
        assert_eq!(receipt.attempts as usize, LONGEST.len() + 1);
    }
    let at = sink.asked_at.lock().unwrap();
    at.windows(2).map(|pair| pair[1].since(pair[0])).collect()
}

async fn grow_and_begin_anew(failure: impl Fn() -> Answer) {
    let all = [waits(&failure, 1).await, waits(&failure, 2).await];
    for waits in &all {
        let (first, second) = (&waits[..LONGEST.len()], &waits[LONGEST.len() + 1..]);
        for waits in [first, second] {
            assert_eq!(waits.len(), LONGEST.len());
            for (wait, longest) in waits.iter().zip(LONGEST) {
                let longest = Duration::from_millis(longest);
                // The paused clock counts whole milliseconds, and rounds up.
                let bounds = longest / 2..=longest + Duration::from_millis(1);
                assert!(bounds.contains(wait), "{wait:?} of {longest:?}: {waits:?}");
            }
        }
        assert_ne!(first, second, "jitter");
    }
    assert_ne!(all[0], all[1], "another seed waits otherwise");
}

#[tokio::test(start_paused = true)]
async fn waits_of_a_throttled_shard_double_up_to_a_second_with_jitter_and_begin_anew() {
    grow_and_begin_anew(|| Answer::RefuseAll(Refusal::Throttled("too fast".into()))).await;
}

#[tokio::test(start_paused = true)]
async fn waits_after_failed_requests_double_up_to_a_second_with_jitter_and_begin_anew() {
    grow_and_begin_anew(|| Answer::Fail(SinkError::NotNow("busy".into()))).await;
}

/// The waits between requests, if all but so many records of each are refused for the rate.
async fn waits_of_ten(taken: &[usize]) -> Vec<Duration> {
    let mut left = 10;
    let answers = taken.iter().map(|taken| {
        let refused = (*taken..left).collect();
        left -= taken;
        Answer::Refuse(refused)
    });
    let sink = Sink::new(answers.collect::<Vec<_>>());
    let producer = start(&sink, ProducerOptions { linger: Some(Duration::ZERO), ..options() });
    let keys = ["a1", "b1", "c1", "d1", "e1", "f1", "g1", "h1", "i1", "j1"];
    assert!(fates(put(&producer, &keys).await).await.iter().all(Result::is_ok));
    let at = sink.asked_at.lock().unwrap();
    at.windows(2).map(|pair| pair[1].since(pair[0])).collect()
}

#[tokio::test(start_paused = true)]
async fn waits_of_a_shard_that_refuses_most_of_each_request_double_too() {
    let waits = waits_of_ten(&[1; 9]).await;
    for (wait, longest) in waits.iter().zip(LONGEST) {
        let longest = Duration::from_millis(longest);
        let bounds = longest / 2..=longest + Duration::from_millis(1);
        assert!(bounds.contains(wait), "{wait:?} of {longest:?}: {waits:?}");
    }
    assert_eq!(waits.len(), 9);
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_takes_most_of_each_request_waits_no_longer_each_time() {
    let waits = waits_of_ten(&[6, 3, 0, 0, 1]).await;
    let longest = [20, 20, 40, 80].map(Duration::from_millis);
    for (wait, longest) in waits.iter().zip(longest) {
        let bounds = longest / 2..=longest + Duration::from_millis(1);
        assert!(bounds.contains(wait), "{wait:?} of {longest:?}: {waits:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn refusals_of_requests_that_were_under_way_together_count_once() {
    let throttled = || Answer::RefuseAll(Refusal::Throttled("too fast".into()));
    let failed = || Answer::Fail(SinkError::NotNow("busy".into()));
    for failure in [&throttled as &dyn Fn() -> Answer, &failed] {
        let sink = Sink::new((0..16).map(|_| failure()));
        let linger = Some(Duration::ZERO);
        let options = ProducerOptions { order: Order::Any, batch_records: 1, linger, ..options() };
        let producer = start(&sink, options);
        let keys = ["a1", "b1", "c1", "d1", "e1", "f1", "g1", "h1"];
        assert!(fates(put(&producer, &keys).await).await.iter().all(Result::is_ok));
        let at = sink.asked_at.lock().unwrap();
        let waits = [at[8].since(at[7]), at[16].since(at[15])];
        assert_eq!(at[7].since(at[0]) + at[15].since(at[8]), Duration::ZERO, "eight at once");
        for (wait, longest) in waits.iter().zip([20, 40]) {
            let bounds = longest / 2..=longest + 1;
            assert!(bounds.contains(&(wait.as_millis() as u64)), "{waits:?}");
        }
    }
}

/// What becomes of two hundred records of a key in an outage, and of one that came later.
async fn outage(options: ProducerOptions, failure: &dyn Fn() -> Answer) {
    let sink = Sink::new((0..10_000).map(|_| failure()));
    let producer = start(&sink, options);
    let early: Vec<_> = (0..200).map(|number| format!("k{number}")).collect();
    let early = put(&producer, &early.iter().map(String::as_str).collect::<Vec<_>>()).await;
    tokio::time::sleep(Duration::from_secs(40)).await;
    let late = put(&producer, &["k200"]).await;
    let mut told = fates(early).await;
    let millis = sink.clock.wall_millis();
    assert!((60_000..62_500).contains(&millis), "the last was told after {millis} ms");
    let first = told.remove(0).unwrap_err();
    let was_lost = matches!(failure(), Answer::Lose);
    assert_eq!(first.may_be_in_stream(), was_lost, "{first:?}");
    for fate in told {
        let Err(PutFailure::GivenUp { attempts: 0, .. }) = fate else { panic!("{fate:?}") };
    }
    sink.answers.lock().unwrap().clear();
    let receipt = fates(late).await.remove(0).unwrap();
    assert!(receipt.attempts >= 1, "its patience was not over");
    producer.flush().await;
    assert_eq!(producer.metrics().waiting_records, 0);
}

#[tokio::test(start_paused = true)]
async fn records_that_wait_behind_one_that_is_given_up_are_too_when_their_own_patience_is_over() {
    let not_now = || Refusal::NotNow("an outage".into());
    let refused = || Answer::RefuseAll(not_now());
    let failed = || Answer::Fail(SinkError::NotNow("an outage".into()));
    for failure in [&refused as &dyn Fn() -> Answer, &failed, &|| Answer::Lose] {
        outage(options(), failure).await;
        // One at a time, and no keys are kept apart.
        let (order, batch_records, requests) = (Order::Any, 1, 1);
        outage(ProducerOptions { order, batch_records, requests, ..options() }, failure).await;
    }
}
