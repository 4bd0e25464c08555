//! Which shard takes which hash keys.

use std::collections::BTreeMap;
use std::sync::Arc;

use kcl_core::protocol::HashKeyRange;

use crate::sequence::ShardNumber;
use crate::shard::{Now, Shard};

/// All shards of a stream at one time. Replaced as a whole by a reshard, so that a put works on
/// one map throughout.
///
/// Invariant: the open shards tile the hash space, in the order of their ranges.
#[derive(Clone, Debug)]
pub(crate) struct ShardMap {
    /// Rises with every reshard.
    pub(crate) version: u64,
    /// First hash key of each open shard, apart from the shards so that a search stays in few
    /// cache lines.
    starts: Vec<u128>,
    open: Vec<Arc<Shard>>,
    all: BTreeMap<ShardNumber, Arc<Shard>>,
}

impl ShardMap {
    /// The shards of a new stream.
    pub(crate) fn new(shards: u32, created_at_millis: u64, now: Now) -> Self {
        let ranges = HashKeyRange::split_evenly(shards).into_iter().zip(0..);
        let shards = ranges.map(|(range, number)| {
            let parents = Default::default();
            Arc::new(Shard::new(ShardNumber(number), range, parents, created_at_millis, now))
        });
        let open: Vec<_> = shards.collect();
        let all = open.iter().map(|shard| (shard.number, Arc::clone(shard))).collect();
        let starts = open.iter().map(|shard| shard.range.start).collect();
        Self { version: 0, starts, open, all }
    }

    /// The map of these shards; `None` if the open ones do not tile the hash space.
    pub(crate) fn restored(all: BTreeMap<ShardNumber, Arc<Shard>>) -> Option<Self> {
        let is_open = |shard: &&Arc<Shard>| shard.progress().closed_at_millis.is_none();
        let mut open: Vec<_> = all.values().filter(is_open).cloned().collect();
        open.sort_by_key(|shard| shard.range.start);
        let touch = open.windows(2).all(|pair| pair[0].range.is_followed_by(&pair[1].range));
        let ends = (open.first()?.range.start, open.last()?.range.end);
        let starts = open.iter().map(|shard| shard.range.start).collect();
        (touch && ends == (0, u128::MAX)).then_some(Self { version: 0, starts, open, all })
    }

    /// The map after a reshard: these shards open, some of them new.
    pub(crate) fn next(&self, open: Vec<Arc<Shard>>, added: &[Arc<Shard>]) -> Self {
        let mut all = self.all.clone();
        all.extend(added.iter().map(|shard| (shard.number, Arc::clone(shard))));
        let starts = open.iter().map(|shard| shard.range.start).collect();
        Self { version: self.version + 1, starts, open, all }
    }

    /// Forgets shards.
    pub(crate) fn without(mut self, is_gone: impl Fn(&Shard) -> bool) -> Self {
        self.all.retain(|_, shard| !is_gone(shard));
        self
    }

    /// The place among the open shards of the one that takes this hash key.
    pub(crate) fn slot(&self, hash_key: u128) -> usize {
        // The first shard starts at 0, so that at least one start is not above the key.
        self.starts.partition_point(|start| *start <= hash_key) - 1
    }

    /// Open shards in the order of their ranges.
    pub(crate) fn open(&self) -> &[Arc<Shard>] {
        &self.open
    }

    pub(crate) fn get(&self, number: ShardNumber) -> Option<&Arc<Shard>> {
        self.all.get(&number)
    }

    /// All shards, also closed ones, in the order of their numbers.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Shard>> {
        self.all.values()
    }

    pub(crate) fn next_number(&self) -> u32 {
        self.all.last_key_value().map_or(0, |(number, _)| number.0 + 1)
    }
}
