//! A day on a simulated clock, from a producer that aggregates to readers that unpack: reshards,
//! iterators and subscriptions that run out, throttles, broken connections, lost answers, calls
//! given up, readers closed and opened again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kcl_core::protocol::{ShardId, hash};
use kcl_core::{
    ChildShard, Clock, ReadFrom, ReadLimit, ReadOutcome, Record, SourceError, StreamSource,
    TokioClock,
};
use kcl_producer::{Aggregation, Misplaced, Producer, ProducerOptions};
use kcl_records::UnpackedSource;
use kcl_stream_kinesis::{FanOut, KinesisSource, SourceCounters};
use kcl_stream_local::{Engine, ShardFilter, Stream, StreamOptions};
use tokio::task::JoinSet;

use crate::on_engine::{OnEngine, Rolls};

pub const DAY: Duration = Duration::from_secs(24 * 3600);
/// Read on for so long after the last record: each subscription is renewed in it, and readers are
/// closed and opened again.
const AFTERWARDS: Duration = Duration::from_secs(600);
pub const KEYS: u64 = 16;
const LIMIT: ReadLimit = ReadLimit { records: 100, bytes: 1 << 20 };
/// Unix milliseconds at the start.
const START: u64 = 1_700_000_000_000;

/// Numbers seen, by key.
type Seen = Arc<Mutex<BTreeMap<String, Vec<u64>>>>;

/// Records of each key between two reshards.
const RESHARD_EVERY: u64 = 150;

pub struct Day {
    api: Arc<OnEngine>,
    kinesis: KinesisSource,
    source: UnpackedSource<KinesisSource>,
    producer: Producer,
    stream: Stream,
    pub clock: TokioClock,
    pub rolls: Arc<Rolls>,
    pub seen: Seen,
    splits: AtomicU64,
    merges: AtomicU64,
}

/// What happened in the quietest of some days.
#[derive(Clone, Copy, Debug)]
struct Happened {
    /// Subscriptions in place of one that came to its age (fan-out).
    renewed: u64,
    counters: SourceCounters,
}

impl Happened {
    fn least(self, other: Self) -> Self {
        let (one, two) = (self.counters, other.counters);
        Self {
            renewed: self.renewed.min(other.renewed),
            counters: SourceCounters {
                throttled: one.throttled.min(two.throttled),
                throttled_reads: one.throttled_reads.min(two.throttled_reads),
                expired: one.expired.min(two.expired),
                reopened: one.reopened.min(two.reopened),
                stalled: one.stalled.min(two.stalled),
                ..one
            },
        }
    }
}

fn kinesis(
    api: &Arc<OnEngine>,
    clock: TokioClock,
    is_fan_out: bool,
    idle: Duration,
    seed: u64,
) -> KinesisSource {
    let builder = KinesisSource::builder_over(Arc::clone(api) as _).idle(idle);
    let builder = builder.clock(Arc::new(clock)).seed(seed);
    match is_fan_out {
        true => builder.fan_out(FanOut::register("app")).build(),
        false => builder.build(),
    }
}

impl Day {
    pub fn new(is_fan_out: bool, seed: u64) -> Self {
        let clock = TokioClock::starting_at(START);
        let engine = Engine::new(Arc::new(clock));
        let stream = engine.create_stream("s", 2, StreamOptions::default()).unwrap();
        let api = OnEngine::new(stream.clone(), clock, Rolls::seeded(hash::mix(seed)));
        // Idle for a second, so that a day has fewer reads to simulate.
        let idle = Duration::from_secs(1);
        let kinesis = kinesis(&api, clock, is_fan_out, idle, seed);
        let source = UnpackedSource::new(kinesis.clone());
        let options = ProducerOptions {
            aggregation: Aggregation::KPL,
            // What readers have already is not put again.
            misplaced: Misplaced::Foreign,
            seed: Some(seed),
            ..ProducerOptions::default()
        };
        let producer = Producer::builder(Arc::new(stream.clone())).options(options);
        let producer = producer.clock(Arc::new(clock)).start();
        let rolls = Rolls::seeded(seed);
        Self {
            api,
            kinesis,
            source,
            producer,
            stream,
            clock,
            rolls,
            seen: Seen::default(),
            splits: AtomicU64::new(0),
            merges: AtomicU64::new(0),
        }
    }

