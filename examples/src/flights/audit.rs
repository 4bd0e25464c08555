//! Was every row delivered, and each key's in order?

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Counts deliveries per row of the file.
#[derive(Debug)]
pub struct Audit(Mutex<Tally>);

#[derive(Debug)]
struct Tally {
    /// Of each row, its key's number.
    keys: Vec<usize>,
    deliveries: Vec<u32>,
    /// Of each key, the highest row delivered so far.
    highest: Vec<Option<usize>>,
    distinct: usize,
    redelivered: usize,
    out_of_order: usize,
}

/// What an audit found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Findings {
    /// Rows delivered at least once.
    pub processed: usize,
    /// Deliveries beyond the first of a row.
    pub redelivered: usize,
    /// Rows whose first delivery came after one of a later row with the same key.
    pub out_of_order: usize,
}

impl Audit {
    /// Of rows with these keys, in the order of the file.
    pub fn new<'a>(keys: impl Iterator<Item = &'a str>) -> Self {
        let mut numbers = HashMap::new();
        let keys: Vec<usize> = keys
            .map(|key| {
                let next = numbers.len();
                *numbers.entry(key.to_owned()).or_insert(next)
            })
            .collect();
        Self(Mutex::new(Tally {
            deliveries: vec![0; keys.len()],
            highest: vec![None; numbers.len()],
            keys,
            distinct: 0,
            redelivered: 0,
            out_of_order: 0,
        }))
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A row was given to a processor. A number that is no row's is no flight of this file.
    pub fn delivered(&self, row: usize) {
        let mut tally = self.tally();
        let Some(key) = tally.keys.get(row).copied() else { return };
        tally.deliveries[row] += 1;
        if tally.deliveries[row] > 1 {
            tally.redelivered += 1;
            return;
        }
        tally.distinct += 1;
        if tally.highest[key] > Some(row) {
            tally.out_of_order += 1;
        } else {
            tally.highest[key] = Some(row);
        }
    }

    /// What it found so far.
    pub fn findings(&self) -> Findings {
        let tally = self.tally();
        Findings {
            processed: tally.distinct,
            redelivered: tally.redelivered,
            out_of_order: tally.out_of_order,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_and_late_rows_are_counted_per_key() {
        let audit = Audit::new(["a", "b", "a", "b"].into_iter());
        [0, 2, 3, 2, 1].into_iter().for_each(|row| audit.delivered(row));
        let expected = Findings { processed: 4, redelivered: 1, out_of_order: 1 };
        assert_eq!(audit.findings(), expected);
    }
}
