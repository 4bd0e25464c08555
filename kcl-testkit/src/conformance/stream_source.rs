//! What a stream source must do, one fact a function. Each takes a fresh harness and panics with
//! the fact that does not hold.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kcl_core::protocol::{HashKeyRange, Position, SequenceNumber, ShardId};
use kcl_core::{ReadFrom, ReadLimit, ReadOutcome, Record, ShardReader, SourceError, StreamSource};

/// A stream under test, and how to write to it.
#[async_trait]
pub trait SourceHarness: Send + Sync {
    /// The source.
    fn source(&self) -> Arc<dyn StreamSource>;
    /// Puts a record into the shard whose range holds this hash key; returns where it went.
    async fn put(&self, hash_key: u128, data: &[u8]) -> (ShardId, SequenceNumber);
    /// Splits a shard at this hash key.
    async fn split(&self, shard: &ShardId, at: u128);
    /// Merges two shards whose ranges touch.
    async fn merge(&self, shard: &ShardId, adjacent: &ShardId);
    /// The stream's own time (Unix milliseconds), after letting at least a millisecond pass.
    async fn next_millisecond(&self) -> u64;
}

const LIMIT: ReadLimit = ReadLimit { records: 100, bytes: 1 << 20 };
/// Nothing here takes as long, unless it never comes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Opens a reader; a source that says "not now" is asked again, as a worker does.
async fn open(
    harness: &impl SourceHarness,
    shard: &ShardId,
    from: ReadFrom,
) -> Box<dyn ShardReader> {
    let source = harness.source();
    let opened = async {
        loop {
            match source.open(shard, from).await {
                Err(error) if error.is_transient() => pause(&error).await,
                opened => return opened.unwrap(),
            }
        }
    };
    tokio::time::timeout(PATIENCE, opened).await.expect("the reader opens")
}

async fn pause(error: &SourceError) {
    let pause = match error {
        SourceError::Throttled { retry_after } => *retry_after,
        _ => Duration::from_millis(50),
    };
    tokio::time::sleep(pause).await;
}

/// Records until the reader has caught up or its shard has ended.
async fn drain(reader: &mut dyn ShardReader) -> Vec<Record> {
    let mut all = Vec::new();
    while let ReadOutcome::Records { records, .. } = next(reader).await {
        assert!(!records.is_empty(), "an answer with records has at least one");
        all.extend(records);
    }
    all
}

async fn next(reader: &mut dyn ShardReader) -> ReadOutcome {
    next_within(reader, LIMIT).await
}

async fn next_within(reader: &mut dyn ShardReader, limit: ReadLimit) -> ReadOutcome {
    let answered = async {
        loop {
            match reader.next(limit).await {
                Err(error) if error.is_transient() => pause(&error).await,
                answer => return answer.unwrap(),
            }
        }
    };
    tokio::time::timeout(PATIENCE, answered).await.expect("the reader answers")
}

fn numbers(records: &[Record]) -> Vec<u8> {
    records.iter().map(|record| record.data[0]).collect()
}

/// Puts the bytes 0, 1, ... into the first shard; where each went.
async fn fill(harness: &impl SourceHarness, count: u8) -> (ShardId, Vec<SequenceNumber>) {
    let mut at = Vec::new();
    let mut shard = None;
    for number in 0..count {
        let (taken, sequence) = harness.put(0, &[number]).await;
        at.push(sequence);
        shard = Some(taken);
    }
    (shard.expect("at least one record"), at)
}

/// In order, each once, with the positions the puts returned.
pub async fn records_come_in_the_order_they_were_put(harness: impl SourceHarness) {
    let (shard, at) = fill(&harness, 20).await;
    assert!(at.is_sorted_by(|a, b| a < b));
    let records = drain(&mut *open(&harness, &shard, ReadFrom::TrimHorizon).await).await;
    assert_eq!(numbers(&records), (0..20).collect::<Vec<_>>());
    let positions: Vec<_> = records.iter().map(|record| record.position).collect();
    assert_eq!(positions, at.into_iter().map(Position::from).collect::<Vec<_>>());
}

