//! Which shards cannot be subscribed to, as the log last said. Kept for all readers of a source: a
//! worker opens a new one for each try, and each would say it again.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kcl_core::Shard;
use kcl_protocol::ShardId;

#[derive(Clone, Debug, Default)]
pub(crate) struct Troubles(Arc<Mutex<BTreeSet<ShardId>>>);

impl Troubles {
    /// True if that is news.
    pub fn begin(&self, shard: &ShardId) -> bool {
        self.shards().insert(shard.clone())
    }
    /// True if that is news.
    pub fn end(&self, shard: &ShardId) -> bool {
        self.shards().remove(shard)
    }
    /// Forgets the shards of which nothing more will be heard.
    pub fn keep(&self, listed: &[Shard]) {
        let mut shards = self.shards();
        if !shards.is_empty() {
            let listed: BTreeSet<_> = listed.iter().map(|shard| &shard.id).collect();
            shards.retain(|shard| listed.contains(shard));
        }
    }
    fn shards(&self) -> MutexGuard<'_, BTreeSet<ShardId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
