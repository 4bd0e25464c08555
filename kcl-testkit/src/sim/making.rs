//! Which lease rows a request may still make.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kcl_core::protocol::{ConditionalWrite, LeaseKey, LeaseWrite};

/// Leases that requests under way make, of all workers, each with how many. A worker that stands
/// still may have had one under way for long.
#[derive(Clone, Debug, Default)]
pub struct Making(Arc<Mutex<BTreeMap<LeaseKey, usize>>>);

/// Lasts as long as its request may apply.
#[derive(Debug)]
pub struct UnderWay {
    making: Making,
    leases: Vec<LeaseKey>,
}

impl Making {
    /// A request with these writes is under way until what is given back is dropped.
    pub fn begin(&self, writes: &[ConditionalWrite]) -> UnderWay {
        let made = writes.iter().filter_map(|write| match write {
            ConditionalWrite::Lease(LeaseWrite::Create(lease)) => Some(lease.key.clone()),
            _ => None,
        });
        let leases: Vec<_> = made.collect();
        for lease in &leases {
            *self.counts().entry(lease.clone()).or_default() += 1;
        }
        UnderWay { making: self.clone(), leases }
    }
    /// True while a request that makes this lease may still apply.
    pub fn is_made(&self, lease: &LeaseKey) -> bool {
        self.counts().contains_key(lease)
    }
    fn counts(&self) -> MutexGuard<'_, BTreeMap<LeaseKey, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut counts = self.making.counts();
        for lease in &self.leases {
            if let Some(count) = counts.get_mut(lease) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(lease);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use kcl_core::protocol::{Checkpoint, HashKeyRange, Lease};

    use super::*;

    #[test]
    fn a_lease_is_made_until_the_last_request_that_makes_it_has_ended() {
        let key = LeaseKey::new("shardId-000000000000");
        let lease = Lease::unowned(key.clone(), Checkpoint::TrimHorizon, HashKeyRange::FULL);
        let writes = [ConditionalWrite::Lease(LeaseWrite::Create(lease))];
        let making = Making::default();
        let (one, other) = (making.begin(&writes), making.begin(&writes));
        drop(one);
        assert!(making.is_made(&key));
        drop(other);
        assert!(!making.is_made(&key));
    }
}
