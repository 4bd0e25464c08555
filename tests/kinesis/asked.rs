//! What a pushed reader takes from its subscription, and what it says of one that fails: on a
//! scripted service.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kcl_core::protocol::{HashKeyRange, Position, SequenceNumber, ShardId};
use kcl_core::{
    ReadFrom, ReadOutcome, Record, Shard, SourceError, StreamDescription, StreamSource, async_trait,
};
use kcl_stream_kinesis::api::{Event, KinesisApi, Page, Subscription};
use kcl_stream_kinesis::{FanOut, KinesisSource};
use tracing::level_filters::LevelFilter;

use crate::log::Log;
use crate::pushed::{LIMIT, first_shard};

/// A service with an endless shard, whose subscriptions fail as scripted.
#[derive(Default)]
struct Scripted {
    /// Events that were taken from subscriptions.
    taken: Arc<AtomicUsize>,
    failures: Mutex<VecDeque<SourceError>>,
}

fn unused() -> SourceError {
    SourceError::Refused("not used".into())
}

#[async_trait]
impl KinesisApi for Scripted {
    async fn describe(&self) -> Result<StreamDescription, SourceError> {
        Err(unused())
    }
    async fn list_shards(&self) -> Result<Vec<Shard>, SourceError> {
        let (parents, range) = (Default::default(), HashKeyRange::FULL);
        Ok(vec![Shard { id: first_shard(), parents, range, is_open: true, tip: None }])
    }
    async fn iterator(&self, _: &ShardId, _: ReadFrom) -> Result<String, SourceError> {
        Err(unused())
    }
    async fn get_records(&self, _: &ShardId, _: &str, _: usize) -> Result<Page, SourceError> {
        Err(unused())
    }
    async fn subscribe(
        &self,
        _: &ShardId,
        _: ReadFrom,
    ) -> Result<Box<dyn Subscription>, SourceError> {
        match self.failures.lock().unwrap().pop_front() {
            Some(error) => Err(error),
            None => Ok(Box::new(Endless(Arc::clone(&self.taken)))),
        }
    }
}

struct Endless(Arc<AtomicUsize>);

#[async_trait]
impl Subscription for Endless {
    async fn next(&mut self) -> Result<Option<Event>, SourceError> {
        let number = self.0.fetch_add(1, Ordering::SeqCst) as u128;
        let position = Position::from(SequenceNumber::from_parts(0, number + 1));
        let data = vec![0; 10].into();
        let key = "k".into();
        let record =
            Record { position, partition_key: key, data, arrival_millis: 0, unreadable: None };
        let passed = Some(position.sequence);
        Ok(Some(Event { records: vec![record], behind_millis: 1, passed, children: Vec::new() }))
    }
}

fn source(service: &Arc<Scripted>) -> KinesisSource {
    let api = Arc::clone(service) as Arc<dyn KinesisApi>;
    KinesisSource::builder_over(api).fan_out(FanOut::register("app")).build()
}

#[tokio::test(start_paused = true)]
async fn no_event_is_taken_from_a_subscription_before_the_reader_is_asked() {
    let service = Arc::new(Scripted::default());
    let mut reader = source(&service).open(&first_shard(), ReadFrom::TrimHorizon).await.unwrap();
    for asked in 0..5 {
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(service.taken.load(Ordering::SeqCst), asked);
        let outcome = reader.next(LIMIT).await.unwrap();
        assert!(matches!(outcome, ReadOutcome::Records { .. }), "{outcome:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_cannot_be_opened_is_told_once_and_once_when_it_can() {
    let (log, _logging) = Log::of_this_thread(LevelFilter::INFO);
    let service = Arc::new(Scripted::default());
    let source = source(&service);
    let count = |word: &str| log.text().matches(word).count();
    for round in 1..=2 {
        let throttled = SourceError::Throttled { retry_after: Duration::from_secs(1) };
        let lost = SourceError::Unavailable("a reset connection".into());
        let failures = [throttled.clone(), throttled.clone(), lost, throttled];
        service.failures.lock().unwrap().extend(failures);
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
