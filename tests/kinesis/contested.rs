//! A shard that the consumer has another subscription to, again and again: waits grow, up to a
//! bound. On a simulated clock.

use std::sync::Arc;
use std::time::Duration;

use kcl_core::{Clock, ReadFrom, ReadOutcome, ShardReader, SourceError, StreamSource, TokioClock};
use kcl_stream_kinesis::{FanOut, KinesisSource};
use kcl_stream_local::{Engine, NewRecord, Stream, StreamOptions};
use tokio::task::JoinHandle;

use crate::on_engine::{OnEngine, Rolls};
use crate::pushed::{LIMIT, first_shard};
use crate::scripted::{Scripted, Tells, in_use};

/// No wait is longer.
const LONGEST: Duration = Duration::from_secs(30);
const MINUTE: Duration = Duration::from_secs(60);

/// The wait that the source asks for after one more refusal.
async fn refused(service: &Scripted, source: &KinesisSource) -> Duration {
    service.subscriptions.lock().unwrap().push_back(in_use());
    match source.open(&first_shard(), ReadFrom::TrimHorizon).await.err().unwrap() {
        SourceError::Throttled { retry_after } => retry_after,
        other => panic!("{other:?}"),
    }
}

/// The waits of so many tries one after the other, each after the wait of the one before.
async fn waits(service: &Scripted, source: &KinesisSource, tries: usize) -> Vec<Duration> {
    let mut waits = Vec::new();
    for _ in 0..tries {
        let wait = refused(service, source).await;
        tokio::time::sleep(wait).await;
        waits.push(wait);
    }
    waits
}

#[tokio::test(start_paused = true)]
async fn a_subscription_refused_again_and_again_is_tried_ever_more_rarely_up_to_a_bound() {
    let service = Scripted::new(Tells::Every(Duration::from_secs(1)));
    let source = service.pushed(1);
    let waits = waits(&service, &source, 20).await;
    // As long as a single young subscription explains it, tries are a second apart at most.
    let mut spent = Duration::ZERO;
    let since = |wait: &&Duration| {
        let is_young = spent < Duration::from_secs(5);
        spent += **wait;
        is_young
    };
    let young: Vec<_> = waits.iter().take_while(since).copied().collect();
    let usual = Duration::from_millis(500)..=Duration::from_secs(1);
    assert!(young.iter().all(|wait| usual.contains(wait)), "{waits:?}");
    let mut longest = Duration::from_secs(1);
    for wait in &waits[young.len()..] {
        longest = (longest * 2).min(LONGEST);
        // With jitter: half to all of it.
        assert!((longest / 2..=longest).contains(wait), "{wait:?} of {longest:?}: {waits:?}");
    }
    assert_eq!(longest, LONGEST, "{waits:?}");
    assert!(waits[15..].windows(2).any(|pair| pair[0] != pair[1]), "no jitter: {waits:?}");
    assert_eq!(source.counters().throttled, 20);
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_was_free_for_long_is_tried_often_again() {
    let service = Scripted::new(Tells::Every(Duration::from_secs(1)));
    let source = service.pushed(1);
    assert!(waits(&service, &source, 20).await[19] > Duration::from_secs(10));
    let mut reader = source.open(&first_shard(), ReadFrom::TrimHorizon).await.unwrap();
    let until = service.clock.monotonic() + 2 * MINUTE;
    while service.clock.monotonic() < until {
        reader.next(LIMIT).await.unwrap();
    }
    assert!(refused(&service, &source).await <= Duration::from_secs(1));
}

/// An application that reads the shard to so many records, and the waits it was told to take.
fn application(
    api: &Arc<OnEngine>,
    seed: u64,
    records: usize,
) -> JoinHandle<(Vec<Duration>, Vec<u8>)> {
    let clock = api.clock;
    let source = KinesisSource::builder_over(Arc::clone(api) as _).clock(Arc::new(clock));
    let source = source.seed(seed).fan_out(FanOut::register("shared")).build();
    tokio::spawn(async move {
        let (mut waits, mut seen) = (Vec::new(), Vec::new());
        let mut reader: Option<Box<dyn ShardReader>> = None;
        while seen.len() < records {
            let answer = match &mut reader {
                None => {
                    let opened = source.open(&first_shard(), ReadFrom::TrimHorizon).await;
                    opened.map(|opened| {
                        reader = Some(opened);
                        ReadOutcome::CaughtUp
                    })
                }
                Some(reader) => reader.next(LIMIT).await,
            };
            match answer {
                Ok(ReadOutcome::Records { records, .. }) => {
                    seen.extend(records.iter().map(|record| record.data[0]));
                }
                Ok(_) => {}
                Err(SourceError::Throttled { retry_after }) => {
                    waits.push(retry_after);
                    clock.sleep(retry_after).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
        (waits, seen)
    })
}

fn stream(clock: TokioClock) -> Stream {
    let engine = Engine::new(Arc::new(clock));
    engine.create_stream("s", 1, StreamOptions::default()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn two_with_one_consumer_take_the_shard_from_each_other_ever_more_rarely_and_both_read_all() {
    const RECORDS: u8 = 60;
    let clock = TokioClock::starting_at(0);
    let stream = stream(clock);
    let api = OnEngine::new(stream.clone(), clock, Arc::new(Rolls::default()));
    let both = [1, 2].map(|seed| application(&api, seed, usize::from(RECORDS)));
    for number in 0..RECORDS {
        stream.put(NewRecord::new("key", vec![number])).unwrap();
        tokio::time::sleep(MINUTE / 4).await;
    }
    for application in both {
        let read = tokio::time::timeout(5 * MINUTE, application).await;
        let (waits, seen) = read.expect("within the longest wait").unwrap();
        assert_eq!(seen, (0..RECORDS).collect::<Vec<_>>(), "no gap, no repeat");
        assert!(waits.iter().all(|wait| *wait <= LONGEST), "{waits:?}");
        let late = &waits[waits.len() / 2..];
        assert!(late.len() > 3, "a rival that stays: {waits:?}");
        assert!(late.iter().all(|wait| *wait >= LONGEST / 2), "{waits:?}");
        assert!(waits[0] <= Duration::from_secs(11), "{waits:?}");
    }
}
