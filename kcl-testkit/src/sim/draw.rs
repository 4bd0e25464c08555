//! Every random choice of a simulation, drawn from a hash of what it is about: removing one fault
//! leaves all others as they were.

use std::collections::BTreeSet;
use std::time::Duration;

use kcl_core::protocol::hash;

/// The choices of one seed.
#[derive(Clone, Debug)]
pub struct Draws {
    seed: u64,
    /// Single faults that are left out, by number.
    removed: BTreeSet<u64>,
}

impl Draws {
    /// The choices of a seed.
    pub fn new(seed: u64) -> Self {
        Self { seed, removed: BTreeSet::new() }
    }
    /// Without these faults.
    pub fn without(mut self, faults: impl IntoIterator<Item = u64>) -> Self {
        self.removed.extend(faults);
        self
    }
    /// A number that depends on the seed, who acts, what it does, and how often it did so before.
    pub fn number(&self, actor: &str, what: &str, ordinal: u64) -> u64 {
        let who = hash::of_bytes(self.seed, actor.as_bytes());
        hash::mix(hash::of_bytes(who, what.as_bytes()) ^ hash::mix(ordinal))
    }
    /// A number below `bound`.
    pub fn below(&self, actor: &str, what: &str, ordinal: u64, bound: u64) -> u64 {
        self.number(actor, what, ordinal) % bound.max(1)
    }
    /// True in `permille` of a thousand cases; the number names the fault if so.
    pub fn strikes(&self, actor: &str, what: &str, ordinal: u64, permille: u64) -> Option<u64> {
        let id = self.number(actor, what, ordinal);
        (hash::mix(id) % 1000 < permille && !self.removed.contains(&id)).then_some(id)
    }
    /// A duration from zero to `most`, from the number of a fault.
    pub fn duration(id: u64, most: Duration) -> Duration {
        let micros = u64::try_from(most.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(hash::mix(id ^ 1) % micros.saturating_add(1).max(1))
    }
}
