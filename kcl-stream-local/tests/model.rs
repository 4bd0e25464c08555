//! The engine against a plain model of it, under random operations.

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use common::engine;
use kcl_core::protocol::{HashKeyRange, SequenceNumber, ShardId};
use kcl_core::{ReadFrom, ReadLimit, ReadOutcome, ShardReader, StreamSource};
use kcl_stream_local::{
    NewRecord, PutError, ShardFilter, ShardIterator, ShardNumber, Stream, StreamOptions,
    Throughput, hash_key,
};
use proptest::prelude::*;

const HOUR_MILLIS: u64 = 3_600_000;
/// The shortest retention a stream may have.
const DAY_MILLIS: u64 = 24 * HOUR_MILLIS;
/// Bytes of a record of which a shard takes a few in a second.
const LARGE: usize = 200_000;
/// What a shard takes in a second (bytes of data and key).
const SHARD_BYTES: usize = 1 << 20;
const READERS: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    Put(Vec<u8>),
    /// Under the rates of the service: some of each shard's may be refused.
    PutLarge(Vec<u8>),
    Read {
        reader: usize,
        records: usize,
    },
    Pull {
        kind: u8,
        at: prop::sample::Index,
        records: usize,
    },
    Split(prop::sample::Index),
    Merge(prop::sample::Index),
    Uniform(u32),
    Retention {
        hours: u32,
    },
    Pass {
        minutes: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        6 => prop::collection::vec(0u8..12, 1..9).prop_map(Step::Put),
        2 => prop::collection::vec(0u8..12, 1..16).prop_map(Step::PutLarge),
        6 => (0..READERS, 1usize..9).prop_map(|(reader, records)| Step::Read { reader, records }),
        6 => (0u8..5, index(), 1usize..9)
            .prop_map(|(kind, at, records)| Step::Pull { kind, at, records }),
        1 => index().prop_map(Step::Split),
        1 => index().prop_map(Step::Merge),
        1 => (1u32..7).prop_map(Step::Uniform),
        1 => (24u32..49).prop_map(|hours| Step::Retention { hours }),
        3 => (0u64..600).prop_map(|minutes| Step::Pass { minutes }),
    ]
}

/// Sequence number, arrival time, data.
type Kept = (SequenceNumber, u64, String);

type Keep = Box<dyn Fn(&Kept) -> bool>;

/// A shard of the model: all it ever took, and its range.
struct ModelShard {
    start: u128,
    end: u128,
    children: Vec<u32>,
    closed_at: Option<u64>,
    records: Vec<Kept>,
    /// Bytes taken under the rates since they were last whole.
    taken: usize,
}

struct Model {
    now: u64,
    retention: u64,
    /// What arrived by then is gone, however long records are kept now.
    floor: u64,
    shards: Vec<ModelShard>,
    puts: usize,
}

impl Model {
    fn open(&self) -> Vec<u32> {
        let mut open: Vec<u32> = (0..self.shards.len() as u32)
            .filter(|n| self.shards[*n as usize].closed_at.is_none())
            .collect();
        open.sort_by_key(|n| self.shards[*n as usize].start);
        open
    }

    fn add(&mut self, start: u128, end: u128) -> u32 {
        let (children, records) = (Vec::new(), Vec::new());
        self.shards.push(ModelShard { start, end, children, closed_at: None, records, taken: 0 });
        self.shards.len() as u32 - 1
    }

    fn close(&mut self, shard: u32, children: &[u32]) {
        // A child is opened at least a millisecond after its parents, which may be to come.
        let shard = &mut self.shards[shard as usize];
        shard.closed_at = Some(self.now);
        shard.children = children.to_vec();
    }

    fn is_gone(&self, shard: u32) -> bool {
        let closed_at = self.shards[shard as usize].closed_at;
        closed_at.is_some_and(|at| at + DAY_MILLIS + 1000 <= self.now)
    }

    fn retained(&self, shard: u32) -> &[Kept] {
        let records = &self.shards[shard as usize].records;
        let horizon = self.floor.max(self.now.saturating_sub(self.retention));
        let expired = records.partition_point(|record| record.1 <= horizon);
        &records[expired..]
    }
}

struct Reader {
    reader: Box<dyn ShardReader>,
    shard: u32,
    /// The last record it returned.
    last: Option<SequenceNumber>,
    has_told_tip: bool,
}

async fn put(stream: &Stream, model: &mut Model, keys: &[u8]) {
    let first = model.puts;
    let record =
        |(n, key): (usize, &u8)| NewRecord::new(format!("key{key}"), format!("{}", first + n));
    let records: Vec<_> = keys.iter().enumerate().map(record).collect();
    let results = stream.put_many(records.clone()).unwrap().results;
    model.puts += keys.len();
    for (record, result) in records.iter().zip(results) {
        let receipt = result.unwrap();
        let key = hash_key(record.partition_key.as_str());
        let shard = &mut model.shards[receipt.shard.0 as usize];
        assert!(shard.closed_at.is_none() && shard.start <= key && key <= shard.end);
        assert!(shard.records.last().is_none_or(|last| last.0 < receipt.sequence));
        let text = String::from_utf8_lossy(&record.data).into_owned();
        shard.records.push((receipt.sequence, model.now, text));
    }
}

