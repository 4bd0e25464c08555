//! Randomness that a simulation can seed: jitter and ids.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kcl_protocol::{EntryId, Rules, WorkerId, hash};

/// A stream of random numbers: splitmix64 over a seed, which production draws from the system.
#[derive(Debug)]
pub(crate) struct Random {
    seed: u64,
    drawn: AtomicU64,
}

impl Random {
    /// Numbers that nobody can foresee.
    pub(crate) fn from_system() -> Self {
        let (high, low) = uuid::Uuid::new_v4().as_u64_pair();
        Self::from_seed(high ^ hash::mix(low))
    }
    /// The same numbers for the same seed.
    pub(crate) fn from_seed(seed: u64) -> Self {
        Self { seed, drawn: AtomicU64::new(0) }
    }
    pub(crate) fn next(&self) -> u64 {
        let drawn = self.drawn.fetch_add(1, Ordering::Relaxed);
        hash::mix(self.seed ^ hash::mix(drawn))
    }
    fn wide(&self) -> u128 {
        (u128::from(self.next()) << 64) | u128::from(self.next())
    }
    /// A duration from zero to `most`.
    pub(crate) fn up_to(&self, most: Duration) -> Duration {
        let nanos = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(self.next() % nanos.saturating_add(1).max(1))
    }
    /// The id of a new inbox entry.
    pub(crate) fn entry_id(&self) -> EntryId {
        EntryId(self.wide())
    }
    /// The key of a new table's hints.
    pub(crate) fn key(&self) -> u128 {
        self.wide()
    }
}

/// Worker ids: from the system even when everything else is seeded by a user, unless a simulation
/// says otherwise.
#[derive(Debug)]
pub(crate) struct WorkerIds {
    name: String,
    seeded: Option<Random>,
    rules: Rules,
}

impl WorkerIds {
    pub(crate) fn new(name: &str, seed: Option<u64>, rules: Rules) -> Self {
        let seeded = seed.map(|seed| Random::from_seed(hash::mix(seed)));
        Self { name: name.to_owned(), seeded, rules }
    }
    /// An id never used before: the name plus 128 random bits.
    pub(crate) fn draw(&self) -> WorkerId {
        let bits = match &self.seeded {
            Some(random) => random.wide(),
            None => uuid::Uuid::new_v4().as_u128(),
        };
        WorkerId::drawn(&self.name, bits, self.rules)
    }
}
