//! The Kinesis source by fan-out, through the endpoint: the conformance suite of every source, and
//! what only subscriptions have.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_kinesis::Client;
use kcl_core::protocol::ShardId;
use kcl_core::{ReadFrom, ReadLimit, ReadOutcome, ShardReader, SourceError, StreamSource};
use kcl_endpoint::Endpoint;
use kcl_stream_kinesis::{FanOut, KinesisSource};

use crate::harness::{Way, put, served};
use crate::local::{self, Forward};

kcl_testkit::stream_source_suite!(served(Way::FanOut).await);

/// The same within the service's rates.
mod within_limits {
    use crate::harness::{Way, throttled};

    kcl_testkit::stream_source_suite!(throttled(Way::FanOut).await);
}

/// The same on `kcl serve`, a process of its own that keeps the service's rates.
mod on_kcl_serve {
    use crate::harness::{Way, by_program};

    kcl_testkit::stream_source_suite!(by_program(Way::FanOut).await);
}

pub const LIMIT: ReadLimit = ReadLimit { records: 100, bytes: 1 << 20 };
const ARN: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/s";

pub fn first_shard() -> ShardId {
    ShardId::new("shardId-000000000000")
}

/// An endpoint and a source on one clock.
async fn on_one_clock() -> (Endpoint, Forward, Client, KinesisSource) {
    let (endpoint, clock) = local::limited(1, Duration::ZERO).await;
    let client = local::client(&endpoint);
    let source = KinesisSource::builder(client.clone(), "s").clock(Arc::new(clock.clone()));
    let source = source.fan_out(FanOut::register("app")).build();
    (endpoint, clock, client, source)
}

/// The first bytes of so many records, as they come.
pub async fn take(reader: &mut dyn ShardReader, count: usize) -> Vec<u8> {
    let mut taken = Vec::new();
    while taken.len() < count {
        if let ReadOutcome::Records { records, .. } = reader.next(LIMIT).await.unwrap() {
            taken.extend(records.iter().map(|record| record.data[0]));
        }
    }
    taken
}

#[tokio::test]
async fn a_subscription_is_renewed_before_its_time_is_up_without_a_gap_or_a_repeat() {
    let (_endpoint, clock, client, source) = on_one_clock().await;
    let mut reader = source.open(&first_shard(), ReadFrom::TrimHorizon).await.unwrap();
    for number in 0..88u8 {
        // Asked all the time, as a worker with room does.
        let passing = async {
            clock.by(Duration::from_secs(10));
            put(&client, 0, &[number]).await;
        };
        assert_eq!(tokio::join!(take(&mut *reader, 1), passing).0, [number]);
    }
    let counters = source.counters();
    assert_eq!((counters.records, counters.throttled), (88, 0));
    assert_eq!(counters.reopened, 3, "the service ends two in 880 s: {counters:?}");
}

#[tokio::test]
async fn a_subscription_of_the_same_consumer_takes_over_and_the_first_goes_on_when_asked() {
    let (_endpoint, clock, client, source) = on_one_clock().await;
    put(&client, 0, &[0]).await;
    let mut first = source.open(&first_shard(), ReadFrom::TrimHorizon).await.unwrap();
    assert_eq!(take(&mut *first, 1).await, [0]);
    // Of another worker: the source that has the first knows to wait.
    let other = KinesisSource::builder(client.clone(), "s").clock(Arc::new(clock.clone()));
    let other = other.fan_out(FanOut::register("app")).build();
    let early = other.open(&first_shard(), ReadFrom::TrimHorizon).await;
    assert!(matches!(early.err(), Some(SourceError::Throttled { .. })), "too young to be ended");
    clock.by(Duration::from_secs(5));
    let mut second = other.open(&first_shard(), ReadFrom::TrimHorizon).await.unwrap();
    put(&client, 0, &[1]).await;
    assert_eq!(take(&mut *second, 2).await, [0, 1]);
    let ended = loop {
        match first.next(LIMIT).await {
            Ok(outcome) => assert_eq!(outcome, ReadOutcome::CaughtUp, "the first gets no more"),
            Err(error) => break error,
        }
    };
    let SourceError::Throttled { retry_after } = ended else { panic!("{ended:?}") };
    assert!(retry_after >= Duration::from_secs(5), "the second is safe for five seconds");
    clock.by(retry_after);
    put(&client, 0, &[2]).await;
    assert_eq!(take(&mut *first, 2).await, [1, 2]);
}

