//! The service as the readers see it, made of the bundled engine on a simulated clock, with what
//! goes wrong in a day.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kcl_core::protocol::{Moment, ShardId, hash};
use kcl_core::{
    Clock, ReadFrom, ReadLimit, Shard, SourceError, StreamDescription, StreamSource, TokioClock,
    async_trait,
};
use kcl_stream_kinesis::api::{
    Event, KinesisApi, Page, ReadError, Subscription, SubscriptionError,
};
use kcl_stream_local::{Pushed, ShardIterator, ShardNumber, Stream, Subscription as Pushes};
use tokio::sync::oneshot;

/// Seconds of the service's rules for subscriptions.
const SAFE: Duration = Duration::from_secs(5);
const LIFE: Duration = Duration::from_secs(300);
/// What the client's reader waits at first after a takeover, at most.
const TAKEN_OVER_PAUSE: Duration = Duration::from_secs(11);
const IDLE_EVENT: Duration = Duration::from_secs(5);
const LIMIT: ReadLimit = ReadLimit { records: 500, bytes: 1 << 20 };

pub struct OnEngine {
    pub stream: Stream,
    pub clock: TokioClock,
    rolls: Arc<Rolls>,
    given: Mutex<BTreeMap<ShardId, Given>>,
    /// Subscriptions in place of one that had the most of its life behind it.
    renewed: AtomicU64,
}

/// A subscription that had so much of its life behind it was replaced for its age.
const OLD: Duration = Duration::from_secs(240);

/// Seeded chances; with none, nothing goes wrong.
#[derive(Default)]
pub struct Rolls {
    seed: Option<u64>,
    drawn: AtomicU64,
}

impl Rolls {
    pub fn seeded(seed: u64) -> Arc<Self> {
        Arc::new(Self { seed: Some(seed), drawn: AtomicU64::new(0) })
    }
    pub fn next(&self) -> u64 {
        let drawn = self.drawn.fetch_add(1, Ordering::Relaxed);
        hash::mix(self.seed.unwrap_or(0) ^ hash::mix(drawn))
    }
    pub fn one_in(&self, many: u64) -> bool {
        self.seed.is_some() && self.next().is_multiple_of(many)
    }
}

struct Given {
    at: Moment,
    taken_over: oneshot::Sender<()>,
}

impl OnEngine {
    pub fn new(stream: Stream, clock: TokioClock, rolls: Arc<Rolls>) -> Arc<Self> {
        Arc::new(Self { stream, clock, rolls, given: Mutex::default(), renewed: AtomicU64::new(0) })
    }

    pub fn renewed(&self) -> u64 {
        self.renewed.load(Ordering::Relaxed)
    }

    /// Every request may fail, and for a minute of each half hour the service is throttled by
    /// whoever else uses the account.
    fn trouble(&self) -> Result<(), SourceError> {
        if self.rolls.one_in(300) {
            return Err(SourceError::Unavailable("a reset connection".into()));
        }
        let minute = self.clock.monotonic().0.as_secs() / 60;
        if minute % 30 == 7 && self.rolls.one_in(2) {
            return Err(SourceError::Throttled { retry_after: Duration::from_secs(1) });
        }
        Ok(())
    }
}

/// Both ways to tell the shards that follow are met with: on the last page, and in a listing alone.
fn told<T>(rolls: &Rolls, children: Vec<T>) -> Vec<T> {
    if rolls.one_in(2) { Vec::new() } else { children }
}

#[async_trait]
impl KinesisApi for OnEngine {
    async fn describe(&self) -> Result<StreamDescription, SourceError> {
        self.stream.source().describe().await
    }

    async fn list_shards(&self) -> Result<Vec<Shard>, SourceError> {
        self.trouble()?;
        self.stream.source().list_shards().await
    }

    async fn iterator(
        &self,
        shard: &ShardId,
        from: ReadFrom,
    ) -> Result<Option<String>, SourceError> {
        self.trouble()?;
        let it = self.stream.shard_iterator(shard, from)?;
        let (created, issued) = (it.stream_created_at_millis, it.issued_at_millis);
        Ok(Some(format!("{created} {} {} {issued}", it.shard.0, it.next)))
    }

