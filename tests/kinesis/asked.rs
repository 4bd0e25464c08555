//! What a pushed reader takes from its subscription, when it takes another, and what it says of one
//! that fails: on a scripted service.

use std::sync::atomic::Ordering;
use std::time::Duration;

use kcl_core::protocol::{Moment, Position};
use kcl_core::{Clock, ReadFrom, ReadOutcome, SourceError, StreamSource};
use tracing::level_filters::LevelFilter;

use crate::log::Log;
use crate::pushed::{LIMIT, first_shard};
use crate::scripted::{Scripted, Tells, event, in_use, record, throttled};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn no_event_is_taken_from_a_subscription_before_the_reader_is_asked() {
    let service = Scripted::new(Tells::Every(Duration::ZERO));
    let source = service.pushed(1);
    let mut reader = source.open(&first_shard(), ReadFrom::TrimHorizon).await.unwrap();
    for asked in 0..5 {
        tokio::time::sleep(5 * SECOND).await;
        assert_eq!(service.taken(), asked);
        let outcome = reader.next(LIMIT).await.unwrap();
        assert!(matches!(outcome, ReadOutcome::Records { .. }), "{outcome:?}");
    }
}

/// When the subscriptions of ten minutes began, of a reader that is asked every second at least.
async fn subscribed(tells: Tells, seed: u64) -> Vec<Moment> {
    let service = Scripted::new(tells);
    let source = service.pushed(seed);
    let begun = service.clock.monotonic();
    let mut reader = source.open(&first_shard(), ReadFrom::TrimHorizon).await.unwrap();
    while service.clock.monotonic().since(begun) < 600 * SECOND {
        let outcome = reader.next(LIMIT).await.unwrap();
        assert!(matches!(outcome, ReadOutcome::Records { .. }), "{outcome:?}");
        tokio::time::sleep(SECOND / 2).await;
    }
    let seen = service.seen.lock().unwrap();
    seen.subscribed.iter().map(|(at, _)| *at).collect()
}

#[tokio::test(start_paused = true)]
async fn a_subscription_is_replaced_within_280_s_also_where_an_event_is_always_there() {
    let mut firsts = Vec::new();
    for seed in 0..20 {
        for every in [Duration::ZERO, SECOND / 2] {
            let at = subscribed(Tells::Every(every), seed).await;
            assert_eq!(at.len(), 3, "{at:?}");
            for pair in at.windows(2) {
                let life = pair[1].since(pair[0]);
                assert!((240 * SECOND..=281 * SECOND).contains(&life), "seed {seed}: {life:?}");
            }
            firsts.push(at[1].since(at[0]));
        }
    }
    let spread = *firsts.iter().max().unwrap() - *firsts.iter().min().unwrap();
    assert!(spread > 20 * SECOND, "not all at once: {spread:?}");
}