/// Every way to start.
pub async fn a_reader_starts_where_it_was_told(harness: impl SourceHarness) {
    let (shard, at) = fill(&harness, 5).await;
    let middle = harness.next_millisecond().await;
    for number in 5..10 {
        harness.put(0, &[number]).await;
    }
    for (from, first) in [
        (ReadFrom::TrimHorizon, 0),
        (ReadFrom::At(at[3]), 3),
        (ReadFrom::After(at[3].into()), 4),
        (ReadFrom::AtTimestamp(middle), 5),
        (ReadFrom::AtTimestamp(0), 0),
    ] {
        let records = drain(&mut *open(&harness, &shard, from).await).await;
        assert_eq!(numbers(&records), (first..10).collect::<Vec<_>>(), "{from:?}");
    }
    let mut latest = open(&harness, &shard, ReadFrom::Latest).await;
    assert_eq!(drain(&mut *latest).await, Vec::new());
    harness.put(0, &[10]).await;
    let ReadOutcome::Records { records, .. } = next(&mut *latest).await else {
        panic!("a record was put after the reader opened");
    };
    assert_eq!(numbers(&records), [10]);
}

/// `CaughtUp` at the tip; then the next call waits and wakes.
pub async fn a_caught_up_reader_says_so_and_wakes_for_the_next_record(harness: impl SourceHarness) {
    let (shard, _) = fill(&harness, 1).await;
    let mut reader = open(&harness, &shard, ReadFrom::TrimHorizon).await;
    let first = next(&mut *reader).await;
    assert!(matches!(first, ReadOutcome::Records { behind_millis: 0, .. }), "{first:?}");
    assert_eq!(next(&mut *reader).await, ReadOutcome::CaughtUp);
    let put = async {
        tokio::task::yield_now().await;
        harness.put(0, &[1]).await;
    };
    let woken = async {
        loop {
            // A source may say again that it has caught up.
            if let ReadOutcome::Records { records, .. } = next(&mut *reader).await {
                return numbers(&records);
            }
        }
    };
    let ((), woken) = tokio::join!(put, woken);
    assert_eq!(woken, [1]);
}

/// Dropping a call before it answered costs nothing.
pub async fn a_dropped_read_loses_no_record(harness: impl SourceHarness) {
    let (shard, _) = fill(&harness, 1).await;
    let mut reader = open(&harness, &shard, ReadFrom::TrimHorizon).await;
    let mut seen = Vec::new();
    for number in 1..30u8 {
        tokio::select! { biased;
            answer = reader.next(LIMIT) => {
                if let Ok(ReadOutcome::Records { records, .. }) = answer {
                    seen.extend(numbers(&records));
                }
            }
            () = tokio::task::yield_now() => {}
        }
        harness.put(0, &[number]).await;
    }
    // The reader may have said before that it caught up, so ask until all is there.
    while seen.len() < 30 {
        seen.extend(numbers(&drain(&mut *reader).await));
    }
    assert_eq!(seen, (0..30).collect::<Vec<_>>());
}

/// No answer has more records, or more bytes but for a single record, than asked for.
pub async fn a_limit_holds_and_the_rest_follows(harness: impl SourceHarness) {
    let (shard, _) = fill(&harness, 10).await;
    for limit in [ReadLimit { records: 3, bytes: 1 << 20 }, ReadLimit { records: 100, bytes: 1 }] {
        let mut reader = open(&harness, &shard, ReadFrom::TrimHorizon).await;
        let mut seen = Vec::new();
        while let ReadOutcome::Records { records, .. } = next_within(&mut *reader, limit).await {
            assert!(records.len() <= limit.records && (limit.bytes > 1 || records.len() == 1));
            seen.extend(numbers(&records));
        }
        assert_eq!(seen, (0..10).collect::<Vec<_>>(), "{limit:?}");
    }
}

