//! The Kinesis source by polling, through the endpoint: the conformance suite of every source.

use std::sync::Arc;
use std::time::Duration;

use kcl_core::{Clock, ReadFrom, ReadLimit, ReadOutcome, SourceError, StreamSource, SystemClock};
use kcl_producer::{KinesisSink, PutSink};
use kcl_stream_kinesis::{FanOut, KinesisSource, StreamRef};

use crate::harness::{Way, put, served};
use crate::local;
use crate::pushed::{LIMIT, first_shard};

kcl_testkit::stream_source_suite!(served(Way::Polling).await);

/// The same within the service's rates.
mod within_limits {
    use crate::harness::{Way, throttled};

    kcl_testkit::stream_source_suite!(throttled(Way::Polling).await);
}

/// The same on `kcl serve`, a process of its own that keeps the service's rates.
mod on_kcl_serve {
    use crate::harness::{Way, by_program};

    kcl_testkit::stream_source_suite!(by_program(Way::Polling).await);
}

#[tokio::test]
async fn a_stream_describes_itself_and_an_unknown_one_is_not_found() {
    let endpoint = local::endpoint(3).await;
    let client = local::client(&endpoint);
    let source = KinesisSource::builder(client.clone(), "s").build();
    let described = source.describe().await.unwrap();
    assert_eq!(described.name.as_str(), "arn:aws:kinesis:us-east-1:000000000000:stream/s");
    assert!(described.lease_prefix.starts_with("000000000000:s:"), "{described:?}");
    let ahead = described.service_time_millis.abs_diff(SystemClock.wall_millis());
    assert!(ahead < 60_000, "the service's own time");
    assert_eq!(source.list_shards().await.unwrap().len(), 3);
    let arn = "arn:aws:kinesis:us-east-1:000000000000:stream/s";
    let by_arn = KinesisSource::builder(client.clone(), arn).build();
    assert_eq!(by_arn.list_shards().await.unwrap().len(), 3);
    let unknown = KinesisSource::builder(client, "nowhere").build();
    assert_eq!(
        unknown.describe().await.unwrap_err(),
        SourceError::NotFound("stream nowhere".to_owned())
    );
}

/// Room for one record of the tests below, and not for two.
const NARROW: ReadLimit = ReadLimit { records: 100, bytes: 1_500 };

/// The reads it took, and the most records that it held.
async fn holds_what_it_did_not_return(fan_out: Option<FanOut>) -> (u64, usize) {
    let endpoint = local::endpoint(1).await;
    let client = local::client(&endpoint);
    for _ in 0..5 {
        put(&client, 0, &[0; 1_000]).await;
    }
    let builder = KinesisSource::builder(client, "s").unlimited();
    let source = match fan_out {
        Some(consumer) => builder.fan_out(consumer).build(),
        None => builder.build(),
    };
    let mut reader = source.open(&first_shard(), ReadFrom::TrimHorizon).await.unwrap();
    assert_eq!(reader.held(), ReadLimit { records: 0, bytes: 0 });
    let (mut returned, mut most) = (0, 0);
    while returned < 5 {
        let outcome = reader.next(NARROW).await.unwrap();
        let ReadOutcome::Records { records, .. } = outcome else { panic!("{outcome:?}") };
        returned += records.len();
        let held = reader.held();
        assert_eq!(held.bytes, held.records * (1_000 + "key".len()));
        most = most.max(held.records);
        let counters = source.counters();
        assert_eq!(counters.records as usize, returned + held.records, "nothing else is in memory");
    }
    assert_eq!(reader.held().records, 0);
    (source.counters().reads, most)
}

#[tokio::test]
async fn a_polled_reader_reads_no_more_than_is_asked_for_and_tells_what_it_holds() {
    assert_eq!(holds_what_it_did_not_return(None).await, (5, 0), "one record a read");
}

#[tokio::test]
async fn a_pushed_reader_tells_what_it_holds_of_an_event() {
    let (_, most) = holds_what_it_did_not_return(Some(FanOut::register("app"))).await;
    assert!(most > 0, "more came than was returned");
}

