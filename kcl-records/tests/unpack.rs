//! A source that unpacks, over a scripted one.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use kcl_core::{
    ChildShard, ReadFrom, ReadLimit, ReadOutcome, Record, Shard, ShardReader, SourceError,
    StreamDescription, StreamSource,
};
use kcl_protocol::{HashKeyRange, Position, SequenceNumber, ShardId};
use kcl_records::aggregate::{MAGIC, SubRecord};
use kcl_records::{AggregateBuilder, Foreign, UnpackedSource, hash_key};
use proptest::prelude::*;

/// One shard of fixed records; then the tip once, then the end.
#[derive(Clone)]
struct Script {
    records: Arc<Vec<Record>>,
    range: Option<HashKeyRange>,
    /// Of the shard's end, and whether they are listed.
    children: Vec<ChildShard>,
    lists_children: Arc<AtomicBool>,
    /// Records a page.
    page: usize,
    listed: Arc<AtomicUsize>,
}

impl Script {
    fn new(records: Vec<Record>) -> Self {
        let (records, lists_children, listed) = (Arc::new(records), Arc::default(), Arc::default());
        let (range, children) = (Some(HashKeyRange::FULL), Vec::new());
        Self { records, range, children, lists_children, page: 3, listed }
    }
}

fn shard() -> ShardId {
    ShardId::new("shardId-000000000000")
}

#[async_trait]
impl StreamSource for Script {
    async fn describe(&self) -> Result<StreamDescription, SourceError> {
        Err(SourceError::Refused("not used".into()))
    }
    async fn list_shards(&self) -> Result<Vec<Shard>, SourceError> {
        tokio::task::yield_now().await;
        // The first try of a test that counts fails.
        if self.listed.fetch_add(1, Ordering::SeqCst) == usize::MAX {
            return Err(SourceError::Unavailable("scripted".into()));
        }
        let parents = BTreeSet::new();
        let listed = |range| Shard { id: shard(), parents, range, is_open: true, tip: None };
        let mut shards: Vec<_> = self.range.map(listed).into_iter().collect();
        if self.lists_children.load(Ordering::SeqCst) {
            shards.extend(self.children.iter().map(|child| {
                let ChildShard { id, parents, range } = child.clone();
                Shard { id, parents, range, is_open: true, tip: None }
            }));
        }
        Ok(shards)
    }
    async fn open(&self, _: &ShardId, from: ReadFrom) -> Result<Box<dyn ShardReader>, SourceError> {
        let before = |record: &Record| match from {
            ReadFrom::At(sequence) => record.position.sequence < sequence,
            ReadFrom::TrimHorizon => false,
            other => panic!("{other:?} is not used"),
        };
        let next = self.records.partition_point(before);
        Ok(Box::new(ScriptReader { script: self.clone(), next, told_tip: false }))
    }
}

struct ScriptReader {
    script: Script,
    next: usize,
    told_tip: bool,
}

#[async_trait]
impl ShardReader for ScriptReader {
    async fn next(&mut self, limit: ReadLimit) -> Result<ReadOutcome, SourceError> {
        tokio::task::yield_now().await;
        let records = self.script.records[self.next..].iter();
        let mut bytes = 0;
        let fits = |record: &&Record| {
            let is_first = bytes == 0;
            bytes += size(record);
            is_first || bytes <= limit.bytes
        };
        let most = limit.records.min(self.script.page);
        let records: Vec<_> = records.take(most).take_while(fits).cloned().collect();
        if !records.is_empty() {
            self.next += records.len();
            let behind_millis = (self.script.records.len() - self.next) as u64;
            return Ok(ReadOutcome::Records { records, behind_millis });
        }
        if !std::mem::replace(&mut self.told_tip, true) {
            return Ok(ReadOutcome::CaughtUp);
        }
        Ok(ReadOutcome::ShardEnd { children: self.script.children.clone() })
    }
}

fn sequence(number: usize) -> SequenceNumber {
    SequenceNumber::from_parts(0, 100 + number as u128)
}

fn at(number: usize, subsequence: u64) -> Position {
    Position { sequence: sequence(number), subsequence }
}