/// Every record first, then the end, however often it is asked.
pub async fn a_split_shard_ends_with_its_children_for_ever(harness: impl SourceHarness) {
    let (shard, _) = fill(&harness, 3).await;
    let listed = harness.source().list_shards().await.unwrap();
    let range = listed.iter().find(|listed| listed.id == shard).unwrap().range;
    harness.split(&shard, range.start + (range.end - range.start) / 2).await;
    let mut reader = open(&harness, &shard, ReadFrom::TrimHorizon).await;
    let records = drain(&mut *reader).await;
    assert_eq!(numbers(&records), [0, 1, 2]);
    let ReadOutcome::ShardEnd { children } = next(&mut *reader).await else {
        panic!("the shard is closed and read to its end");
    };
    assert_eq!(children.len(), 2);
    for child in &children {
        assert_eq!(child.parents, BTreeSet::from([shard.clone()]));
    }
    assert_eq!(next(&mut *reader).await, ReadOutcome::ShardEnd { children: children.clone() });
    let (taken, _) = harness.put(range.start, &[9]).await;
    let child = children.iter().find(|child| child.range.contains(range.start)).unwrap();
    assert_eq!(taken, child.id);
}

/// Each parent names the one child, and that both.
pub async fn merged_shards_name_the_same_child(harness: impl SourceHarness) {
    let mut listed = harness.source().list_shards().await.unwrap();
    listed.sort_by_key(|shard| shard.range);
    let parents = BTreeSet::from([listed[0].id.clone(), listed[1].id.clone()]);
    harness.merge(&listed[0].id, &listed[1].id).await;
    let mut named = BTreeSet::new();
    for parent in &parents {
        let mut reader = open(&harness, parent, ReadFrom::TrimHorizon).await;
        assert_eq!(drain(&mut *reader).await, Vec::new());
        let ReadOutcome::ShardEnd { children } = next(&mut *reader).await else {
            panic!("{parent} is closed");
        };
        // KCL rule: a parent names the child if it is listed first, so both may, or one.
        for child in children {
            assert_eq!(child.parents, parents);
            named.insert(child.id);
        }
    }
    assert_eq!(named.len(), 1);
}

/// Open shards tile the hash key space, before and after resharding, and name their parents.
pub async fn listings_show_parents_and_ranges_that_tile(harness: impl SourceHarness) {
    let before = harness.source().list_shards().await.unwrap();
    assert_tiled(before.iter().map(|shard| shard.range));
    harness.split(&before[0].id, before[0].range.start + 1000).await;
    let after = harness.source().list_shards().await.unwrap();
    assert!(after.is_sorted_by(|a, b| a.id < b.id));
    let open = after.iter().filter(|shard| shard.is_open);
    assert_tiled(open.map(|shard| shard.range));
    let children = after.iter().filter(|shard| shard.parents.contains(&before[0].id));
    assert_eq!(children.count(), 2);
    assert!(after.iter().any(|shard| shard.id == before[0].id && !shard.is_open));
}

fn assert_tiled(ranges: impl Iterator<Item = HashKeyRange>) {
    let mut ranges: Vec<_> = ranges.collect();
    ranges.sort();
    assert_eq!(ranges.first().map(|range| range.start), Some(0));
    assert_eq!(ranges.last().map(|range| range.end), Some(u128::MAX));
    assert!(ranges.windows(2).all(|pair| pair[0].is_followed_by(&pair[1])), "{ranges:?}");
}

/// An owner whose permit ran out may still have its reader open when the next one opens its own.
pub async fn several_readers_of_one_shard_see_the_same(harness: impl SourceHarness) {
    let (shard, _) = fill(&harness, 10).await;
    let mut one = open(&harness, &shard, ReadFrom::TrimHorizon).await;
    let mut other = open(&harness, &shard, ReadFrom::TrimHorizon).await;
    assert_eq!(drain(&mut *one).await, drain(&mut *other).await);
}

/// Never taken for the end of a shard.
pub async fn an_unknown_shard_is_not_found(harness: impl SourceHarness) {
    let unknown = ShardId::new("shardId-000000009999");
    let answer = harness.source().open(&unknown, ReadFrom::TrimHorizon).await;
    assert!(matches!(answer, Err(SourceError::NotFound(_))));
}
