//! A day on a simulated clock, from a producer that aggregates to readers that unpack: reshards,
//! iterators and subscriptions that run out, throttles, broken connections, lost answers, calls
//! given up, readers closed and opened again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kcl_core::protocol::{ShardId, hash};
use kcl_core::{
    ChildShard, Clock, ReadFrom, ReadLimit, ReadOutcome, SourceError, StreamSource, TokioClock,
};
use kcl_producer::{Aggregation, Misplaced, Producer, ProducerOptions};
use kcl_records::UnpackedSource;
use kcl_stream_kinesis::{FanOut, KinesisSource, SourceCounters};
use kcl_stream_local::{Engine, ShardFilter, Stream, StreamOptions};
use tokio::task::JoinSet;

use crate::on_engine::{OnEngine, Rolls};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Read on for so long after the last record: each subscription is renewed in it, and readers are
/// closed and opened again.
const AFTERWARDS: Duration = Duration::from_secs(600);
const KEYS: u64 = 16;
const LIMIT: ReadLimit = ReadLimit { records: 100, bytes: 1 << 20 };
/// Unix milliseconds at the start.
const START: u64 = 1_700_000_000_000;

/// Numbers seen, by key.
type Seen = Arc<Mutex<BTreeMap<String, Vec<u64>>>>;

struct Day {
    kinesis: KinesisSource,
    source: UnpackedSource<KinesisSource>,
    producer: Producer,
    stream: Stream,
    clock: TokioClock,
    rolls: Arc<Rolls>,
    seen: Seen,
}

impl Day {
    fn new(is_fan_out: bool, seed: u64) -> Self {
        let clock = TokioClock::starting_at(START);
        let engine = Engine::new(Arc::new(clock));
        let stream = engine.create_stream("s", 2, StreamOptions::default()).unwrap();
        let api = OnEngine::new(stream.clone(), clock, Rolls::seeded(hash::mix(seed)));
        // Idle for a second, so that a day has fewer reads to simulate.
        let builder = KinesisSource::builder_over(api).idle(Duration::from_secs(1));
        let builder = builder.clock(Arc::new(clock)).seed(seed);
        let kinesis = match is_fan_out {
            true => builder.fan_out(FanOut::register("app")).build(),
            false => builder.build(),
        };
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
        Self { kinesis, source, producer, stream, clock, rolls, seen: Seen::default() }
    }

    /// Puts numbered records under each key for a day, and reshards about every half hour; how many
    /// of each key.
    async fn put(&self) -> u64 {
        let mut number = 0;
        let end = self.clock.monotonic() + DAY;
        while self.clock.monotonic() < end {
            for key in 0..KEYS {
                // Its fate shows in what arrives.
                drop(self.producer.put(format!("{key}"), number.to_string()).await.unwrap());
            }
            number += 1;
            if number % 150 == 0 {
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
        } else {
            self.stream.split_shard(&id, range.start + (range.end - range.start) / 2).unwrap();
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

    fn note(&self, records: Vec<kcl_core::Record>) {
        let mut seen = self.seen.lock().unwrap();
        for record in records {
            let number = std::str::from_utf8(&record.data).unwrap().parse().unwrap();
            seen.entry(record.partition_key.as_str().to_owned()).or_default().push(number);
        }
    }

    /// Reads everything, parents before children, until every key has as many as were put, and on
    /// for a while: what repeats the last records comes after them.
    async fn read(self: Arc<Self>, put: impl Future<Output = u64>) -> u64 {
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
                    return count;
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

/// Days of these seeds, each with an hour to catch up in; what was counted in the quietest.
async fn days(is_fan_out: bool, seeds: [u64; 3]) -> SourceCounters {
    let mut least: Option<SourceCounters> = None;
    for seed in seeds {
        let day = a_day(is_fan_out, seed).await;
        println!("seed {seed}: {day:?}");
        least = Some(match least {
            Some(least) => SourceCounters {
                throttled: least.throttled.min(day.throttled),
                expired: least.expired.min(day.expired),
                reopened: least.reopened.min(day.reopened),
                stalled: least.stalled.min(day.stalled),
                ..least
            },
            None => day,
        });
    }
    least.unwrap()
}

async fn a_day(is_fan_out: bool, seed: u64) -> SourceCounters {
    let day = Arc::new(Day::new(is_fan_out, seed));
    let putting = Arc::clone(&day);
    let read = Arc::clone(&day).read(async move { putting.put().await });
    let in_time = tokio::time::timeout(DAY + Duration::from_secs(3600), read).await;
    let count = in_time.expect("everything arrives within the hour after");
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
    day.kinesis.counters()
}

#[tokio::test(start_paused = true)]
async fn a_day_of_polling_loses_repeats_and_reorders_nothing() {
    let counters = days(false, [1, 3, 5]).await;
    assert!(counters.expired > 0 && counters.reopened > 0, "{counters:?}");
    assert!(counters.throttled > 100, "{counters:?}");
}

#[tokio::test(start_paused = true)]
async fn a_day_of_fan_out_loses_repeats_and_reorders_nothing() {
    let counters = days(true, [2, 4, 6]).await;
    assert!(counters.reopened > 500, "some shards, each renewed 12 times an hour: {counters:?}");
    assert!(counters.throttled > 10 && counters.stalled > 0, "{counters:?}");
}
