//! What comes through: requests by operation, and how long the table takes.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Requests and answers of some time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Traffic {
    /// Requests that came, by operation.
    pub requests: BTreeMap<String, u64>,
    /// How long the table took for each that it answered.
    pub took: Vec<Duration>,
}

impl Traffic {
    /// Requests that change something.
    pub fn writes(&self) -> u64 {
        let is_write = |name: &str| {
            ["PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems"].contains(&name)
        };
        self.requests.iter().filter(|(name, _)| is_write(name)).map(|(_, count)| count).sum()
    }
    /// Requests of every kind.
    pub fn all(&self) -> u64 {
        self.requests.values().sum()
    }
    /// What half of the answers did not exceed.
    pub fn p50(&self) -> Duration {
        self.not_exceeded_by(50)
    }
    /// The slowest but one in a hundred.
    pub fn p99(&self) -> Duration {
        self.not_exceeded_by(99)
    }
    fn not_exceeded_by(&self, in_a_hundred: usize) -> Duration {
        let mut sorted = self.took.clone();
        sorted.sort();
        let rank = (sorted.len() * in_a_hundred).div_ceil(100);
        sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }
    pub fn add(&mut self, other: &Self) {
        for (name, count) in &other.requests {
            *self.requests.entry(name.clone()).or_default() += count;
        }
        self.took.extend(&other.took);
    }
}

#[derive(Default)]
pub(super) struct Stats(Mutex<Traffic>);

impl Stats {
    pub fn count(&self, operation: &str) {
        let mut traffic = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *traffic.requests.entry(operation.to_owned()).or_default() += 1;
    }
    /// How long tables take to be made says nothing of how they work.
    pub fn answered(&self, operation: &str, took: Duration) {
        if !["CreateTable", "DescribeTable"].contains(&operation) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).took.push(took);
        }
    }
    pub fn glance(&self) -> (u64, Duration) {
        let traffic = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (traffic.all(), traffic.p99())
    }
    pub fn take(&self) -> Traffic {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slow_answer_in_a_hundred_does_not_count_and_two_do() {
        let p99 = |slow: usize, of: usize| {
            let stats = Stats::default();
            for number in 0..of {
                let millis = if number < slow { 300 } else { 1 };
                stats.answered("UpdateItem", Duration::from_millis(millis));
            }
            stats.answered("CreateTable", Duration::from_secs(9));
            stats.glance().1.as_millis()
        };
        assert_eq!([p99(1, 100), p99(2, 100), p99(1, 3), p99(0, 0)], [1, 300, 300, 0]);
    }

    #[test]
    fn half_of_the_answers_do_not_exceed_the_median() {
        let traffic = |took: &[u64]| {
            let took = took.iter().copied().map(Duration::from_millis).collect();
            Traffic { took, ..Traffic::default() }.p50().as_millis()
        };
        assert_eq!([traffic(&[9, 1, 5]), traffic(&[9, 1]), traffic(&[])], [5, 1, 0]);
    }

    #[test]
    fn what_is_taken_is_of_the_time_since_it_was_last_taken() {
        let stats = Stats::default();
        ["UpdateItem", "Scan", "UpdateItem"].iter().for_each(|name| stats.count(name));
        let traffic = stats.take();
        assert_eq!((traffic.writes(), traffic.all()), (2, 3));
        assert_eq!(stats.take().all(), 0);
    }
}