    /// A source of the same stream that idles for so long.
    pub fn another(&self, is_fan_out: bool, idle: Duration, seed: u64) -> KinesisSource {
        kinesis(&self.api, self.clock, is_fan_out, idle, seed)
    }

    /// Puts numbered records under each key for a day, and reshards about every half hour; how many
    /// of each key.
    pub async fn put(&self) -> u64 {
        let mut number = 0;
        let end = self.clock.monotonic() + DAY;
        while self.clock.monotonic() < end {
            for key in 0..KEYS {
                // Its fate shows in what arrives.
                drop(self.producer.put(format!("{key}"), number.to_string()).await.unwrap());
            }
            number += 1;
            if number % RESHARD_EVERY == 0 {
                self.reshard();
            }
            self.clock.sleep(Duration::from_secs(5 + self.rolls.next() % 15)).await;
        }
        number
    }

    fn reshard(&self) {
        let mut open = self.stream.list_shards(&ShardFilter::AtLatest).unwrap();
        open.sort_by_key(|shard| shard.range);
        let at = (self.rolls.next() as usize) % open.len();
        let (id, range) = (open[at].number.id(), open[at].range);
        if open.len() > 3 && at > 0 {
            self.stream.merge_shards(&open[at - 1].number.id(), &id).unwrap();
            self.merges.fetch_add(1, Ordering::Relaxed);
        } else {
            self.stream.split_shard(&id, range.start + (range.end - range.start) / 2).unwrap();
            self.splits.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Reads one shard to its end.
    async fn follow(self: Arc<Self>, shard: ShardId) -> (ShardId, Vec<ChildShard>) {
        let mut from = ReadFrom::TrimHorizon;
        loop {
            let mut reader = match self.source.open(&shard, from).await {
                Ok(reader) => reader,
                Err(error) => {
                    self.pause(&error).await;
                    continue;
                }
            };
            loop {
                let patience = Duration::from_millis(1 + self.rolls.next() % 20_000);
                let Ok(answer) = tokio::time::timeout(patience, reader.next(LIMIT)).await else {
                    continue; // given up midway
                };
                match answer {
                    Ok(ReadOutcome::Records { records, .. }) => {
                        from = ReadFrom::After(records.last().unwrap().position);
                        self.note(records);
                    }
                    Ok(ReadOutcome::CaughtUp) => {}
                    Ok(ReadOutcome::ShardEnd { children }) => return (shard, children),
                    Err(SourceError::Expired) => break,
                    Err(error) => self.pause(&error).await,
                }
                if self.rolls.one_in(2_000) {
                    // A processor that is stuck.
                    self.clock.sleep(Duration::from_secs(400)).await;
                }
                if self.rolls.one_in(1_000) {
                    break; // the shard moves to another worker
                }
            }
        }
    }

    async fn pause(&self, error: &SourceError) {
        assert!(error.is_transient(), "{error}");
        let pause = match error {
            SourceError::Throttled { retry_after } => *retry_after,
            _ => Duration::from_millis(100),
        };
        self.clock.sleep(pause).await;
    }

    pub fn note(&self, records: Vec<Record>) {
        let mut seen = self.seen.lock().unwrap();
        for record in records {
            let number = std::str::from_utf8(&record.data).unwrap().parse().unwrap();
            seen.entry(record.partition_key.as_str().to_owned()).or_default().push(number);
        }
    }

    /// Reads everything, parents before children, until every key has as many as were put, and on
    /// for a while: what repeats the last records comes after them. How many records were put under
    /// each key, and how many shards were read to their end.
    async fn read(self: Arc<Self>, put: impl Future<Output = u64>) -> (u64, u64) {
        let mut readers = JoinSet::new();
        let mut ended = BTreeSet::new();
        let mut started = BTreeSet::new();
        for shard in self.stream.list_shards(&ShardFilter::AtTrimHorizon).unwrap() {
            started.insert(shard.number.id());
            readers.spawn(Arc::clone(&self).follow(shard.number.id()));
        }
        let mut put = std::pin::pin!(put);
        let (mut all, mut until) = (None, None);
        loop {
            let is_all = |count: u64| {
                let seen = self.seen.lock().unwrap();
                seen.values().map(|numbers| numbers.len() as u64).sum::<u64>() >= count * KEYS
            };
            if let Some(count) = all.filter(|count| is_all(*count)) {
                let now = self.clock.monotonic();
                if now >= *until.get_or_insert(now + AFTERWARDS) {
                    return (count, ended.len() as u64);
                }
            }
            tokio::select! { biased;
                end = readers.join_next() => {
                    let (shard, children) = end.unwrap().unwrap();
                    ended.insert(shard);
                    for child in children {
                        if child.parents.is_subset(&ended) && started.insert(child.id.clone()) {
                            readers.spawn(Arc::clone(&self).follow(child.id));
                        }
                    }
                }
                count = &mut put, if all.is_none() => all = Some(count),
                () = self.clock.sleep(Duration::from_secs(1)) => {}
            }
        }
    }
}

/// Days of these seeds, each with an hour to catch up in; what happened in the quietest.
async fn days(is_fan_out: bool, seeds: [u64; 3]) -> Happened {
    let mut least: Option<Happened> = None;
    for seed in seeds {
        let day = a_day(is_fan_out, seed).await;
        println!("seed {seed}: {day:?}");
        least = Some(least.map_or(day, |least| least.least(day)));
    }
    least.unwrap()
}

async fn a_day(is_fan_out: bool, seed: u64) -> Happened {
    let day = Arc::new(Day::new(is_fan_out, seed));
    let putting = Arc::clone(&day);
    let read = Arc::clone(&day).read(async move { putting.put().await });
    let in_time = tokio::time::timeout(DAY + Duration::from_secs(3600), read).await;
    let (count, ended) = in_time.expect("everything arrives within the hour after");
    let seen = day.seen.lock().unwrap();
    assert_eq!(seen.len() as u64, KEYS);
    for (key, numbers) in &*seen {
        let wrong = numbers.iter().zip(0..).position(|(number, expected)| *number != expected);
        assert_eq!(wrong, None, "key {key}: a gap, a repeat or out of order");
        assert_eq!(numbers.len() as u64, count, "key {key}");
    }
    let put = day.producer.metrics();
    assert!(put.misplaced_aggregates > 0, "reshards met aggregates under way: {put:?}");
    assert!(put.stream_records * 2 < put.put_records, "and most were in aggregates: {put:?}");
    let [splits, merges] = [&day.splits, &day.merges].map(|it| it.load(Ordering::Relaxed));
    assert_eq!(splits + merges, count / RESHARD_EVERY, "each reshard took place");
    // A record of each key comes every 12 s on average.
    assert!((46..=49).contains(&(splits + merges)), "two an hour: {splits} and {merges}");
    assert!(splits > 10 && merges > 10, "{splits} and {merges}");
    assert_eq!(ended, splits + 2 * merges, "each parent was read to its end");
    Happened { renewed: day.api.renewed(), counters: day.kinesis.counters() }
}

#[tokio::test(start_paused = true)]
async fn a_day_of_polling_loses_repeats_and_reorders_nothing() {
    let happened = days(false, [1, 3, 5]).await;
    let counters = happened.counters;
    // These seeds give 14 to 24, and 2,523 to 2,941.
    assert!(counters.expired > 10 && counters.reopened > 10, "{counters:?}");
    assert!(counters.throttled > 2_000 && counters.throttled_reads > 2_000, "{counters:?}");
}

#[tokio::test(start_paused = true)]
async fn a_day_of_fan_out_loses_repeats_and_reorders_nothing() {
    let happened = days(true, [2, 4, 6]).await;
    // These seeds give 963 to 989, 1,670 to 1,775, 360 to 415, and 12 to 25.
    assert!(happened.renewed > 800, "before the service ends them: {happened:?}");
    let counters = happened.counters;
    assert!(counters.reopened > 1_200, "some shards, each renewed 12 times an hour: {counters:?}");
    assert!(counters.throttled > 250 && counters.stalled > 8, "{counters:?}");
}
