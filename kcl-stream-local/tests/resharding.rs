//! Splits, merges and uniform reshards: the shards tile the hash space at all times.

mod common;

use common::{drain, engine, ids, key_for};
use kcl_core::protocol::HashKeyRange;
use kcl_stream_local::{
    EngineError, NewRecord, ShardFilter, ShardInfo, ShardNumber, Stream, StreamOptions,
};
use proptest::prelude::*;

fn open(stream: &Stream) -> Vec<ShardInfo> {
    let mut infos = stream.list_shards(&ShardFilter::AtLatest).unwrap();
    infos.sort_by_key(|info| info.range.start);
    infos
}

fn check_tiling(stream: &Stream) {
    let infos = open(stream);
    assert_eq!(infos[0].range.start, 0);
    assert_eq!(infos[infos.len() - 1].range.end, u128::MAX);
    for pair in infos.windows(2) {
        assert!(pair[0].range.is_followed_by(&pair[1].range));
    }
    // Children are above their parents, in number and in sequence.
    let all = stream.list_shards(&ShardFilter::FromTrimHorizon).unwrap();
    for child in &all {
        for parent in &child.parents {
            let parent = all.iter().find(|info| info.number.id() == *parent).unwrap();
            assert!(parent.number < child.number);
            assert!(parent.ending_sequence.unwrap() < child.starting_sequence);
            assert!(parent.closed_at_millis.unwrap() <= child.created_at_millis);
            assert!(parent.range.overlaps(&child.range));
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Split(prop::sample::Index, u128),
    Merge(prop::sample::Index),
    Uniform(u32),
    Put(u128),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (any::<prop::sample::Index>(), any::<u128>()).prop_map(|(i, k)| Step::Split(i, k)),
        2 => any::<prop::sample::Index>().prop_map(Step::Merge),
        1 => (1u32..12).prop_map(Step::Uniform),
        4 => any::<u128>().prop_map(Step::Put),
    ]
}

fn apply(stream: &Stream, step: &Step) {
    let infos = open(stream);
    match step {
        Step::Split(at, key) => {
            let range = at.get(&infos).range;
            let width = range.end - range.start;
            if width > 0 {
                let key = range.start + 1 + key % width;
                let children = stream.split_shard(&at.get(&infos).number.id(), key).unwrap();
                let of = |n| open(stream).into_iter().find(|info| info.number == n).unwrap().range;
                assert_eq!(of(children[0]), HashKeyRange { start: range.start, end: key - 1 });
                assert_eq!(of(children[1]), HashKeyRange { start: key, end: range.end });
            }
        }
        Step::Merge(at) if infos.len() > 1 => {
            let at = at.index(infos.len() - 1);
            let (one, two) = (infos[at].number.id(), infos[at + 1].number.id());
            stream.merge_shards(&two, &one).unwrap();
        }
        Step::Merge(_) => {}
        Step::Uniform(count) => {
            stream.update_shard_count(*count).unwrap();
            let ranges: Vec<_> = open(stream).iter().map(|info| info.range).collect();
            assert_eq!(ranges, HashKeyRange::split_evenly(*count));
        }
        Step::Put(key) => {
            let receipt = stream.put(NewRecord::new("k", "x").with_hash_key(*key)).unwrap();
            let info = open(stream).into_iter().find(|info| info.range.contains(*key)).unwrap();
            assert_eq!((info.number, info.tip), (receipt.shard, receipt.sequence));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn shards_tile_the_hash_space_and_route_whatever_is_split_and_merged(
        shards in 1u32..9, steps in prop::collection::vec(step(), 1..20),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let stream = engine().create_stream("s", shards, StreamOptions::unlimited()).unwrap();
            let mut puts = 0;
            for step in &steps {
                puts += usize::from(matches!(step, Step::Put(_)));
                apply(&stream, step);
                check_tiling(&stream);
            }
            let held: usize = ids(&stream).into_iter().map(|id| drain(&stream, id).len()).sum();
            assert_eq!(held, puts, "every record is still in one shard");
        });
    }
}

#[tokio::test(start_paused = true)]
async fn wrong_reshards_are_refused_and_change_nothing() {
    let stream = engine().create_stream("s", 3, StreamOptions::unlimited()).unwrap();
    let [a, b, c] = [0, 1, 2].map(|n| ShardNumber(n).id());
    let ranges = HashKeyRange::split_evenly(3);
    let invalid = |result: Result<(), EngineError>| {
        assert!(matches!(result, Err(EngineError::InvalidArgument(_))), "{result:?}");
    };
    invalid(stream.merge_shards(&a, &c).map(drop));
    invalid(stream.merge_shards(&a, &a).map(drop));
    invalid(stream.split_shard(&b, ranges[1].start).map(drop));
    invalid(stream.split_shard(&b, ranges[1].end + 1).map(drop));
    invalid(stream.update_shard_count(0));
    assert_eq!(
        stream.update_shard_count(10_001).unwrap_err().kinesis_name(),
        "LimitExceededException"
    );
    let missing = stream.split_shard(&"shardId-000000000009".into(), 5);
    assert_eq!(missing.unwrap_err().kinesis_name(), "ResourceNotFoundException");
    stream.update_shard_count(3).unwrap();
    assert_eq!(ids(&stream), [0, 1, 2], "divided so already");
    stream.split_shard(&b, ranges[1].end).unwrap();
    invalid(stream.split_shard(&b, ranges[1].end).map(drop));
    invalid(stream.merge_shards(&a, &b).map(drop));
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_a_thousand_shards_merges_to_one_in_few_generations() {
    let stream = engine().create_stream("s", 1000, StreamOptions::unlimited()).unwrap();
    stream.put(key_for(&stream, 999)).unwrap();
    stream.update_shard_count(1).unwrap();
    check_tiling(&stream);
    let all = stream.list_shards(&ShardFilter::FromTrimHorizon).unwrap();
    assert_eq!(all.len(), 1999);
    let mut generation = vec![0; all.len()];
    for info in &all {
        let above =
            info.parents.iter().map(|id| generation[ShardNumber::of(id).unwrap().0 as usize] + 1);
        generation[info.number.0 as usize] = above.max().unwrap_or(0);
    }
    assert_eq!(generation.last(), Some(&10));
}
