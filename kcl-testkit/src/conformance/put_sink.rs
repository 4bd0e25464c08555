//! What a sink of a producer must do, and what the producer makes of it, one fact a function. Each
//! takes a fresh harness and panics with the fact that does not hold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kcl_core::protocol::{HashKeyRange, Position, ShardId};
use kcl_core::{Bytes, Clock, ReadFrom, ReadLimit, ReadOutcome, Record, StreamSource};
use kcl_producer::{
    Aggregation, Copies, Delivery, Fate, LostReply, Misplaced, NewRecord, Order, Producer,
    ProducerOptions, PutSink, Shutdown, SinkRecord,
};
use kcl_records::aggregate::{Decoded, decode};

use super::stream_source::SourceHarness;
use crate::FaultySink;
use crate::sim::draw::Draws;

/// A stream under test that takes and gives records.
pub trait SinkHarness: SourceHarness {
    /// The sink.
    fn sink(&self) -> Arc<dyn PutSink>;
    /// The clock it runs by.
    fn clock(&self) -> Arc<dyn Clock>;
}

const LIMIT: ReadLimit = ReadLimit { records: 1000, bytes: 8 << 20 };
/// Nothing here takes as long, unless it never comes.
const PATIENCE: Duration = Duration::from_secs(600);

/// What a reader of the stream sees: user records, those of aggregates taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    shard: ShardId,
    position: Position,
    key: String,
    data: Bytes,
}

/// Reads every shard, parents before children.
async fn read_all(source: &Arc<dyn StreamSource>) -> Vec<Seen> {
    let mut seen = Vec::new();
    for shard in source.list_shards().await.unwrap() {
        let mut reader = source.open(&shard.id, ReadFrom::TrimHorizon).await.unwrap();
        loop {
            let answer = tokio::time::timeout(PATIENCE, reader.next(LIMIT)).await;
            match answer.expect("the reader answers").unwrap() {
                ReadOutcome::Records { records, .. } => {
                    let apart =
                        records.iter().flat_map(|record| apart(&shard.id, shard.range, record));
                    seen.extend(apart);
                }
                ReadOutcome::CaughtUp | ReadOutcome::ShardEnd { .. } => break,
            }
        }
    }
    seen
}

/// The user records of a record of the stream; sub-records that do not belong are dropped, as
/// every reader does.
fn apart(shard: &ShardId, range: HashKeyRange, record: &Record) -> Vec<Seen> {
    let seen = |key: &str, data: &Bytes, subsequence| {
        let position = Position { subsequence, ..record.position };
        Seen { shard: shard.clone(), position, key: key.to_owned(), data: data.clone() }
    };
    match decode(&record.data) {
        // Also a sub-record, if the source takes aggregates apart itself.
        Decoded::Plain => {
            let subsequence = record.position.subsequence;
            vec![seen(record.partition_key.as_str(), &record.data, subsequence)]
        }
        Decoded::Broken(broken) => panic!("{broken}"),
        Decoded::Records(inside) => {
            let inside = inside.into_iter().zip(0..);
            let ours = inside.filter(|(inner, _)| range.contains(inner.hash_key()));
            ours.map(|(inner, at)| seen(inner.partition_key.as_str(), &inner.data, at)).collect()
        }
    }
}

/// Outcomes answer the records in the order given.
pub async fn outcomes_name_where_each_record_went(harness: impl SinkHarness) {
    let sink = harness.sink();
    let texts: Vec<String> = (0..50).map(|number| format!("text {number}")).collect();
    let records = texts.iter().map(|text| SinkRecord {
        partition_key: text.as_str().into(),
        explicit_hash_key: None,
        hash_key: kcl_producer::hash_key(text),
        data: Bytes::copy_from_slice(text.as_bytes()),
    });
    let outcomes = sink.put_records(records.collect()).await.unwrap();
    let seen = read_all(&harness.source()).await;
    assert_eq!((outcomes.len(), seen.len()), (50, 50));
    for (text, outcome) in texts.iter().zip(outcomes) {
        let placed = outcome.unwrap();
        let found = seen.iter().find(|seen| seen.data == text.as_bytes()).unwrap();
        assert_eq!((&found.shard, found.position.sequence), (&placed.shard, placed.sequence));
        assert_eq!(&found.key, text);
    }
}