fn record(number: usize, key: &str, data: impl Into<bytes::Bytes>) -> Record {
    Record {
        position: sequence(number).into(),
        partition_key: key.into(),
        data: data.into(),
        arrival_millis: number as u64,
        unreadable: None,
    }
}

fn aggregate(subs: &[SubRecord]) -> bytes::Bytes {
    let mut builder = AggregateBuilder::new();
    subs.iter().for_each(|sub| builder.push(&sub.partition_key, sub.explicit_hash_key, &sub.data));
    builder.finish()
}

/// Sub-records with these hash keys, whose data is their number.
fn subs(hash_keys: impl IntoIterator<Item = u128>) -> Vec<SubRecord> {
    let sub = |(number, hash): (u8, u128)| SubRecord {
        partition_key: format!("k{}", number % 3).into(),
        explicit_hash_key: Some(hash),
        data: vec![number].into(),
    };
    (0..).zip(hash_keys).map(sub).collect()
}

const LIMIT: ReadLimit = ReadLimit { records: 100, bytes: 1 << 20 };

/// Reads to the end of the shard. `drops` says before which polls a call is dropped and made anew.
async fn read<S: StreamSource>(
    source: &UnpackedSource<S>,
    from: ReadFrom,
    limit: ReadLimit,
    mut drops: impl Iterator<Item = bool>,
) -> Vec<Record> {
    let mut reader = source.open(&shard(), from).await.unwrap();
    let mut all: Vec<Record> = Vec::new();
    loop {
        let drop_it = drops.next().unwrap_or(false);
        let answer = tokio::select! { biased;
            answer = reader.next(limit) => answer.unwrap(),
            () = std::future::ready(()), if drop_it => continue,
        };
        match answer {
            ReadOutcome::Records { records, .. } => {
                assert!(!records.is_empty(), "an answer with records has at least one");
                assert!(records.len() <= limit.records);
                let bytes: usize = records.iter().map(size).sum();
                assert!(bytes <= limit.bytes || records.len() == 1, "{bytes} bytes");
                all.extend(records);
            }
            ReadOutcome::CaughtUp => {}
            ReadOutcome::ShardEnd { .. } => return all,
        }
    }
}

async fn read_all<S: StreamSource>(source: &UnpackedSource<S>, from: ReadFrom) -> Vec<Record> {
    read(source, from, LIMIT, std::iter::empty()).await
}

fn size(record: &Record) -> usize {
    record.data.len() + record.partition_key.as_str().len()
}

fn positions(records: &[Record]) -> Vec<Position> {
    records.iter().map(|record| record.position).collect()
}

#[tokio::test]
async fn sub_records_come_at_their_places_with_keys_and_arrival_of_their_own_record() {
    let records = vec![record(0, "a", "plain"), record(1, "x", aggregate(&subs([5, 6])))];
    let source = UnpackedSource::new(Script::new(records.clone()));
    let read = read_all(&source, ReadFrom::TrimHorizon).await;
    assert_eq!(read[0], records[0]);
    assert_eq!(positions(&read), [at(0, 0), at(1, 0), at(1, 1)]);
    let keys: Vec<_> = read.iter().map(|record| record.partition_key.as_str()).collect();
    assert_eq!(keys, ["a", "k0", "k1"]);
    assert_eq!((&read[2].data[..], read[2].arrival_millis), (&[1][..], 1));
}

#[tokio::test]
async fn only_sub_records_of_other_shards_are_dropped_and_the_rest_keeps_its_places() {
    let mut script = Script::new(vec![
        record(0, "x", aggregate(&subs([1, 99, 2, 100]))),
        record(1, "x", aggregate(&subs([100, 101]))),
        record(2, "x", aggregate(&subs([3]))),
    ]);
    script.range = HashKeyRange::new(0, 99);
    let source = UnpackedSource::new(script.clone());
    let read = read_all(&source, ReadFrom::TrimHorizon).await;
    assert_eq!(positions(&read), [at(0, 0), at(0, 1), at(0, 2), at(2, 0)]);
    assert_eq!(script.listed.load(Ordering::SeqCst), 1, "the range is asked for once");
    read_all(&source, ReadFrom::TrimHorizon).await;
    assert_eq!(script.listed.load(Ordering::SeqCst), 1, "for all readers");
    let kept = read_all(&source.foreign(Foreign::Keep), ReadFrom::TrimHorizon).await;
    assert_eq!(kept.len(), 7);
}

