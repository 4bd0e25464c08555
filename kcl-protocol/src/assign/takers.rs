//! The workers that may be given a lease, the least loaded first.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::Amount;
use crate::hash;
use crate::limits::TIES_WEIGHED;

/// The workers with room, by what they hold. The least loaded stand apart, so that choosing among
/// them is a walk through a short row of numbers.
#[derive(Default)]
pub(super) struct Takers {
    /// The hash of each worker.
    hashes: Vec<u64>,
    /// Those that hold least, all the same amount: hash and number.
    level: Vec<(u64, usize)>,
    held: Amount,
    /// All others, by what they hold.
    rest: BTreeMap<Amount, Vec<usize>>,
    /// One of the others that is giving lease after lease; spares putting it in and taking it out.
    giver: Option<(Amount, usize)>,
}

impl Takers {
    pub(super) fn new(hashes: Vec<u64>) -> Self {
        Self { hashes, ..Self::default() }
    }

    /// What the least loaded holds; `None` if nobody has room.
    pub(super) fn least(&mut self) -> Option<Amount> {
        if self.level.is_empty() {
            self.settle_giver();
            let (held, workers) = self.rest.pop_first()?;
            self.held = held;
            self.level.extend(workers.into_iter().map(|at| (self.hashes[at], at)));
        }
        Some(self.held)
    }

    /// Takes out, of the least loaded, the one closest to a lease.
    pub(super) fn take(&mut self, lease: u64) -> Option<usize> {
        self.least()?;
        let beyond = self.level.len().saturating_sub(TIES_WEIGHED);
        // In a very large fleet a stretch of them, another one for each lease.
        let first = lease as usize % (beyond + 1);
        let stretch = &self.level[first..self.level.len() - beyond + first];
        // The place in the low bits: finding the greatest number is all there is to do.
        let low = TIES_WEIGHED as u64 - 1;
        let ranked = stretch
            .iter()
            .zip(0..)
            .map(|((worker, _), place)| hash::closeness(*worker, lease) & !low | place);
        let place = (ranked.max()? & low) as usize;
        Some(self.level.swap_remove(first + place).1)
    }

    /// Puts in a worker that has room and holds more than the least loaded.
    pub(super) fn put(&mut self, held: Amount, at: usize) {
        self.rest.entry(held).or_default().push(at);
    }

    /// Takes out a worker that holds more than the least loaded, if it is in, because it gives.
    pub(super) fn lift(&mut self, held: Amount, at: usize) {
        if self.giver.take_if(|giver| giver.1 == at).is_some() {
            return;
        }
        if let Entry::Occupied(mut equals) = self.rest.entry(held) {
            let place = equals.get().iter().position(|other| *other == at);
            place.map(|place| equals.get_mut().swap_remove(place));
            if equals.get().is_empty() {
                equals.remove();
            }
        }
    }

    /// Puts in one that was lifted and will probably be lifted again.
    pub(super) fn put_giver(&mut self, held: Amount, at: usize) {
        self.settle_giver();
        self.giver = Some((held, at));
    }

    fn settle_giver(&mut self) {
        if let Some((held, at)) = self.giver.take() {
            self.put(held, at);
        }
    }
}
