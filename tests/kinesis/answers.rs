//! What both kinds of readers make of answers: the end of a shard, refusals for the rate. On a
//! scripted service.

use std::time::Duration;

use kcl_core::{Clock, ReadFrom, ReadOutcome, Shard, SourceError, StreamSource};
use kcl_stream_kinesis::api::{Event, Page, ReadError};
use tracing::level_filters::LevelFilter;

use crate::log::Log;
use crate::pushed::{LIMIT, first_shard};
use crate::scripted::{Scripted, Tells, child, event, listed, record, throttled};

/// The end of the shard, where nothing can be listed.
async fn ends(is_pushed: bool) {
    let last = Event { passed: None, children: vec![child()], ..event(2) };
    let service = Scripted::new(Tells::These(vec![event(1), last]));
    let page = |number, next: Option<&str>, children| {
        let next = next.map(str::to_owned);
        Ok(Page { records: vec![record(number)], behind_millis: 0, next, children })
    };
    let pages = [page(1, Some("further"), Vec::new()), page(2, None, vec![child()])];
    service.pages.lock().unwrap().extend(pages);
    let unlisted = || Err(SourceError::Refused("nobody may list".into()));
    service.listings.lock().unwrap().extend([unlisted(), unlisted()]);
    let source = if is_pushed { service.pushed(1) } else { service.polled() };
    let mut reader = source.open(&first_shard(), ReadFrom::TrimHorizon).await.unwrap();
    let (mut records, end) = (Vec::new(), ReadOutcome::ShardEnd { children: vec![child()] });
    loop {
        match reader.next(LIMIT).await.unwrap() {
            ReadOutcome::Records { records: more, .. } => records.extend(more),
            outcome => break assert_eq!(outcome, end),
        }
    }
    assert_eq!(records, [record(1), record(2)]);
    assert_eq!(reader.next(LIMIT).await.unwrap(), end, "and again");
}

#[tokio::test(start_paused = true)]
async fn the_children_of_a_polled_shard_are_those_its_last_page_names() {
    ends(false).await;
}

#[tokio::test(start_paused = true)]
async fn the_children_of_a_pushed_shard_are_those_its_last_event_names() {
    ends(true).await;
}

/// The last page, which names no children.
fn closed_page() -> Page {
    Page { records: Vec::new(), behind_millis: 0, next: None, children: Vec::new() }
}