#[tokio::test]
async fn a_reader_that_is_not_asked_gives_its_subscription_up_and_loses_nothing() {
    let (_endpoint, clock, client, source) = on_one_clock().await;
    let mut reader = source.open(&first_shard(), ReadFrom::TrimHorizon).await.unwrap();
    for number in 0..10u8 {
        put(&client, 0, &[number]).await;
        clock.by(Duration::from_secs(1));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    while source.counters().stalled == 0 {
        clock.by(Duration::from_secs(1));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(take(&mut *reader, 10).await, (0..10).collect::<Vec<_>>());
    assert_eq!(source.counters().stalled, 1);
}

#[tokio::test]
async fn workers_that_start_together_register_one_consumer() {
    let (_endpoint, _clock, client, source) = on_one_clock().await;
    let same = KinesisSource::builder(client.clone(), "s").fan_out(FanOut::register("app"));
    let (one, other) = (same.clone().build(), same.build());
    let all = tokio::join!(source.describe(), one.describe(), other.describe());
    assert!(all.0.is_ok() && all.1.is_ok() && all.2.is_ok(), "{all:?}");
    let consumers = client.list_stream_consumers().stream_arn(ARN).send().await.unwrap();
    assert_eq!(consumers.consumers().len(), 1);
    let arn = consumers.consumers()[0].consumer_arn();
    let by_arn = KinesisSource::builder(client, "s").fan_out(FanOut::arn(arn)).build();
    by_arn.describe().await.unwrap();
    by_arn.open(&first_shard(), ReadFrom::TrimHorizon).await.unwrap();
}

#[tokio::test]
async fn a_start_beside_twenty_other_consumers_says_why_it_waits_and_succeeds_once_there_is_room() {
    let endpoint = local::endpoint(1).await;
    let client = local::client(&endpoint);
    let source = KinesisSource::builder(client.clone(), "s").fan_out(FanOut::register("app"));
    let source = source.build();
    for number in 0..20 {
        let other = client.register_stream_consumer().stream_arn(ARN);
        other.consumer_name(format!("other-{number}")).send().await.unwrap();
    }
    for _ in 0..2 {
        let refused = source.describe().await.unwrap_err();
        assert!(refused.is_transient(), "somebody may make room: {refused:?}");
        for said in ["LimitExceededException", "consumer app of", "20"] {
            assert!(refused.to_string().contains(said), "{refused}");
        }
    }
    let leaves = client.deregister_stream_consumer().stream_arn(ARN).consumer_name("other-7");
    leaves.send().await.unwrap();
    source.describe().await.unwrap();
    assert!(source.open(&first_shard(), ReadFrom::TrimHorizon).await.is_ok());
}

#[tokio::test]
async fn a_start_waits_until_its_consumer_is_active() {
    let (endpoint, clock) = local::limited(1, Duration::from_secs(3)).await;
    let source = KinesisSource::builder(local::client(&endpoint), "s");
    let source = source.clock(Arc::new(clock.clone())).fan_out(FanOut::register("app")).build();
    let passing = async {
        loop {
            tokio::time::sleep(Duration::from_millis(5)).await;
            clock.by(Duration::from_millis(500));
        }
    };
    tokio::select! { biased;
        described = source.describe() => drop(described.unwrap()),
        () = passing => {}
    }
    assert!(source.open(&first_shard(), ReadFrom::TrimHorizon).await.is_ok());
}

#[tokio::test]
async fn a_consumer_of_another_stream_or_of_none_is_refused_with_the_reason() {
    let endpoint = local::endpoint(1).await;
    let client = local::client(&endpoint);
    for (arn, said) in [
        (format!("{ARN}2/consumer/app:1700000000"), "is not one of stream"),
        (format!("{ARN}/consumer/app:1700000000"), "was not found: register it"),
    ] {
        let source = KinesisSource::builder(client.clone(), "s").fan_out(FanOut::arn(&arn)).build();
        let refused = match source.describe().await {
            Err(refused) => refused,
            Ok(_) => source.open(&first_shard(), ReadFrom::TrimHorizon).await.err().unwrap(),
        };
        assert!(matches!(refused, SourceError::Refused(_)), "{refused:?}");
        assert!(refused.to_string().contains(said), "{refused}");
    }
}

#[tokio::test]
async fn a_consumer_that_was_deregistered_is_registered_anew_and_the_reader_goes_on() {
    let (_endpoint, clock, client, source) = on_one_clock().await;
    let mut reader = source.open(&first_shard(), ReadFrom::TrimHorizon).await.unwrap();
    put(&client, 0, &[0]).await;
    assert_eq!(take(&mut *reader, 1).await, [0]);
    let deregister = client.deregister_stream_consumer().stream_arn(ARN).consumer_name("app");
    deregister.send().await.unwrap();
    put(&client, 0, &[1]).await;
    let mut failures = 0;
    loop {
        match reader.next(LIMIT).await {
            Ok(ReadOutcome::Records { records, .. }) => {
                assert_eq!(&records[0].data[..], [1]);
                break;
            }
            Ok(_) => {}
            Err(error) => {
                assert!(error.is_transient(), "{error}");
                failures += 1;
                clock.by(Duration::from_secs(6));
            }
        }
    }
    assert!((1..=4).contains(&failures), "{failures}");
}
