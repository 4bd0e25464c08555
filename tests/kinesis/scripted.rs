//! A service with one shard that answers as a test says, on the clock of the test.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kcl_core::protocol::{HashKeyRange, Moment, Position, SequenceNumber, ShardId};
use kcl_core::{
    ChildShard, Clock, ReadFrom, Record, Shard, SourceError, StreamDescription, TokioClock,
    async_trait,
};
use kcl_stream_kinesis::api::{
    Event, KinesisApi, Page, ReadError, Subscription, SubscriptionError,
};
use kcl_stream_kinesis::{FanOut, KinesisSource};

/// What a subscription tells.
pub enum Tells {
    /// A record each time this has passed, without end; zero: one is always there.
    Every(Duration),
    /// These events, and nothing after them; the next subscription tells nothing.
    These(Vec<Event>),
}

/// What was asked of the service, and when.
#[derive(Debug, Default)]
pub struct Seen {
    /// Events that were taken from subscriptions.
    pub taken: usize,
    /// Where subscriptions began, and when.
    pub subscribed: Vec<(Moment, ReadFrom)>,
    /// Where iterators were asked for.
    pub places: Vec<ReadFrom>,
}

/// An endless shard, and what it answers before it does so usually.
pub struct Scripted {
    pub clock: TokioClock,
    pub seen: Arc<Mutex<Seen>>,
    pub tells: Mutex<Tells>,
    /// Subscriptions that fail first.
    pub subscriptions: Mutex<VecDeque<SubscriptionError>>,
    /// So many subscriptions panic before that.
    pub panics: AtomicU32,
    /// Iterators, listings and pages that come first.
    pub iterators: Mutex<VecDeque<Result<Option<String>, SourceError>>>,
    pub listings: Mutex<VecDeque<Result<Vec<Shard>, SourceError>>>,
    pub pages: Mutex<VecDeque<Result<Page, ReadError>>>,
}

/// How long a subscription is safe from the next.
const SAFE: Duration = Duration::from_secs(5);

pub fn throttled() -> SourceError {
    SourceError::Throttled { retry_after: Duration::from_secs(1) }
}

/// Another subscription is too young to be taken over.
pub fn in_use() -> SubscriptionError {
    SubscriptionError::InUse { retry_after: Duration::from_secs(1) }
}

/// A record with this number.
pub fn record(number: u128) -> Record {
    Record {
        position: Position::from(SequenceNumber::from_parts(0, number)),
        partition_key: "k".into(),
        data: vec![0; 10].into(),
        arrival_millis: 0,
        unreadable: None,
    }
}

/// An event with this record.
pub fn event(number: u128) -> Event {
    let record = record(number);
    let passed = Some(record.position.sequence);
    Event { records: vec![record], behind_millis: 1, passed, children: Vec::new() }
}

/// A shard that follows.
pub fn child() -> ChildShard {
    let Shard { id, parents, range, .. } = listed(1, &[0]);
    ChildShard { id, parents, range }
}

/// A shard as a listing has it: its number, and those of its parents.
pub fn listed(number: u32, parents: &[u32]) -> Shard {
    let id = |number: &u32| ShardId::new(format!("shardId-{number:012}"));
    let (parents, range) = (parents.iter().map(id).collect(), HashKeyRange::FULL);
    Shard { id: id(&number), parents, range, is_open: true, tip: None }
}

impl Scripted {
    pub fn new(tells: Tells) -> Arc<Self> {
        Arc::new(Self {
            clock: TokioClock::starting_at(0),
            seen: Arc::default(),
            tells: Mutex::new(tells),
            subscriptions: Mutex::default(),
            panics: AtomicU32::default(),
            iterators: Mutex::default(),
            listings: Mutex::default(),
            pages: Mutex::default(),
        })
    }

    /// A source of it by polling.
    pub fn polled(self: &Arc<Self>) -> KinesisSource {
        let api = Arc::clone(self) as Arc<dyn KinesisApi>;
        KinesisSource::builder_over(api).clock(Arc::new(self.clock)).seed(1).build()
    }

    /// A source of it by fan-out, with this seed of jitter.
    pub fn pushed(self: &Arc<Self>, seed: u64) -> KinesisSource {
        let api = Arc::clone(self) as Arc<dyn KinesisApi>;
        let builder = KinesisSource::builder_over(api).clock(Arc::new(self.clock)).seed(seed);
        builder.fan_out(FanOut::register("app")).build()
    }

    pub fn taken(&self) -> usize {
        self.seen.lock().unwrap().taken
    }
}

fn scripted<T>(first: &Mutex<VecDeque<T>>, usual: impl FnOnce() -> T) -> T {
    first.lock().unwrap().pop_front().unwrap_or_else(usual)
}

#[async_trait]
impl KinesisApi for Scripted {
    async fn describe(&self) -> Result<StreamDescription, SourceError> {
        Err(SourceError::Refused("not used".into()))
    }

    async fn list_shards(&self) -> Result<Vec<Shard>, SourceError> {
        scripted(&self.listings, || Ok(vec![listed(0, &[])]))
    }

    async fn iterator(&self, _: &ShardId, from: ReadFrom) -> Result<Option<String>, SourceError> {
        self.seen.lock().unwrap().places.push(from);
        scripted(&self.iterators, || Ok(Some("somewhere".to_owned())))
    }

    async fn get_records(&self, _: &ShardId, _: &str, _: usize) -> Result<Page, ReadError> {
        let usual = || Page {
            records: vec![record(1)],
            behind_millis: 1,
            next: Some("further".to_owned()),
            children: Vec::new(),
        };
        scripted(&self.pages, || Ok(usual()))
    }

    async fn subscribe(
        &self,
        _: &ShardId,
        from: ReadFrom,
    ) -> Result<Box<dyn Subscription>, SubscriptionError> {
        if self
            .panics
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |it| it.checked_sub(1))
            .is_ok()
        {
            panic!("a subscription is to panic");
        }
        if let Some(failure) = self.subscriptions.lock().unwrap().pop_front() {
            return Err(failure);
        }
        let now = self.clock.monotonic();
        let mut seen = self.seen.lock().unwrap();
        if seen.subscribed.last().is_some_and(|(at, _)| now.since(*at) < SAFE) {
            return Err(in_use());
        }
        seen.subscribed.push((now, from));
        let (clock, seen) = (self.clock, Arc::clone(&self.seen));
        Ok(match &mut *self.tells.lock().unwrap() {
            Tells::Every(time) => Box::new(Endless { every: *time, clock, seen }),
            Tells::These(events) => Box::new(Few(std::mem::take(events).into())),
        })
    }
}

struct Endless {
    every: Duration,
    clock: TokioClock,
    seen: Arc<Mutex<Seen>>,
}

#[async_trait]
impl Subscription for Endless {
    async fn next(&mut self) -> Result<Option<Event>, SubscriptionError> {
        if !self.every.is_zero() {
            self.clock.sleep(self.every).await;
        }
        let mut seen = self.seen.lock().unwrap();
        seen.taken += 1;
        Ok(Some(event(seen.taken as u128)))
    }
}

struct Few(VecDeque<Event>);

#[async_trait]
impl Subscription for Few {
    async fn next(&mut self) -> Result<Option<Event>, SubscriptionError> {
        match self.0.pop_front() {
            Some(event) => Ok(Some(event)),
            None => std::future::pending().await,
        }
    }
}
