//! How long the last subscription to each shard is safe from the next. Kept for all readers of a
//! source: a worker that goes back to a checkpoint opens a new one, which would be refused.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kcl_protocol::{Moment, ShardId};

use crate::limits::SUBSCRIPTION_SAFE;

#[derive(Clone, Debug, Default)]
pub(crate) struct Recent(Arc<Mutex<BTreeMap<ShardId, Moment>>>);

impl Recent {
    /// The shard was subscribed to, just now. Forgets those that may be subscribed to again, so
    /// that it is never long.
    pub fn subscribed(&self, shard: &ShardId, now: Moment) {
        let mut until = self.until();
        until.retain(|_, until| *until > now);
        until.insert(shard.clone(), now + SUBSCRIPTION_SAFE);
    }
    /// No subscription before: the service would refuse it.
    pub fn not_before(&self, shard: &ShardId) -> Moment {
        self.until().get(shard).copied().unwrap_or_default()
    }
    fn until(&self) -> MutexGuard<'_, BTreeMap<ShardId, Moment>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_shards_subscribed_to_in_the_last_five_seconds_are_remembered() {
        let recent = Recent::default();
        let shard = |number: u64| ShardId::new(format!("shardId-{number:012}"));
        let at = |second: u64| Moment(Duration::from_secs(second));
        for second in 0..1_000 {
            recent.subscribed(&shard(second), at(second));
            assert_eq!(recent.not_before(&shard(second)), at(second + 5));
            assert!(recent.until().len() <= 5);
        }
        assert_eq!(recent.not_before(&shard(0)), Moment::default());
    }
}
