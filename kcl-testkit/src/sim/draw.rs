//! Every random choice of a simulation, drawn from a hash of what it is about: leaving one fault
//! out changes no other draw. It may change what is drawn for: a worker that need not repeat a
//! write of a row makes its later writes of that row under other ordinals, and one that was not
//! killed keeps its name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
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
    /// A number that depends on the seed, who acts, what is drawn, and for which call of
    /// [`Calls`], which second or which record.
    pub fn number(&self, actor: &str, what: &str, which: u64) -> u64 {
        let who = hash::of_bytes(self.seed, actor.as_bytes());
        hash::mix(hash::of_bytes(who, what.as_bytes()) ^ hash::mix(which))
    }
    /// A number below `bound`.
    pub fn below(&self, actor: &str, what: &str, which: u64, bound: u64) -> u64 {
        self.number(actor, what, which) % bound.max(1)
    }
    /// True in `permille` of a thousand cases; the number names the fault if so.
    pub fn strikes(&self, actor: &str, what: &str, which: u64, permille: u64) -> Option<u64> {
        let id = self.number(actor, what, which);
        (hash::mix(id) % 1000 < permille && !self.removed.contains(&id)).then_some(id)
    }
    /// A duration from zero to `most`, from the number of a fault.
    pub fn duration(id: u64, most: Duration) -> Duration {
        let micros = u64::try_from(most.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(hash::mix(id ^ 1) % micros.saturating_add(1).max(1))
    }
}

/// Counts what an actor does, each operation on each thing by itself, so that one call more of one
/// moves no draw of another.
#[derive(Clone, Debug, Default)]
pub struct Calls(Arc<Mutex<BTreeMap<u64, u64>>>);

impl Calls {
    /// The next call of this operation on this thing, as a number of the two and of how often it
    /// was called before.
    pub fn next(&self, operation: &str, thing: &str) -> u64 {
        let key = hash::of_bytes(hash::of_name(operation), thing.as_bytes());
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(key).or_default();
        *count += 1;
        hash::mix(key ^ hash::mix(*count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_call_more_moves_no_call_of_another_operation_or_thing() {
        let of = |calls: &Calls| {
            let others = [("read", "a"), ("write", "b"), ("scan", "")].repeat(3);
            others.into_iter().map(|(what, thing)| calls.next(what, thing)).collect::<Vec<_>>()
        };
        let (calls, more) = (Calls::default(), Calls::default());
        let written = [more.next("write", "a"), more.next("write", "a")];
        let numbers = of(&calls);
        assert_eq!(numbers, of(&more));
        let all: BTreeSet<_> = numbers.iter().chain(&written).collect();
        assert_eq!(all.len(), 11, "each call has a number of its own");
    }

    #[test]
    fn without_one_fault_every_other_draw_is_the_same() {
        let cases = ["w0.1", "w0.2", "table"].into_iter().flat_map(|actor| {
            let whats = ["LostReply", "Crash"].into_iter();
            whats.flat_map(move |what| (0..500).map(move |which| (actor, what, which)))
        });
        let all = Draws::new(7);
        let drawn = |draws: &Draws| -> Vec<_> {
            cases.clone().map(|(actor, what, at)| draws.strikes(actor, what, at, 20)).collect()
        };
        let whole = drawn(&all);
        let struck: BTreeSet<_> = whole.iter().flatten().copied().collect();
        assert!((30..90).contains(&struck.len()), "{} of 3,000 at 20 in 1,000", struck.len());
        for left_out in struck {
            let less = drawn(&all.clone().without([left_out]));
            let wanted: Vec<_> = whole.iter().map(|id| id.filter(|id| *id != left_out)).collect();
            assert_eq!(less, wanted);
        }
        assert_ne!(whole, drawn(&Draws::new(8)), "another seed draws others");
    }
}
