//! Which shards cannot be subscribed to, as the log last said. Kept for all readers of a source: a
//! worker opens a new one for each try, and each would say it again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kcl_core::Shard;
use kcl_protocol::{Moment, ShardId};

use crate::limits::TROUBLE_FORGOTTEN;

/// With the last failure of each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Troubles(Arc<Mutex<BTreeMap<ShardId, Moment>>>);

impl Troubles {
    /// The shard failed, just now: true if that is news. Those that were not tried for long went to
    /// other workers, and begin anew if they come back.
    pub fn begin(&self, shard: &ShardId, now: Moment) -> bool {
        let mut shards = self.shards();
        shards.retain(|_, last| now.since(*last) < TROUBLE_FORGOTTEN);
        shards.insert(shard.clone(), now).is_none()
    }
    /// True if that is news.
    pub fn end(&self, shard: &ShardId) -> bool {
        self.shards().remove(shard).is_some()
    }
    /// Forgets the shards of which nothing more will be heard.
    pub fn keep(&self, listed: &[Shard]) {
        let mut shards = self.shards();
        if !shards.is_empty() {
            let listed: BTreeSet<_> = listed.iter().map(|shard| &shard.id).collect();
            shards.retain(|shard, _| listed.contains(shard));
        }
    }
    fn shards(&self) -> MutexGuard<'_, BTreeMap<ShardId, Moment>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