/// A put of many under the service's rates: each shard takes a mebibyte, and once one record of a
/// put was refused, none after it.
fn put_large(stream: &Stream, model: &mut Model, keys: &[u8]) {
    stream.set_throughput(Throughput::Provisioned).unwrap();
    let record = |key: &u8| NewRecord::new(format!("key{key}"), vec![*key; LARGE]);
    let records: Vec<_> = keys.iter().map(record).collect();
    let results = stream.put_many(records.clone()).unwrap().results;
    stream.set_throughput(Throughput::Unlimited).unwrap();
    let mut full = BTreeSet::new();
    for (record, result) in records.iter().zip(results) {
        let key = hash_key(record.partition_key.as_str());
        let open = model.open();
        let is_there = |n: &&u32| {
            let shard = &model.shards[**n as usize];
            shard.start <= key && key <= shard.end
        };
        let number = *open.iter().find(is_there).unwrap();
        let shard = &mut model.shards[number as usize];
        let bytes = LARGE + record.partition_key.as_str().len();
        if shard.taken + bytes > SHARD_BYTES || full.contains(&number) {
            full.insert(number);
            assert!(matches!(result, Err(PutError::Throttled { shard, .. }) if shard.0 == number));
            continue;
        }
        let receipt = result.unwrap();
        assert_eq!(receipt.shard.0, number);
        shard.taken += bytes;
        let text = String::from_utf8_lossy(&record.data).into_owned();
        shard.records.push((receipt.sequence, model.now, text));
    }
}

/// The number in a shard's id.
fn number_of(id: &ShardId) -> u32 {
    id.as_str().rsplit('-').next().unwrap().parse().unwrap()
}

/// Any number of splits and merges: what counts is that the space is divided evenly after it, that
/// what is open on both sides was left alone, and that each child covers of its parents what they
/// had.
fn reshard(stream: &Stream, model: &mut Model, count: u32) {
    let before = model.open();
    stream.update_shard_count(count).unwrap();
    let listed = stream.list_shards(&ShardFilter::FromTrimHorizon).unwrap();
    let known = model.shards.len();
    for info in listed.iter().filter(|info| info.number.0 as usize >= known) {
        let number = model.add(info.range.start, info.range.end);
        assert_eq!(number, info.number.0, "numbers follow each other");
        assert!(!info.parents.is_empty());
        for parent in &info.parents {
            let (now, parent) = (model.now, &mut model.shards[number_of(parent) as usize]);
            assert!(parent.start <= info.range.end && info.range.start <= parent.end);
            parent.closed_at.get_or_insert(now);
            parent.children.push(number);
        }
    }
    let even: Vec<_> = HashKeyRange::split_evenly(count).iter().map(|r| (r.start, r.end)).collect();
    let range = |n: &u32| (model.shards[*n as usize].start, model.shards[*n as usize].end);
    let after = model.open();
    assert_eq!(after.iter().map(range).collect::<Vec<_>>(), even);
    for shard in before.iter().filter(|shard| even.contains(&range(shard))) {
        assert!(after.contains(shard), "{shard} was right already");
    }
}

async fn read(model: &Model, reader: &mut Reader, records: usize) {
    let left: Vec<_> =
        model.retained(reader.shard).iter().filter(|r| Some(r.0) > reader.last).collect();
    let is_open = model.shards[reader.shard as usize].closed_at.is_none();
    if left.is_empty() && is_open && reader.has_told_tip {
        return; // It would wait.
    }
    match reader.reader.next(ReadLimit { records, bytes: usize::MAX }).await.unwrap() {
        ReadOutcome::Records { records: got, behind_millis } => {
            assert_eq!(got.len(), left.len().min(records));
            for (got, expected) in got.iter().zip(&left) {
                assert_eq!(got.position.sequence, expected.0);
                assert_eq!(got.arrival_millis, expected.1);
                assert_eq!(got.data, expected.2.as_bytes());
            }
            assert_eq!(behind_millis == 0, got.len() == left.len());
            reader.last = got.last().map(|record| record.position.sequence);
            reader.has_told_tip = false;
        }
        ReadOutcome::CaughtUp => {
            assert!(left.is_empty() && is_open && !reader.has_told_tip);
            reader.has_told_tip = true;
        }
        ReadOutcome::ShardEnd { children } => {
            assert!(left.is_empty() && !is_open);
            let expected = &model.shards[reader.shard as usize].children;
            let told: Vec<_> = children.iter().map(|child| child.id.clone()).collect();
            assert_eq!(told, expected.iter().map(|n| ShardNumber(*n).id()).collect::<Vec<_>>());
        }
    }
}

