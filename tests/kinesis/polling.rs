//! The Kinesis source by polling, through the endpoint: the conformance suite of every source.

use std::sync::Arc;
use std::time::Duration;

use kcl_core::{Clock, ReadFrom, ReadOutcome, SourceError, StreamSource, SystemClock};
use kcl_stream_kinesis::{KinesisSource, StreamRef};

use crate::harness::{Way, put, served};
use crate::local;
use crate::pushed::{LIMIT, first_shard};

kcl_testkit::stream_source_suite!(served(Way::Polling).await);

#[tokio::test]
async fn a_stream_describes_itself_and_an_unknown_one_is_not_found() {
    let endpoint = local::endpoint(3).await;
    let client = local::client(&endpoint);
    let source = KinesisSource::builder(client.clone(), "s").build();
    let described = source.describe().await.unwrap();
    assert_eq!(described.name.as_str(), "s");
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

#[tokio::test]
async fn a_stream_id_is_not_taken_for_a_name() {
    let endpoint = local::endpoint(1).await;
    let client = local::client(&endpoint);
    let text = "abcdefghij0123456789-abc";
    client.create_stream().stream_name(text).shard_count(1).send().await.unwrap();
    assert!(KinesisSource::builder(client.clone(), text).build().describe().await.is_ok());
    let by_id = KinesisSource::builder(client, StreamRef::Id(text.to_owned())).build();
    assert!(by_id.describe().await.is_err());
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