/// An explicit hash key picks the shard, and the listing says which.
pub async fn hash_keys_pick_the_shard_that_the_listing_names(harness: impl SinkHarness) {
    let sink = harness.sink();
    let open: Vec<_> = sink.list_shards().await.unwrap();
    for shard in open.iter().filter(|shard| shard.is_open) {
        for hash_key in [shard.range.start, shard.range.end] {
            let record = SinkRecord {
                partition_key: "key".into(),
                explicit_hash_key: Some(hash_key),
                hash_key,
                data: Bytes::from_static(b"x"),
            };
            let outcome = sink.put_records(vec![record]).await.unwrap().remove(0);
            assert_eq!(outcome.unwrap().shard, shard.id);
        }
    }
    harness.split(&open[0].id, open[0].range.start + 1000).await;
    let listed = sink.list_shards().await.unwrap();
    let closed = listed.iter().find(|shard| shard.id == open[0].id).unwrap();
    assert!(!closed.is_open, "closed shards stay listed, with their ranges");
    assert_eq!(closed.range, open[0].range);
}

/// Plain and in aggregates: what comes out is what went in, where the receipts say.
pub async fn what_was_put_is_read_where_the_receipts_say(harness: impl SinkHarness) {
    for aggregation in [Aggregation::Off, Aggregation::KPL] {
        let options = ProducerOptions { aggregation, ..ProducerOptions::default() };
        let job = Job { options, keys: 7, each: 30, ..Job::default() };
        job.run(&harness, harness.sink()).await;
    }
}

/// Every fate once, nothing lost and nothing out of order, whatever goes wrong.
pub async fn faults_and_reshards_lose_nothing_and_change_no_order(harness: impl SinkHarness) {
    for seed in 0..4 {
        faults(&harness, harness.sink(), seed, Duration::from_millis(3)).await;
    }
}

/// One job under the faults of a seed, which also draws the producer's options; no answer is held
/// back for more than `slowest`.
pub async fn faults(
    harness: &impl SinkHarness,
    sink: Arc<dyn PutSink>,
    seed: u64,
    slowest: Duration,
) {
    let draws = Draws::new(seed);
    let pick = |what: &str, of: u64| draws.below("options", what, 0, of) as usize;
    let options = ProducerOptions {
        aggregation: [Aggregation::Off, Aggregation::Kpl { bytes: 300 }, Aggregation::KPL]
            [pick("aggregation", 3)],
        order: [Order::ByKey, Order::ByKey, Order::Any][pick("order", 3)],
        misplaced: [Misplaced::All, Misplaced::Foreign][pick("misplaced", 2)],
        lost_reply: [LostReply::Retry, LostReply::Retry, LostReply::Report][pick("lost", 3)],
        patience: [Duration::from_secs(60), slowest * 5][usize::from(pick("patience", 4) == 0)],
        batch_records: [500, 3][pick("batch", 2)],
        linger: [None, Some(Duration::ZERO)][pick("linger", 2)],
        memory_bytes: [16 << 20, 3000][pick("memory", 2)],
        seed: Some(seed),
        ..ProducerOptions::default()
    };
    // Shown if a check fails.
    println!("seed {seed}: {options:?}");
    let faulty = FaultySink::new(sink, harness.clock(), seed, slowest);
    let job = Job { options, keys: 9, each: 25, reshards: true, draws, slowest };
    job.run(harness, Arc::new(faulty)).await;
}

/// Records put by one producer, and what is checked of them.
struct Job {
    options: ProducerOptions,
    keys: usize,
    each: usize,
    reshards: bool,
    draws: Draws,
    slowest: Duration,
}

impl Default for Job {
    fn default() -> Self {
        let options = ProducerOptions::default();
        let (draws, slowest) = (Draws::new(0), Duration::ZERO);
        Self { options, keys: 1, each: 1, reshards: false, draws, slowest }
    }
}

/// One record put: its key, its number within the key, and what became of it.
struct Put {
    key: String,
    text: String,
    fate: Fate,
}

