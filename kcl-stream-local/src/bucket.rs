//! A token bucket on the injected clock.

use std::time::Duration;

use kcl_core::protocol::Moment;

/// Units are kept in billionths, so that a refill of a few nanoseconds is not lost.
const NANO: i64 = 1_000_000_000;

/// Holds one second of its rate, and starts full.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    per_second: u64,
    /// Billionths of a unit; below zero is debt.
    level: i64,
    at: Moment,
}

impl Bucket {
    pub(crate) fn full(per_second: u64, now: Moment) -> Self {
        Self { per_second, level: nano(per_second), at: now }
    }

    /// Credits the time passed since the last call.
    pub(crate) fn refill(&mut self, now: Moment) {
        let passed = now.since(self.at).as_nanos();
        self.at = self.at.max(now);
        let gained = passed.saturating_mul(u128::from(self.per_second));
        let gained = i64::try_from(gained).unwrap_or(i64::MAX);
        self.level = self.level.saturating_add(gained).min(nano(self.per_second));
    }

    /// True if `cost` may be taken now. A cost above a second's worth waits for a full bucket.
    pub(crate) fn covers(&self, cost: u64) -> bool {
        self.level >= nano(cost.min(self.per_second))
    }

    /// Takes what [`Bucket::covers`] allowed; a cost above a second's worth leaves debt.
    pub(crate) fn take(&mut self, cost: u64) {
        self.level -= nano(cost);
    }

    /// True unless earlier spending is still to be made up for.
    pub(crate) fn is_in_credit(&self) -> bool {
        self.level > 0
    }

    /// Spends without asking, into debt if need be. After more than a second's worth the next is
    /// allowed `cost / rate` later: 5 s after 10 MiB at 2 MiB/s, as Kinesis has it.
    pub(crate) fn spend(&mut self, cost: u64) {
        self.level = if cost > self.per_second { 1 - nano(cost) } else { self.level - nano(cost) };
    }

    /// How long until `cost` is covered.
    pub(crate) fn wait_for(&self, cost: u64) -> Duration {
        self.wait_until_level(nano(cost.min(self.per_second)))
    }

    /// How long until it is in credit again.
    pub(crate) fn wait_for_credit(&self) -> Duration {
        self.wait_until_level(1)
    }

    fn wait_until_level(&self, level: i64) -> Duration {
        let short = u64::try_from(level.saturating_sub(self.level)).unwrap_or(0);
        Duration::from_nanos(short.div_ceil(self.per_second.max(1)))
    }
}

/// Units as billionths. The largest unit counts are 10 MiB, so that this is far from overflow.
fn nano(units: u64) -> i64 {
    i64::try_from(units).unwrap_or(i64::MAX).saturating_mul(NANO)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment(Duration::from_millis(millis))
    }

    #[test]
    fn a_second_of_rate_may_be_taken_at_once_and_comes_back_evenly() {
        let mut bucket = Bucket::full(1000, at(0));
        assert!(bucket.covers(1000));
        bucket.take(1000);
        assert!(!bucket.covers(1));
        assert_eq!(bucket.wait_for(1), Duration::from_millis(1));
        bucket.refill(at(250));
        assert!(bucket.covers(250) && !bucket.covers(251));
        bucket.refill(at(100_000));
        assert!(bucket.covers(1000));
        bucket.take(1000);
        assert!(!bucket.covers(1), "no more than a second is saved up");
    }

    #[test]
    fn a_cost_above_a_second_needs_a_full_bucket_and_leaves_debt() {
        let mut bucket = Bucket::full(1000, at(0));
        bucket.take(1);
        assert!(!bucket.covers(5000));
        bucket.refill(at(1));
        assert!(bucket.covers(5000));
        bucket.take(5000);
        bucket.refill(at(4000));
        assert!(!bucket.covers(1));
        bucket.refill(at(4002));
        assert!(bucket.covers(1));
    }

    #[test]
    fn a_large_read_is_made_up_for_in_full() {
        let mut bucket = Bucket::full(2 << 20, at(0));
        bucket.spend(10 << 20);
        assert_eq!(bucket.wait_for_credit(), Duration::from_secs(5));
        bucket.refill(at(4999));
        assert!(!bucket.is_in_credit());
        bucket.refill(at(5000));
        assert!(bucket.is_in_credit());
    }

    #[test]
    fn a_clock_that_stands_still_credits_nothing() {
        let mut bucket = Bucket::full(5, at(100));
        bucket.take(5);
        bucket.refill(at(100));
        bucket.refill(at(50));
        assert!(!bucket.covers(1));
    }
}
