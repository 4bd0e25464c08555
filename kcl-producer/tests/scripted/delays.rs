//! How long a producer waits before it puts again.

use std::time::Duration;

use kcl_producer::{NewRecord, ProducerOptions, Refusal, SinkError};

use crate::sink::{Answer, Sink, options, start};

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