fn pull(stream: &Stream, model: &Model, kind: u8, at: prop::sample::Index, records: usize) {
    let shard = at.index(model.shards.len()) as u32;
    if model.shards[shard as usize].closed_at.is_some_and(|at| at + DAY_MILLIS <= model.now + 1000)
    {
        return; // Gone, or so near that the model does not say.
    }
    let all = &model.shards[shard as usize].records;
    let chosen = (!all.is_empty()).then(|| at.get(all).clone());
    let (from, keep): (_, Keep) = match (kind, chosen) {
        (1, _) => (ReadFrom::Latest, Box::new(|_| false)),
        (2, Some(it)) => (ReadFrom::At(it.0), Box::new(move |r| r.0 >= it.0)),
        (3, Some(it)) => (ReadFrom::After(it.0.into()), Box::new(move |r| r.0 > it.0)),
        (4, Some(it)) => (ReadFrom::AtTimestamp(it.1), Box::new(move |r| r.1 >= it.1)),
        _ => (ReadFrom::TrimHorizon, Box::new(|_| true)),
    };
    let expected: Vec<_> = model.retained(shard).iter().filter(|r| keep(r)).collect();
    let mut next: Option<ShardIterator> =
        Some(stream.shard_iterator(&ShardNumber(shard).id(), from).unwrap());
    let mut seen = Vec::new();
    while let Some(iterator) = next {
        let got = stream.get_records(&iterator, records).unwrap();
        seen.extend(got.records.iter().map(|record| record.position.sequence));
        let has_ended = got.next.is_none();
        assert_eq!(has_ended, !got.children.is_empty());
        next = got.next.filter(|_| !got.records.is_empty());
        assert!(got.behind_millis == 0 || next.is_some());
    }
    assert_eq!(seen, expected.iter().map(|record| record.0).collect::<Vec<_>>());
}

async fn run(steps: Vec<Step>) {
    let stream = engine().create_stream("s", 2, StreamOptions::unlimited()).unwrap();
    let mut model =
        Model { now: common::START, retention: DAY_MILLIS, floor: 0, shards: Vec::new(), puts: 0 };
    model.add(0, u128::MAX / 2);
    model.add(u128::MAX / 2 + 1, u128::MAX);
    let mut readers: Vec<Reader> = Vec::new();
    for n in 0..READERS as u32 {
        readers.push(open(&stream, n % 2).await);
    }
    for step in steps {
        match step {
            Step::Put(keys) => put(&stream, &mut model, &keys).await,
            Step::PutLarge(keys) => put_large(&stream, &mut model, &keys),
            Step::Uniform(count) => reshard(&stream, &mut model, count),
            Step::Retention { hours } => {
                stream.set_retention_hours(hours).unwrap();
                model.floor = model.floor.max(model.now.saturating_sub(model.retention));
                model.retention = u64::from(hours) * HOUR_MILLIS;
            }
            Step::Read { reader, records } => read(&model, &mut readers[reader], records).await,
            Step::Pull { kind, at, records } => pull(&stream, &model, kind, at, records),
            Step::Split(at) => {
                let parent = *at.get(&model.open());
                let ModelShard { start, end, .. } = model.shards[parent as usize];
                let middle = start + (end - start) / 2 + 1;
                let children = [model.add(start, middle - 1), model.add(middle, end)];
                let made = stream.split_shard(&ShardNumber(parent).id(), middle).unwrap();
                assert_eq!(made.map(|n| n.0), children);
                model.close(parent, &children);
            }
            Step::Merge(at) if model.open().len() > 1 => {
                let open = model.open();
                let at = at.index(open.len() - 1);
                let ids = [open[at], open[at + 1]];
                let [lower, upper] = ids.map(|n| &model.shards[n as usize]);
                let child = model.add(lower.start, upper.end);
                let [one, two] = ids.map(|n| ShardNumber(n).id());
                assert_eq!(stream.merge_shards(&one, &two).unwrap().0, child);
                ids.iter().for_each(|parent| model.close(*parent, &[child]));
            }
            Step::Merge(_) => {}
            Step::Pass { minutes } => {
                model.now += minutes * 60_000;
                if minutes > 0 {
                    model.shards.iter_mut().for_each(|shard| shard.taken = 0);
                }
                tokio::time::advance(Duration::from_secs(minutes * 60)).await;
            }
        }
        // A reader that came to an end, or whose shard is gone, follows another shard.
        for reader in &mut readers {
            if model.is_gone(reader.shard) {
                let open_now = model.open();
                *reader = open(&stream, open_now[reader.shard as usize % open_now.len()]).await;
            }
        }
    }
}

async fn open(stream: &Stream, shard: u32) -> Reader {
    let reader = stream.source().open(&ShardNumber(shard).id(), ReadFrom::TrimHorizon).await;
    Reader { reader: reader.unwrap(), shard, last: None, has_told_tip: false }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn the_engine_does_what_the_model_does(steps in prop::collection::vec(step(), 1..60)) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        runtime.block_on(run(steps));
    }
}
