//! Which shard takes which hash keys, as far as the producer knows.

use std::collections::BTreeMap;

use kcl_core::Shard;
use kcl_core::protocol::{HashKeyRange, ShardId};

/// The shards as a listing showed them. It may be old, or have gaps: then an aggregate comes into
/// another shard than meant, which the reply tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ShardMap {
    /// First hash keys of the open shards, apart so that a search stays in few cache lines.
    starts: Vec<u128>,
    open: Vec<(HashKeyRange, ShardId)>,
    ranges: BTreeMap<ShardId, HashKeyRange>,
}

impl ShardMap {
    pub(crate) fn new(shards: &[Shard]) -> Self {
        let open = shards.iter().filter(|shard| shard.is_open);
        let mut open: Vec<_> = open.map(|shard| (shard.range, shard.id.clone())).collect();
        open.sort();
        let starts = open.iter().map(|(range, _)| range.start).collect();
        let ranges = shards.iter().map(|shard| (shard.id.clone(), shard.range)).collect();
        Self { starts, open, ranges }
    }

    /// Lanes the map needs: one for each open shard, and one without any.
    pub(crate) fn lanes(&self) -> usize {
        self.open.len().max(1)
    }

    /// The lane of a hash key: that of its shard, if the listing has it.
    pub(crate) fn lane(&self, hash_key: u128) -> usize {
        self.starts.partition_point(|start| *start <= hash_key).saturating_sub(1)
    }

    /// The open shard of a lane.
    pub(crate) fn shard(&self, lane: usize) -> Option<&(HashKeyRange, ShardId)> {
        self.open.get(lane)
    }

    /// The hash keys of a shard, open or closed.
    pub(crate) fn range(&self, shard: &ShardId) -> Option<HashKeyRange> {
        self.ranges.get(shard).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(id: &str, start: u128, end: u128, is_open: bool) -> Shard {
        let range = HashKeyRange { start, end };
        Shard { id: id.into(), parents: Default::default(), range, is_open, tip: None }
    }

    #[test]
    fn a_hash_key_belongs_to_the_open_shard_whose_range_holds_it() {
        let map = ShardMap::new(&[
            shard("old", 0, u128::MAX, false),
            shard("right", 100, u128::MAX, true),
            shard("left", 0, 99, true),
        ]);
        let name = |hash_key| map.shard(map.lane(hash_key)).unwrap().1.as_str();
        assert_eq!(
            (name(0), name(99), name(100), name(u128::MAX)),
            ("left", "left", "right", "right")
        );
        assert_eq!(map.range(&"old".into()), Some(HashKeyRange::FULL));
        assert_eq!(map.lanes(), 2);
    }

    #[test]
    fn without_a_listing_there_is_one_lane_and_no_shard() {
        let map = ShardMap::default();
        assert_eq!((map.lanes(), map.lane(u128::MAX)), (1, 0));
        assert_eq!(map.shard(0), None);
        let gap = ShardMap::new(&[shard("right", 100, u128::MAX, true)]);
        let (range, _) = gap.shard(gap.lane(5)).unwrap();
        assert!(!range.contains(5), "whoever predicts must look at the range");
    }
}