#[tokio::test]
async fn a_sub_record_without_a_hash_key_of_its_own_belongs_where_its_key_says() {
    let sub = |key: &str| SubRecord {
        partition_key: key.into(),
        explicit_hash_key: None,
        data: "x".into(),
    };
    let mut script = Script::new(vec![record(0, "x", aggregate(&[sub("a"), sub("b")]))]);
    let only_b = HashKeyRange { start: hash_key("b"), end: hash_key("b") };
    script.range = Some(only_b);
    let read = read_all(&UnpackedSource::new(script), ReadFrom::TrimHorizon).await;
    assert_eq!((positions(&read), read[0].partition_key.as_str()), (vec![at(0, 1)], "b"));
}

#[tokio::test]
async fn a_page_of_nothing_but_foreign_sub_records_is_passed_over() {
    let mut script =
        Script::new((0..10).map(|n| record(n, "x", aggregate(&subs([100])))).collect());
    script.range = HashKeyRange::new(0, 99);
    let source = UnpackedSource::new(script);
    let mut reader = source.open(&shard(), ReadFrom::TrimHorizon).await.unwrap();
    assert_eq!(reader.next(LIMIT).await.unwrap(), ReadOutcome::CaughtUp);
    let end = ReadOutcome::ShardEnd { children: Vec::new() };
    assert_eq!(reader.next(LIMIT).await.unwrap(), end);
}

#[tokio::test]
async fn a_shard_that_is_no_longer_listed_keeps_all_its_sub_records() {
    let mut script = Script::new(vec![record(0, "x", aggregate(&subs([1, u128::MAX])))]);
    script.range = None;
    let read = read_all(&UnpackedSource::new(script), ReadFrom::TrimHorizon).await;
    assert_eq!(read.len(), 2);
}

/// Of the script's shard: the hash keys below 100.
/// Whether these bytes are in that buffer.
fn is_inside(data: &bytes::Bytes, whole: &bytes::Bytes) -> bool {
    whole.as_ptr_range().contains(&data.as_ptr())
}

#[tokio::test]
async fn few_records_of_an_aggregate_do_not_keep_all_of_it_in_memory() {
    let sub = |hash| SubRecord {
        partition_key: "k".into(),
        explicit_hash_key: Some(hash),
        data: vec![hash as u8; 1_000].into(),
    };
    let subs: Vec<_> = (0..10).map(sub).collect();
    let whole = record(0, "outer", aggregate(&subs));
    // All, half and two of ten belong to the shard.
    for (end, is_kept) in [(9, true), (4, true), (1, false)] {
        let range = HashKeyRange::new(0, end);
        let source = UnpackedSource::new(Script { range, ..Script::new(vec![whole.clone()]) });
        let records = read_all(&source, ReadFrom::TrimHorizon).await;
        assert_eq!(records.len() as u128, end + 1);
        for (record, sub) in records.iter().zip(&subs) {
            assert_eq!(record.data, sub.data);
            assert_eq!(is_inside(&record.data, &whole.data), is_kept, "up to {end}");
        }
    }
    let source = UnpackedSource::new(Script::new(vec![whole.clone()]));
    let records = read_all(&source, ReadFrom::After(at(0, 6))).await;
    assert_eq!(positions(&records), [at(0, 7), at(0, 8), at(0, 9)]);
    assert!(!records.iter().any(|record| is_inside(&record.data, &whole.data)));
}

fn child() -> ChildShard {
    let (id, parents) = (ShardId::new("shardId-000000000001"), [shard()].into());
    ChildShard { id, parents, range: HashKeyRange { start: 0, end: 99 } }
}

fn script_with_a_child() -> Script {
    let records = vec![record(0, "x", aggregate(&subs([1, 100])))];
    Script { children: vec![child()], ..Script::new(records) }
}

