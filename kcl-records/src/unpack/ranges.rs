//! Which hash keys each shard takes.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use kcl_core::{ChildShard, Shard};
use kcl_protocol::{HashKeyRange, ShardId};

/// Ranges of shards. They never change.
#[derive(Default)]
pub(super) struct Ranges {
    known: Mutex<Known>,
    /// Held while shards are listed, so that many readers list once.
    pub listing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Known {
    ranges: BTreeMap<ShardId, HashKeyRange>,
    last_listed: Option<ShardId>,
}

impl Ranges {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
    pub fn of(&self, shard: &ShardId) -> Option<HashKeyRange> {
        self.known().ranges.get(shard).copied()
    }
    /// True if the last listing cannot have had this shard: it lags behind it.
    pub fn are_older_than(&self, shard: &ShardId) -> bool {
        self.known().last_listed.as_ref().is_some_and(|last| last < shard)
    }
    /// Keeps the ranges of what is listed now, so that it does not grow with every reshard, and of
    /// children that a listing does not show yet.
    pub fn learn(&self, shards: &[Shard]) {
        let mut known = self.known();
        let last = shards.iter().map(|shard| &shard.id).max().cloned();
        known.ranges.retain(|id, _| last.as_ref().is_none_or(|last| last < id));
        known.ranges.extend(shards.iter().map(|shard| (shard.id.clone(), shard.range)));
        known.last_listed = last;
    }
    /// A worker starts children as soon as their parent has ended, before any listing shows them.
    pub fn learn_children(&self, children: &[ChildShard]) {
        let children = children.iter().map(|child| (child.id.clone(), child.range));
        self.known().ranges.extend(children);
    }
}