#[tokio::test(start_paused = true)]
async fn a_subscription_without_an_event_for_30_s_is_dead_and_the_next_begins_after_the_last() {
    let service = Scripted::new(Tells::These(vec![event(7)]));
    let source = service.pushed(1);
    let mut reader = source.open(&first_shard(), ReadFrom::TrimHorizon).await.unwrap();
    let outcome = reader.next(LIMIT).await.unwrap();
    assert!(matches!(outcome, ReadOutcome::Records { .. }), "{outcome:?}");
    let silent_since = service.clock.monotonic();
    let error = tokio::time::timeout(60 * SECOND, reader.next(LIMIT)).await.unwrap().unwrap_err();
    assert!(matches!(error, SourceError::Unavailable(_)), "{error:?}");
    let silent = service.clock.monotonic().since(silent_since);
    assert!((30 * SECOND..31 * SECOND).contains(&silent), "{silent:?}");
    *service.tells.lock().unwrap() = Tells::These(vec![event(8)]);
    let ReadOutcome::Records { records, .. } = reader.next(LIMIT).await.unwrap() else { panic!() };
    assert_eq!(records, [record(8)]);
    let begun: Vec<_> = service.seen.lock().unwrap().subscribed.iter().map(|it| it.1).collect();
    let last: Position = record(7).position;
    assert_eq!(begun, [ReadFrom::TrimHorizon, ReadFrom::After(last)]);
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_cannot_be_opened_is_told_once_and_once_when_it_can() {
    let (log, _logging) = Log::of_this_thread(LevelFilter::INFO);
    let service = Scripted::new(Tells::Every(Duration::ZERO));
    let source = service.pushed(1);
    let count = |word: &str| log.text().matches(word).count();
    for round in 1..=2 {
        let lost = SourceError::Unavailable("a reset connection".into());
        let failures = [in_use(), in_use(), lost.into(), in_use()];
        service.subscriptions.lock().unwrap().extend(failures);
        for _ in 0..4 {
            assert!(source.open(&first_shard(), ReadFrom::TrimHorizon).await.is_err());
            source.list_shards().await.unwrap();
        }
        assert_eq!(count("WARN"), round, "four tries are one state");
        let mut reader = source.open(&first_shard(), ReadFrom::TrimHorizon).await.unwrap();
        reader.next(LIMIT).await.unwrap();
        assert_eq!(count("subscribed again"), round);
    }
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_left_while_it_could_not_be_opened_is_told_again_when_it_comes_back_so() {
    let (log, _logging) = Log::of_this_thread(LevelFilter::INFO);
    let service = Scripted::new(Tells::Every(Duration::ZERO));
    let source = service.pushed(1);
    for time in 1..=3 {
        // Tries may be half a minute apart.
        for _ in 0..4 {
            service.subscriptions.lock().unwrap().push_back(in_use());
            assert!(source.open(&first_shard(), ReadFrom::TrimHorizon).await.is_err());
            source.list_shards().await.unwrap();
            tokio::time::sleep(30 * SECOND).await;
        }
        assert_eq!(log.text().matches("WARN").count(), time, "{}", log.text());
        tokio::time::sleep(600 * SECOND).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_panics_is_a_failed_one_and_not_followed_by_the_next_at_once() {
    let service = Scripted::new(Tells::These(vec![event(1)]));
    let source = service.pushed(1);
    service.panics.store(1, Ordering::SeqCst);
    let opened = source.open(&first_shard(), ReadFrom::TrimHorizon).await;
    assert!(matches!(opened.err(), Some(SourceError::Unavailable(_))));
    let mut reader = source.open(&first_shard(), ReadFrom::TrimHorizon).await.unwrap();
    assert!(matches!(reader.next(LIMIT).await, Ok(ReadOutcome::Records { .. })));
    service.panics.store(3, Ordering::SeqCst);
    *service.tells.lock().unwrap() = Tells::These(vec![event(2)]);
    // The first is for its silence.
    for _ in 0..4 {
        let failed = reader.next(LIMIT).await;
        assert!(matches!(failed, Err(SourceError::Unavailable(_))), "{failed:?}");
    }
    let ReadOutcome::Records { records, .. } = reader.next(LIMIT).await.unwrap() else { panic!() };
    assert_eq!(records, [record(2)]);
}

#[tokio::test(start_paused = true)]
async fn another_subscription_is_blamed_for_what_it_does_alone() {
    let (log, _logging) = Log::of_this_thread(LevelFilter::WARN);
    let service = Scripted::new(Tells::Every(SECOND));
    for (refusal, is_blamed) in [(throttled().into(), false), (in_use(), true)] {
        service.subscriptions.lock().unwrap().push_back(refusal);
        let source = service.pushed(1);
        let refused = source.open(&first_shard(), ReadFrom::TrimHorizon).await.err().unwrap();
        assert!(matches!(refused, SourceError::Throttled { .. }), "{refused:?}");
        assert_eq!(source.counters().throttled, 1);
        assert_eq!(log.text().contains("two applications use one consumer"), is_blamed);
        assert!(log.text().contains("WARN"), "{}", log.text());
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_in_place_of_a_young_one_waits_until_the_service_takes_it_and_says_nothing() {
    let (log, _logging) = Log::of_this_thread(LevelFilter::INFO);
    let service = Scripted::new(Tells::Every(SECOND));
    let source = service.pushed(1);
    for _ in 0..4 {
        // Dropped, as by a worker whose batch has failed.
        let mut reader = source.open(&first_shard(), ReadFrom::TrimHorizon).await.unwrap();
        reader.next(LIMIT).await.unwrap();
    }
    let begun: Vec<_> = service.seen.lock().unwrap().subscribed.iter().map(|it| it.0).collect();
    for pair in begun.windows(2) {
        let apart = pair[1].since(pair[0]);
        assert!((5 * SECOND..6 * SECOND).contains(&apart), "{apart:?}");
    }
    assert_eq!((source.counters().throttled, log.text().as_str()), (0, ""));
}

#[tokio::test(start_paused = true)]
async fn a_slow_processor_is_no_trouble_to_warn_of() {
    let (log, _logging) = Log::of_this_thread(LevelFilter::INFO);
    let service = Scripted::new(Tells::Every(SECOND));
    let source = service.pushed(1);
    let mut reader = source.open(&first_shard(), ReadFrom::TrimHorizon).await.unwrap();
    for _ in 0..60 {
        let outcome = reader.next(LIMIT).await.unwrap();
        assert!(matches!(outcome, ReadOutcome::Records { .. }), "{outcome:?}");
        tokio::time::sleep(60 * SECOND).await;
    }
    assert_eq!(source.counters().stalled, 60, "each subscription was given up meanwhile");
    assert_eq!(log.text(), "");
}