async fn next(reader: &mut dyn ShardReader) -> Result<usize, SourceError> {
    match reader.next(LIMIT).await? {
        ReadOutcome::Records { records, .. } => Ok(records.len()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_child_that_no_listing_shows_yet_has_the_range_that_its_parent_told() {
    let source = UnpackedSource::new(script_with_a_child());
    let parent = read_all(&source, ReadFrom::TrimHorizon).await;
    assert_eq!(parent.len(), 2);
    source.list_shards().await.unwrap();
    let mut reader = source.open(&child().id, ReadFrom::TrimHorizon).await.unwrap();
    assert_eq!(next(&mut *reader).await, Ok(1));
}

#[tokio::test]
async fn a_shard_that_is_not_listed_yet_is_waited_for() {
    let script = script_with_a_child();
    let source = UnpackedSource::new(script.clone());
    let mut reader = source.open(&child().id, ReadFrom::TrimHorizon).await.unwrap();
    for _ in 0..3 {
        assert!(next(&mut *reader).await.is_err_and(|error| error.is_transient()));
    }
    script.lists_children.store(true, Ordering::SeqCst);
    assert_eq!(next(&mut *reader).await, Ok(1), "nothing was lost meanwhile");
}

#[tokio::test]
async fn a_listing_that_fails_is_tried_again_by_the_next_read() {
    let script = Script::new(vec![record(0, "x", aggregate(&subs([1])))]);
    script.listed.store(usize::MAX, Ordering::SeqCst);
    let source = UnpackedSource::new(script);
    let mut reader = source.open(&shard(), ReadFrom::TrimHorizon).await.unwrap();
    assert!(reader.next(LIMIT).await.unwrap_err().is_transient());
    let ReadOutcome::Records { records, .. } = reader.next(LIMIT).await.unwrap() else {
        panic!("the record is still there")
    };
    assert_eq!(records.len(), 1);
}

#[tokio::test]
async fn a_broken_aggregate_is_an_unreadable_record_with_its_bytes() {
    let whole = aggregate(&subs([1, 2]));
    let cut = whole.slice(..whole.len() - 1);
    let source =
        UnpackedSource::new(Script::new(vec![record(0, "x", cut.clone()), record(1, "a", "ok")]));
    let read = read_all(&source, ReadFrom::TrimHorizon).await;
    let why = &read[0].unreadable.as_ref().unwrap().reason;
    assert!(why.contains("checksum"), "{why}");
    assert_eq!((&read[0].data, read[0].position), (&cut, at(0, 0)));
    assert!(read[1].unreadable.is_none());
    // Once it counts as done it does not come again.
    let rest = read_all(&source, ReadFrom::After(at(0, 0))).await;
    assert_eq!(positions(&rest), [at(1, 0)]);
}

#[tokio::test]
async fn a_checkpoint_made_without_unpacking_repeats_at_most_one_aggregate_and_loses_nothing() {
    let records = vec![record(0, "x", aggregate(&subs([1, 2, 3]))), record(1, "a", "ok")];
    let source = UnpackedSource::new(Script::new(records));
    let rest = read_all(&source, ReadFrom::After(at(0, 0))).await;
    assert_eq!(positions(&rest), [at(0, 1), at(0, 2), at(1, 0)]);
}

#[tokio::test]
async fn a_position_whose_record_is_gone_starts_with_the_first_after_it() {
    let source = UnpackedSource::new(Script::new(vec![record(5, "x", aggregate(&subs([1, 2])))]));
    for gone in [at(3, 0), at(3, 7), at(4, u64::MAX)] {
        assert_eq!(read_all(&source, ReadFrom::After(gone)).await.len(), 2);
    }
}

#[tokio::test]
async fn a_limit_of_no_bytes_gives_one_record_at_a_time() {
    let records = vec![record(0, "x", aggregate(&subs([1, 2]))), record(1, "a", "plain")];
    let source = UnpackedSource::new(Script::new(records));
    let mut reader = source.open(&shard(), ReadFrom::TrimHorizon).await.unwrap();
    let mut all = Vec::new();
    for _ in 0..3 {
        let limit = ReadLimit { records: 100, bytes: 0 };
        let ReadOutcome::Records { records, .. } = reader.next(limit).await.unwrap() else {
            panic!("there are more");
        };
        assert_eq!(records.len(), 1);
        all.extend(records);
    }
    assert_eq!(positions(&all), [at(0, 0), at(0, 1), at(1, 0)]);
}

#[tokio::test]
async fn lag_counts_what_was_read_and_is_not_returned_yet() {
    let records = (0..3).map(|n| record(n, "x", aggregate(&subs([1, 2])))).collect();
    let source = UnpackedSource::new(Script::new(records));
    let mut reader = source.open(&shard(), ReadFrom::TrimHorizon).await.unwrap();
    let limit = ReadLimit { records: 3, bytes: 1 << 20 };
    let mut lags = Vec::new();
    while let ReadOutcome::Records { behind_millis, .. } = reader.next(limit).await.unwrap() {
        lags.push(behind_millis);
    }
    assert_eq!(lags, [1, 0], "record 1 came a millisecond before the last one");
}

#[tokio::test]
async fn what_is_unpacked_and_not_returned_is_told_as_held() {
    let records = vec![record(0, "x", aggregate(&subs([1, 2, 3]))), record(1, "a", "plain")];
    let source = UnpackedSource::new(Script::new(records));
    let mut reader = source.open(&shard(), ReadFrom::TrimHorizon).await.unwrap();
    let limit = ReadLimit { records: 1, bytes: 1 << 20 };
    let mut held = Vec::new();
    for _ in 0..4 {
        reader.next(limit).await.unwrap();
        let ReadLimit { records, bytes } = reader.held();
        held.push((records, bytes));
    }
    // A sub-record has three bytes, the plain record six; one is read of a page of the stream.
    assert_eq!(held, [(2, 6), (1, 3), (0, 0), (0, 0)]);
}

#[derive(Clone, Debug)]
enum Made {
    Plain(Vec<u8>),
    Aggregate(Vec<u128>),
    Broken,
}

fn made() -> impl Strategy<Value = Vec<Made>> {
    let one = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..20).prop_map(Made::Plain),
        prop::collection::vec(0u128..200, 0..12).prop_map(Made::Aggregate),
        Just(Made::Broken),
    ];
    prop::collection::vec(one, 0..20)
}

/// The records as the stream has them, and the places that are inside.
fn script(made: &[Made]) -> (Script, Vec<Position>) {
    let (mut records, mut inside) = (Vec::new(), Vec::new());
    for (number, made) in made.iter().enumerate() {
        match made {
            Made::Plain(data) => records.push(record(number, "p", data.clone())),
            Made::Broken => records.push(record(number, "b", MAGIC.to_vec())),
            Made::Aggregate(hash_keys) => {
                let kept = (0..).zip(hash_keys).filter(|(_, hash)| **hash < 100);
                inside.extend(kept.map(|(index, _)| at(number, index)));
                records.push(record(number, "x", aggregate(&subs(hash_keys.iter().copied()))));
                continue;
            }
        }
        inside.push(at(number, 0));
    }
    let mut script = Script::new(records);
    script.range = HashKeyRange::new(0, 99);
    (script, inside)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn every_record_comes_once_in_order_whatever_the_limit_the_pages_and_the_dropped_calls(
        made in made(),
        page in 1usize..6,
        most in (1usize..10, 1usize..60),
        drops in prop::collection::vec(any::<bool>(), 0..200),
    ) {
        let (mut script, inside) = script(&made);
        script.page = page;
        let limit = ReadLimit { records: most.0, bytes: most.1 };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let source = UnpackedSource::new(script);
        let reading = read(&source, ReadFrom::TrimHorizon, limit, drops.into_iter());
        let records = runtime.block_on(reading);
        prop_assert_eq!(positions(&records), inside);
    }

    #[test]
    fn a_reader_opened_after_any_record_goes_on_with_the_next(
        made in made(),
        place in any::<prop::sample::Index>(),
    ) {
        let (script, inside) = script(&made);
        prop_assume!(!inside.is_empty());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let source = UnpackedSource::new(script);
        let place = place.index(inside.len());
        let rest = runtime.block_on(read_all(&source, ReadFrom::After(inside[place])));
        prop_assert_eq!(positions(&rest), &inside[place + 1..]);
    }
}
