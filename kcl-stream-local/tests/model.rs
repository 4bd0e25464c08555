//! The engine against a plain model of it, under random operations.

mod common;

use std::time::Duration;

use common::engine;
use kcl_core::protocol::SequenceNumber;
use kcl_core::{ReadFrom, ReadLimit, ReadOutcome, ShardReader, StreamSource};
use kcl_stream_local::{NewRecord, ShardIterator, ShardNumber, Stream, StreamOptions, hash_key};
use proptest::prelude::*;

const DAY_MILLIS: u64 = 24 * 3_600_000;
const READERS: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    Put(Vec<u8>),
    Read { reader: usize, records: usize },
    Pull { kind: u8, at: prop::sample::Index, records: usize },
    Split(prop::sample::Index),
    Merge(prop::sample::Index),
    Pass { minutes: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        6 => prop::collection::vec(0u8..12, 1..9).prop_map(Step::Put),
        6 => (0..READERS, 1usize..9).prop_map(|(reader, records)| Step::Read { reader, records }),
        6 => (0u8..5, index(), 1usize..9)
            .prop_map(|(kind, at, records)| Step::Pull { kind, at, records }),
        1 => index().prop_map(Step::Split),
        1 => index().prop_map(Step::Merge),
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
}

struct Model {
    now: u64,
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
        self.shards.push(ModelShard { start, end, children, closed_at: None, records });
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
        let expired = records.partition_point(|record| record.1 + DAY_MILLIS <= self.now);
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
    let mut model = Model { now: common::START, shards: Vec::new(), puts: 0 };
    model.add(0, u128::MAX / 2);
    model.add(u128::MAX / 2 + 1, u128::MAX);
    let mut readers: Vec<Reader> = Vec::new();
    for n in 0..READERS as u32 {
        readers.push(open(&stream, n % 2).await);
    }
    for step in steps {
        match step {
            Step::Put(keys) => put(&stream, &mut model, &keys).await,
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