/// The children that are told of the first shard by the first listing that has them all; those
/// before are to be taken for unfinished.
async fn children_by(is_pushed: bool, listings: &[Vec<Shard>]) -> Vec<String> {
    let last = Event { records: Vec::new(), passed: None, ..event(1) };
    let service = Scripted::new(Tells::These(vec![last]));
    service.pages.lock().unwrap().push_back(Ok(closed_page()));
    service.listings.lock().unwrap().extend(listings.iter().cloned().map(Ok));
    let source = if is_pushed { service.pushed(1) } else { service.polled() };
    let mut reader = source.open(&first_shard(), ReadFrom::TrimHorizon).await.unwrap();
    for unfinished in &listings[..listings.len() - 1] {
        let told = reader.next(LIMIT).await;
        assert!(matches!(told, Err(SourceError::Unavailable(_))), "{unfinished:?}: {told:?}");
    }
    let ReadOutcome::ShardEnd { children } = reader.next(LIMIT).await.unwrap() else { panic!() };
    children.into_iter().map(|child| child.id.as_str().to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_listing_is_asked_for_again_until_it_has_all_children() {
    let parent = || listed(0, &[]);
    let split = [
        vec![parent()],
        vec![parent(), listed(1, &[0])],
        vec![parent(), listed(1, &[0]), listed(2, &[0])],
    ];
    let merge = [vec![parent(), listed(1, &[])], vec![parent(), listed(2, &[0, 1])]];
    for is_pushed in [false, true] {
        let of_split = children_by(is_pushed, &split).await;
        assert_eq!(of_split, ["shardId-000000000001", "shardId-000000000002"]);
        assert_eq!(children_by(is_pushed, &merge).await, ["shardId-000000000002"]);
    }
}

#[tokio::test(start_paused = true)]
async fn of_a_shard_past_retention_the_children_are_those_that_are_left() {
    let left = [vec![listed(2, &[0])]];
    for is_pushed in [false, true] {
        assert_eq!(children_by(is_pushed, &left).await, ["shardId-000000000002"]);
    }
}

/// A polled shard that is given these places, and these pages before all others, is closed: it ends
/// with the first listing that has its children.
async fn is_closed(places: Vec<Option<String>>, pages: Vec<Result<Page, ReadError>>) {
    let service = Scripted::new(Tells::These(Vec::new()));
    service.iterators.lock().unwrap().extend(places.into_iter().map(Ok));
    service.pages.lock().unwrap().extend(pages);
    let whole = [listed(0, &[]), listed(1, &[0]), listed(2, &[0])];
    service.listings.lock().unwrap().extend([Ok(whole[..1].to_vec()), Ok(whole.to_vec())]);
    let from = ReadFrom::After(record(7).position);
    let mut reader = service.polled().open(&first_shard(), from).await.unwrap();
    let told = reader.next(LIMIT).await;
    assert!(matches!(told, Err(SourceError::Unavailable(_))), "not listed yet: {told:?}");
    let ReadOutcome::ShardEnd { children } = reader.next(LIMIT).await.unwrap() else { panic!() };
    assert_eq!(children.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_shard_of_which_no_place_is_given_is_closed() {
    is_closed(vec![None], Vec::new()).await;
}

#[tokio::test(start_paused = true)]
async fn a_shard_whose_lost_place_is_not_given_again_is_closed() {
    is_closed(vec![Some("old".into()), None], vec![Err(SourceError::Expired.into())]).await;
}

fn place_refused<T>() -> Result<T, ReadError> {
    Err(ReadError::PlaceRefused("an argument was bad".into()))
}

#[tokio::test(start_paused = true)]
async fn a_place_that_is_refused_is_taken_up_after_the_last_record() {
    let service = Scripted::new(Tells::These(Vec::new()));
    let mut reader = service.polled().open(&first_shard(), ReadFrom::TrimHorizon).await.unwrap();
    for _ in 0..3 {
        service.pages.lock().unwrap().push_back(place_refused());
        let outcome = reader.next(LIMIT).await.unwrap();
        assert!(matches!(outcome, ReadOutcome::Records { .. }), "{outcome:?}");
    }
    let (begun, after) = (ReadFrom::TrimHorizon, ReadFrom::After(record(1).position));
    assert_eq!(service.seen.lock().unwrap().places, [begun, begun, after, after]);
}

#[tokio::test(start_paused = true)]
async fn a_new_place_that_is_refused_too_is_refused_with_the_reason() {
    let service = Scripted::new(Tells::These(Vec::new()));
    service.pages.lock().unwrap().extend([place_refused(), place_refused()]);
    let mut reader = service.polled().open(&first_shard(), ReadFrom::TrimHorizon).await.unwrap();
    let refused = reader.next(LIMIT).await.unwrap_err();
    assert_eq!(refused, SourceError::Refused("an argument was bad".into()));
    assert_eq!(service.seen.lock().unwrap().places.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn reads_refused_for_the_rate_are_one_line_of_the_log_and_one_more_when_they_go_on() {
    let (log, _logging) = Log::of_this_thread(LevelFilter::INFO);
    let count = |word: &str| log.text().matches(word).count();
    let service = Scripted::new(Tells::These(Vec::new()));
    let source = service.polled();
    let mut reader = source.open(&first_shard(), ReadFrom::TrimHorizon).await.unwrap();
    for round in 1..=2 {
        service.pages.lock().unwrap().extend((0..10).map(|_| Err(throttled().into())));
        for _ in 0..10 {
            let refused = reader.next(LIMIT).await.unwrap_err();
            let SourceError::Throttled { retry_after } = refused else { panic!("{refused:?}") };
            tokio::time::sleep(retry_after).await;
        }
        assert_eq!((count("WARN"), count("INFO")), (round, round - 1), "{}", log.text());
        let whole = service.clock.monotonic() + Duration::from_secs(100);
        while service.clock.monotonic() < whole {
            reader.next(LIMIT).await.unwrap();
        }
        assert_eq!((count("WARN"), count("INFO")), (round, round), "{}", log.text());
    }
    assert_eq!(source.counters().throttled, 20);
}

#[tokio::test(start_paused = true)]
async fn whatever_is_refused_for_the_rate_is_counted() {
    let service = Scripted::new(Tells::Every(Duration::ZERO));
    let (polled, pushed) = (service.polled(), service.pushed(1));
    service.iterators.lock().unwrap().push_back(Err(throttled()));
    assert!(polled.open(&first_shard(), ReadFrom::TrimHorizon).await.is_err());
    assert_eq!(polled.counters().throttled, 1, "an iterator");
    service.listings.lock().unwrap().push_back(Err(throttled()));
    assert!(polled.list_shards().await.is_err());
    assert_eq!(polled.counters().throttled, 2, "a listing");
    let mut reader = polled.open(&first_shard(), ReadFrom::TrimHorizon).await.unwrap();
    service
        .pages
        .lock()
        .unwrap()
        .extend([throttled(), SourceError::Expired].map(|error| Err(error.into())));
    assert!(reader.next(LIMIT).await.is_err());
    assert_eq!(polled.counters().throttled, 3, "a read");
    service.iterators.lock().unwrap().push_back(Err(throttled()));
    assert!(reader.next(LIMIT).await.is_err());
    assert_eq!(polled.counters().throttled, 4, "an iterator in place of a lost one");
    service.pages.lock().unwrap().push_back(Ok(closed_page()));
    service.listings.lock().unwrap().push_back(Err(throttled()));
    assert!(reader.next(LIMIT).await.is_err());
    assert_eq!(polled.counters().throttled, 5, "the shards that follow");
    service.subscriptions.lock().unwrap().push_back(throttled().into());
    assert!(pushed.open(&first_shard(), ReadFrom::TrimHorizon).await.is_err());
    assert_eq!(pushed.counters().throttled, 1, "a subscription");
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_for_the_rate_together_comes_again_apart() {
    let service = Scripted::new(Tells::Every(Duration::ZERO));
    let polled = service.polled();
    service.iterators.lock().unwrap().extend((0..100).map(|_| Err(throttled())));
    let mut waits = Vec::new();
    for _ in 0..100 {
        match polled.open(&first_shard(), ReadFrom::TrimHorizon).await.err() {
            Some(SourceError::Throttled { retry_after }) => waits.push(retry_after.as_secs_f64()),
            other => panic!("{other:?}"),
        }
    }
    waits.sort_by(f64::total_cmp);
    assert!((1.0..1.1).contains(&waits[0]) && (1.9..=2.0).contains(&waits[99]), "{waits:?}");
    assert!(waits.windows(2).all(|pair| pair[1] - pair[0] < 0.1), "{waits:?}");
}

/// By the defaults, of pages that say how far behind they are.
async fn reads_in_a_minute(behind_millis: u64) -> u64 {
    let service = Scripted::new(Tells::Every(Duration::ZERO));
    let page = |number| {
        let (records, next) = (vec![record(number)], Some("further".to_owned()));
        Ok(Page { records, behind_millis, next, children: Vec::new() })
    };
    service.pages.lock().unwrap().extend((1..=400).map(page));
    let source = service.polled();
    let begun = service.clock.monotonic();
    let mut reader = source.open(&first_shard(), ReadFrom::TrimHorizon).await.unwrap();
    while service.clock.monotonic().since(begun) < Duration::from_secs(60) {
        reader.next(LIMIT).await.unwrap();
    }
    source.counters().reads
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_is_behind_reads_as_often_as_the_service_allows_and_one_at_the_tip_idles() {
    let (behind, at_the_tip) = (reads_in_a_minute(1).await, reads_in_a_minute(0).await);
    assert!((299..=301).contains(&behind), "five a second: {behind}");
    assert!((239..=241).contains(&at_the_tip), "four a second: {at_the_tip}");
}
