//! Was every row delivered, and each key's in order?

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

/// Counts deliveries per row of the file.
#[derive(Debug)]
pub struct Audit(Mutex<Tally>);

#[derive(Debug)]
struct Tally {
    /// Of each row, its key's number.
    keys: Vec<usize>,
    deliveries: Vec<u32>,
    of_key: Vec<OfKey>,
}

#[derive(Debug)]
struct OfKey {
    /// The highest row delivered so far.
    highest: Option<usize>,
    counts: KeyCounts,
}

/// What an audit found of one key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct KeyCounts {
    /// The key.
    pub key: String,
    /// Rows never delivered.
    pub lost: usize,
    /// Deliveries beyond the first of a row.
    pub redelivered: usize,
    /// Rows whose first delivery came after one of a later row with the same key.
    pub out_of_order: usize,
}

/// What an audit found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Rows delivered at least once.
    pub processed: usize,
    /// Rows never delivered.
    pub lost: usize,
    /// Deliveries beyond the first of a row.
    pub redelivered: usize,
    /// Rows that came after a later row of the same key.
    pub out_of_order: usize,
    /// Keys of which anything was lost, delivered again or out of order, the worst first.
    pub keys: Vec<KeyCounts>,
}

impl Audit {
    /// Of rows with these keys, in the order of the file.
    pub fn new<'a>(keys: impl Iterator<Item = &'a str>) -> Self {
        let mut numbers = HashMap::new();
        let mut of_key = Vec::new();
        let mut number_of = |key: &str| {
            *numbers.entry(key.to_owned()).or_insert_with(|| {
                let counts = KeyCounts { key: key.to_owned(), ..KeyCounts::default() };
                of_key.push(OfKey { highest: None, counts });
                of_key.len() - 1
            })
        };
        let keys: Vec<usize> = keys.map(&mut number_of).collect();
        Self(Mutex::new(Tally { deliveries: vec![0; keys.len()], keys, of_key }))
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A row was given to a processor. A number that is no row's is no flight of this file.
    pub fn delivered(&self, row: usize) {
        let tally = &mut *self.tally();
        let Some(key) = tally.keys.get(row).copied() else { return };
        let of_key = &mut tally.of_key[key];
        tally.deliveries[row] += 1;
        if tally.deliveries[row] > 1 {
            of_key.counts.redelivered += 1;
        } else if of_key.highest > Some(row) {
            of_key.counts.out_of_order += 1;
        } else {
            of_key.highest = Some(row);
        }
    }

    /// Rows delivered at least once, so far.
    pub fn processed(&self) -> usize {
        self.tally().deliveries.iter().filter(|count| **count > 0).count()
    }

    /// What it found, now that everything was put.
    pub fn findings(&self) -> Findings {
        let tally = self.tally();
        let mut counts: Vec<_> = tally.of_key.iter().map(|of_key| of_key.counts.clone()).collect();
        for (row, key) in tally.keys.iter().enumerate() {
            counts[*key].lost += usize::from(tally.deliveries[row] == 0);
        }
        let sum = |of: fn(&KeyCounts) -> usize| counts.iter().map(of).sum();
        let lost = sum(|key| key.lost);
        let mut found = Findings {
            processed: tally.keys.len() - lost,
            lost,
            redelivered: sum(|key| key.redelivered),
            out_of_order: sum(|key| key.out_of_order),
            keys: Vec::new(),
        };
        counts.retain(|key| key.lost + key.redelivered + key.out_of_order > 0);
        counts.sort_by_key(|key| Reverse((key.lost, key.out_of_order, key.redelivered)));
        found.keys = counts;
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_repeats_and_late_rows_are_counted_per_key() {
        let audit = Audit::new(["a", "b", "a", "b", "c", "a"].into_iter());
        [0, 2, 3, 2, 1, 5].into_iter().for_each(|row| audit.delivered(row));
        let key = |key: &str, lost, redelivered, out_of_order| KeyCounts {
            key: key.to_owned(),
            lost,
            redelivered,
            out_of_order,
        };
        assert_eq!(
            audit.findings(),
            Findings {
                processed: 5,
                lost: 1,
                redelivered: 1,
                out_of_order: 1,
                keys: vec![key("c", 1, 0, 0), key("b", 0, 0, 1), key("a", 0, 1, 0)],
            }
        );
        assert_eq!(audit.processed(), 5);
    }
}
