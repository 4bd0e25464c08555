//! The heaviest keys of a stream, in bounded memory.

use std::collections::{BTreeMap, HashMap};

use kcl_core::PartitionKey;
use kcl_core::protocol::ShardId;
use kcl_core::protocol::hash::mix;

/// The space-saving sketch with randomized admission: a key that is not followed takes the place
/// of the lightest with a chance that grows with its weight, so that many light keys neither push
/// heavy ones out nor cost more than a look each (Ben-Basat et al., "Randomized admission policy
/// for efficient top-k and frequency estimation", INFOCOM 2017).
#[derive(Debug)]
pub(super) struct Sketch {
    capacity: usize,
    keys: Vec<HeavyKey>,
    places: HashMap<u128, usize>,
    /// Not above the weight of the lightest.
    lightest: u64,
    drawn: u64,
}

/// A key with about so many bytes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct HeavyKey {
    pub hash_key: u128,
    pub key: PartitionKey,
    /// Where it went last.
    pub shard: ShardId,
    pub bytes: u64,
}

impl HeavyKey {
    /// The same keys of several sketches together.
    pub(super) fn sum<'a>(keys: impl Iterator<Item = &'a HeavyKey>) -> Vec<HeavyKey> {
        let mut sums: BTreeMap<u128, HeavyKey> = BTreeMap::new();
        for heavy in keys {
            sums.entry(heavy.hash_key)
                .and_modify(|sum| {
                    sum.bytes += heavy.bytes;
                    sum.shard = heavy.shard.clone();
                })
                .or_insert_with(|| heavy.clone());
        }
        sums.into_values().collect()
    }
}

impl Sketch {
    /// Follows at most `capacity` keys.
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, keys: Vec::new(), places: HashMap::new(), lightest: 0, drawn: 0 }
    }

    /// A key brought so many bytes into a shard.
    pub(super) fn add(&mut self, hash_key: u128, key: &PartitionKey, shard: &ShardId, bytes: u64) {
        if let Some(at) = self.places.get(&hash_key) {
            let heavy = &mut self.keys[*at];
            heavy.bytes += bytes;
            if heavy.shard != *shard {
                heavy.shard = shard.clone();
            }
            return;
        }
        let new = |bytes| HeavyKey { hash_key, key: key.clone(), shard: shard.clone(), bytes };
        if self.keys.len() < self.capacity {
            self.places.insert(hash_key, self.keys.len());
            self.keys.push(new(bytes));
            return;
        }
        if !self.admits(bytes) {
            return;
        }
        let lightest = self.keys.iter_mut().enumerate().min_by_key(|(_, heavy)| heavy.bytes);
        let Some((at, lightest)) = lightest else { return };
        self.places.remove(&lightest.hash_key);
        self.places.insert(hash_key, at);
        *lightest = new(lightest.bytes + bytes);
        self.lightest = self.keys.iter().map(|heavy| heavy.bytes).min().unwrap_or(0);
    }

    fn admits(&mut self, bytes: u64) -> bool {
        self.drawn += 1;
        mix(self.drawn) % (self.lightest + bytes).max(1) < bytes.max(1)
    }

    /// The keys followed, in no order.
    pub(super) fn heavy(&self) -> impl Iterator<Item = &HeavyKey> {
        self.keys.iter()
    }
}