    async fn get_records(
        &self,
        _: &ShardId,
        iterator: &str,
        records: usize,
    ) -> Result<Page, ReadError> {
        // A round trip, in which a caller may give up.
        self.clock.sleep(Duration::from_millis(3)).await;
        self.trouble()?;
        let parts: Vec<u64> = iterator.split(' ').map(|part| part.parse().unwrap()).collect();
        let iterator = ShardIterator {
            stream_created_at_millis: parts[0],
            shard: ShardNumber(parts[1] as u32),
            next: parts[2],
            issued_at_millis: parts[3],
        };
        let got = self.stream.get_records(&iterator, records).map_err(SourceError::from)?;
        let text = |it: ShardIterator| {
            let (created, issued) = (it.stream_created_at_millis, it.issued_at_millis);
            format!("{created} {} {} {issued}", it.shard.0, it.next)
        };
        Ok(Page {
            records: got.records,
            behind_millis: got.behind_millis,
            next: got.next.map(text),
            children: told(&self.rolls, got.children),
        })
    }

    async fn subscribe(
        &self,
        shard: &ShardId,
        from: ReadFrom,
    ) -> Result<Box<dyn Subscription>, SubscriptionError> {
        self.clock.sleep(Duration::from_millis(3)).await;
        self.trouble()?;
        let pushes = self.stream.subscribe(shard, from).map_err(SourceError::from)?;
        let now = self.clock.monotonic();
        let (taken_over, told) = oneshot::channel();
        let mut given = self.given.lock().unwrap();
        if given.get(shard).is_some_and(|before| now.since(before.at) < SAFE) {
            return Err(SubscriptionError::InUse { retry_after: Duration::from_secs(1) });
        }
        if let Some(before) = given.insert(shard.clone(), Given { at: now, taken_over }) {
            // Whoever reads it still is told.
            let is_old = (OLD..LIFE).contains(&now.since(before.at));
            self.renewed.fetch_add(u64::from(is_old), Ordering::Relaxed);
            let _ = before.taken_over.send(());
        }
        drop(given);
        if self.rolls.one_in(30) {
            // Given, and the answer is lost.
            return Err(SourceError::Unavailable("a lost answer".into()).into());
        }
        let (clock, rolls) = (self.clock, Arc::clone(&self.rolls));
        Ok(Box::new(Events { pushes, until: now + LIFE, clock, rolls, taken_over: told }))
    }
}

struct Events {
    pushes: Pushes,
    until: Moment,
    clock: TokioClock,
    rolls: Arc<Rolls>,
    taken_over: oneshot::Receiver<()>,
}

#[async_trait]
impl Subscription for Events {
    async fn next(&mut self) -> Result<Option<Event>, SubscriptionError> {
        if self.rolls.one_in(200) {
            return Err(SourceError::Unavailable("a broken connection".into()).into());
        }
        let idle_until = self.clock.monotonic() + IDLE_EVENT;
        let pushed = tokio::select! { biased;
            _ = &mut self.taken_over => {
                return Err(SubscriptionError::InUse { retry_after: TAKEN_OVER_PAUSE });
            }
            () = self.clock.sleep_until(self.until) => return Ok(None),
            pushed = self.pushes.next(LIMIT) => Some(pushed.map_err(SourceError::from)?),
            () = self.clock.sleep_until(idle_until) => None,
        };
        Ok(Some(match pushed {
            Some(Pushed::Records { records, continuation, behind_millis }) => {
                Event { records, behind_millis, passed: Some(continuation), children: Vec::new() }
            }
            Some(Pushed::ShardEnd { children }) => Event {
                records: Vec::new(),
                behind_millis: 0,
                passed: None,
                children: told(&self.rolls, children),
            },
            None => Event {
                records: Vec::new(),
                behind_millis: self.pushes.behind_millis(),
                passed: Some(self.pushes.passed()),
                children: Vec::new(),
            },
        }))
    }
}