#[tokio::test]
async fn a_stream_id_is_not_taken_for_a_name() {
    let endpoint = local::endpoint(1).await;
    let client = local::client_by_id(&endpoint);
    let text = "abcdefghij0123456789-abc";
    client.create_stream().stream_name(text).shard_count(1).send().await.unwrap();
    assert!(KinesisSource::builder(client.clone(), text).build().describe().await.is_ok());
    let by_id = KinesisSource::builder(client, StreamRef::Id(text.to_owned())).build();
    let unknown = by_id.describe().await.unwrap_err();
    assert_eq!(unknown, SourceError::NotFound(format!("stream {text}")));
}

#[tokio::test]
async fn a_place_lost_to_age_is_taken_up_after_the_last_record() {
    let (endpoint, clock) = local::limited(1, Duration::ZERO).await;
    let client = local::client(&endpoint);
    let source = KinesisSource::builder(client.clone(), "s").clock(Arc::new(clock.clone()));
    let source = source.build();
    put(&client, 0, b"a").await;
    let mut reader = source.open(&first_shard(), ReadFrom::TrimHorizon).await.unwrap();
    for (number, text) in [b"a", b"b", b"c"].into_iter().enumerate() {
        if number > 0 {
            clock.by(Duration::from_secs(301));
            put(&client, 0, text).await;
        }
        // Reads are apart on the same clock, which stands still by itself.
        let passing = async {
            loop {
                SystemClock.sleep(Duration::from_millis(5)).await;
                clock.by(Duration::from_millis(100));
            }
        };
        let records = tokio::select! { biased;
            outcome = reader.next(LIMIT) => match outcome.unwrap() {
                ReadOutcome::Records { records, .. } => records,
                other => panic!("{other:?}: a record was put"),
            },
            () = passing => Vec::new(),
        };
        assert_eq!(records.len(), 1, "none twice");
        assert_eq!(&records[0].data[..], text);
    }
    let counters = source.counters();
    assert_eq!((counters.expired, counters.reopened, counters.records), (2, 2, 3));
}

#[tokio::test]
async fn two_that_ask_more_than_a_shard_gives_are_throttled_and_each_has_every_record_once() {
    let (endpoint, clock) = local::limited(1, Duration::ZERO).await;
    let client = local::client(&endpoint);
    for number in 0..20u8 {
        put(&client, 0, &[number]).await;
    }
    let application = || {
        let builder = KinesisSource::builder(client.clone(), "s").records_per_read(1);
        builder.clock(Arc::new(clock.clone())).build()
    };
    let drain = async |source: &KinesisSource| {
        let mut reader = source.open(&first_shard(), ReadFrom::TrimHorizon).await.unwrap();
        let mut seen = Vec::new();
        while seen.len() < 20 {
            match reader.next(LIMIT).await {
                Ok(ReadOutcome::Records { records, .. }) => {
                    seen.extend(records.iter().map(|record| record.data[0]));
                }
                Err(SourceError::Throttled { retry_after }) => clock.sleep(retry_after).await,
                other => panic!("{other:?}"),
            }
        }
        seen
    };
    let passing = async {
        loop {
            SystemClock.sleep(Duration::from_millis(2)).await;
            clock.by(Duration::from_millis(20));
        }
    };
    let sources = [application(), application()];
    let drained = async { tokio::join!(drain(&sources[0]), drain(&sources[1])) };
    let seen = tokio::select! { biased;
        seen = tokio::time::timeout(Duration::from_secs(60), drained) => seen.unwrap(),
        () = passing => unreachable!("it never ends"),
    };
    let all: Vec<u8> = (0..20).collect();
    assert_eq!(seen, (all.clone(), all));
    let throttled: u64 = sources.iter().map(|source| source.counters().throttled).sum();
    assert!(throttled > 0, "together they ask for ten reads a second");
}

#[tokio::test]
async fn shards_are_listed_page_by_page() {
    let endpoint = local::endpoint(1_100).await;
    let client = local::client(&endpoint);
    let source = KinesisSource::builder(client.clone(), "s").build();
    let listed = source.list_shards().await.unwrap();
    assert_eq!(listed.len(), 1_100);
    assert!(listed.is_sorted_by(|a, b| a.id < b.id), "each once, in order");
    let sink = KinesisSink::new(&client, "s");
    let mut known: Vec<_> =
        sink.list_shards().await.unwrap().into_iter().map(|shard| shard.id).collect();
    known.sort();
    assert_eq!(known, listed.into_iter().map(|shard| shard.id).collect::<Vec<_>>());
}
