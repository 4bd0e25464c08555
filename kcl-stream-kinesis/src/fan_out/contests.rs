//! How long to wait for a shard that the consumer has another subscription to, again and again.
//! Kept for all readers of a source: a worker opens a new one for each try.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kcl_protocol::{Moment, ShardId};

use crate::limits::{CONTEST_FORGOTTEN, LONGEST_CONTEST_PAUSE, SUBSCRIPTION_SAFE};

#[derive(Clone, Debug, Default)]
pub(crate) struct Contests(Arc<Mutex<BTreeMap<ShardId, Contest>>>);

/// Refusals and takeovers of one shard, none of them long after the one before.
#[derive(Clone, Copy, Debug)]
struct Contest {
    since: Moment,
    last: Moment,
    /// How often the wait was doubled.
    doublings: u32,
}

impl Contests {
    /// The shard is in use again: the longest wait that follows, the usual one at first.
    ///
    /// For as long as a single subscription can be too young, waits stay as they are: a shard that
    /// has just moved is tried often, and read as soon as the service allows it. What is refused
    /// after that, or taken over a second time, has a rival that does not go away, and each wait
    /// is twice the last.
    pub fn wait(&self, shard: &ShardId, now: Moment, usual: Duration) -> Duration {
        let mut contests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that are over go, so that there are never many.
        contests.retain(|_, contest| now.since(contest.last) < CONTEST_FORGOTTEN);
        let new = Contest { since: now, last: now, doublings: 0 };
        let contest = contests.entry(shard.clone()).or_insert(new);
        contest.last = now;
        if now.since(contest.since) >= SUBSCRIPTION_SAFE {
            contest.doublings = contest.doublings.saturating_add(1);
        }
        let factor = 1_u32.checked_shl(contest.doublings).unwrap_or(u32::MAX);
        usual.saturating_mul(factor).min(LONGEST_CONTEST_PAUSE.max(usual))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: Duration = Duration::from_millis(1_500);

    fn shard(number: u64) -> ShardId {
        ShardId::new(format!("shardId-{number:012}"))
    }

    fn at(millis: u64) -> Moment {
        Moment(Duration::from_millis(millis))
    }

    #[test]
    fn waits_are_the_usual_for_five_seconds_and_double_after_up_to_the_longest() {
        let contests = Contests::default();
        let wait = |millis| contests.wait(&shard(0), at(millis), USUAL).as_millis();
        assert_eq!([0, 1_500, 3_000, 4_999].map(wait), [1_500; 4]);
        let later = [5_000, 8_000, 14_000, 26_000, 50_000, 80_000];
        assert_eq!(later.map(wait), [3_000, 6_000, 12_000, 24_000, 30_000, 30_000]);
        assert_eq!(contests.wait(&shard(1), at(80_000), USUAL), USUAL, "each shard by itself");
    }

    #[test]
    fn no_number_of_refusals_overflows() {
        let contests = Contests::default();
        for second in 0..200 {
            let wait = contests.wait(&shard(0), at(second * 1_000), USUAL);
            assert!((USUAL..=LONGEST_CONTEST_PAUSE).contains(&wait), "{wait:?}");
        }
    }

    #[test]
    fn a_shard_that_was_not_in_use_for_long_is_tried_often_again_and_forgotten() {
        let contests = Contests::default();
        for number in 0..1_000 {
            let started = number * 10_000;
            let waits = [0, 6_000].map(|millis| {
                contests.wait(&shard(number), at(started + millis), USUAL).as_millis()
            });
            assert_eq!(waits, [1_500, 3_000]);
            assert!(contests.0.lock().unwrap().len() <= 10);
        }
        let forgotten = at(10_000_000) + CONTEST_FORGOTTEN;
        assert_eq!(contests.wait(&shard(999), forgotten, USUAL), USUAL);
        assert_eq!(contests.0.lock().unwrap().len(), 1);
    }
}