impl Job {
    async fn run(self, harness: &impl SinkHarness, sink: Arc<dyn PutSink>) {
        let clock = harness.clock();
        let started = read_all(&harness.source()).await.len();
        let builder = Producer::builder(sink).options(self.options.clone());
        let producer = builder.clock(Arc::clone(&clock)).start();
        let mut deliveries: Vec<(String, String, Delivery)> = Vec::new();
        for number in 0..self.keys * self.each {
            let key = format!("{started}-key-{}", number % self.keys);
            let text = format!("{key} {}", number / self.keys);
            let record = NewRecord::new(key.as_str(), text.clone().into_bytes());
            let delivery = producer.put_record(record).await.unwrap();
            deliveries.push((key, text, delivery));
            let draw = self.draws.number("job", "step", number as u64);
            if draw.is_multiple_of(7) {
                clock.sleep(Draws::duration(draw, self.slowest)).await;
            }
            if self.reshards && (draw >> 8).is_multiple_of(23) {
                reshard(harness, draw).await;
            }
        }
        let ended = tokio::time::timeout(PATIENCE, producer.shutdown(PATIENCE)).await;
        assert_eq!(ended, Ok(Shutdown::Flushed));
        let mut puts = Vec::new();
        for (key, text, delivery) in deliveries {
            puts.push(Put { key, text, fate: delivery.await });
        }
        let metrics = producer.metrics();
        let fates = metrics.put_records + metrics.failed_records + metrics.unknown_records;
        assert_eq!((metrics.accepted_records, fates), (puts.len() as u64, puts.len() as u64));
        let seen = read_all(&harness.source()).await;
        check_places(&puts, &seen);
        if self.options.order == Order::ByKey {
            check_order(&puts, &seen);
        }
    }
}

/// Splits or merges somewhere.
async fn reshard(harness: &impl SinkHarness, draw: u64) {
    let listed = harness.source().list_shards().await.unwrap();
    let mut open: Vec<_> = listed.into_iter().filter(|shard| shard.is_open).collect();
    open.sort_by_key(|shard| shard.range);
    let at = (draw >> 16) as usize % open.len();
    let shard = &open[at];
    if at + 1 < open.len() && (draw >> 32).is_multiple_of(2) {
        harness.merge(&shard.id, &open[at + 1].id).await;
    } else if open.len() < 12 {
        let middle = shard.range.start / 2 + shard.range.end / 2;
        harness.split(&shard.id, middle).await;
    }
}

/// A receipt's record is where the receipt says, once unless it says otherwise; what is told not to
/// be in the stream is not.
fn check_places(puts: &[Put], seen: &[Seen]) {
    let mut by_text: BTreeMap<&[u8], Vec<&Seen>> = BTreeMap::new();
    for seen in seen {
        by_text.entry(&seen.data).or_default().push(seen);
    }
    for Put { key, text, fate } in puts {
        let found = by_text.get(text.as_bytes()).map_or(&[][..], Vec::as_slice);
        match fate {
            Ok(receipt) => {
                let is_there = |seen: &&&Seen| {
                    seen.shard == receipt.shard && seen.position == receipt.position
                };
                let there = found.iter().find(is_there);
                let there = there.unwrap_or_else(|| panic!("{text}: {receipt:?}, not {found:?}"));
                assert_eq!(&there.key, key);
                let is_once = found.len() == 1 || receipt.copies == Copies::OneOrMore;
                assert!(is_once, "{text}: {receipt:?}, but {found:?}");
            }
            Err(failure) => {
                let is_told = found.is_empty() || failure.may_be_in_stream();
                assert!(is_told, "{text}: {failure}, but {found:?}");
            }
        }
    }
}

/// Of each key, every record comes first after all that were put before it.
fn check_order(puts: &[Put], seen: &[Seen]) {
    let put: BTreeSet<&[u8]> =
        puts.iter().filter(|put| put.fate.is_ok()).map(|put| put.text.as_bytes()).collect();
    let mut keys: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    let mut first = BTreeSet::new();
    for seen in seen.iter().filter(|seen| put.contains(&seen.data[..])) {
        if first.insert(&seen.data) {
            let text = std::str::from_utf8(&seen.data).unwrap();
            let number = text.rsplit(' ').next().and_then(|number| number.parse().ok());
            keys.entry(&seen.key).or_default().push(number.expect("a number ends each text"));
        }
    }
    for (key, numbers) in keys {
        assert!(numbers.is_sorted(), "{key}: {numbers:?}");
    }
}
