//! Counting failures and spreading retries, as pure values.

use std::time::Duration;

use crate::sequence::Checkpoint;

/// A delay spread over its upper half by a number that may be anything: retries of many shards
/// that failed together come apart, and none comes at once.
pub fn spread(delay: Duration, roll: u64) -> Duration {
    let nanos = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
    let half = nanos / 2;
    let share = (u128::from(nanos - half) * u128::from(roll)) / u128::from(u64::MAX);
    Duration::from_nanos(half + u64::try_from(share).unwrap_or(half))
}

/// Failures in a row at one place of a shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attempts {
    at: Option<Checkpoint>,
    count: u32,
}

impl Attempts {
    /// One more failure while the acked watermark stands here; says how many there were since the
    /// watermark last moved.
    pub fn fail(&mut self, watermark: Checkpoint) -> u32 {
        if self.at != Some(watermark) {
            *self = Self { at: Some(watermark), count: 0 };
        }
        self.count = self.count.saturating_add(1);
        self.count
    }
    /// Failures so far while the watermark stands here.
    pub fn at(&self, watermark: Checkpoint) -> u32 {
        if self.at == Some(watermark) { self.count } else { 0 }
    }
    /// Starts counting anew: somebody looked at it.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_count_until_the_watermark_moves() {
        let mut attempts = Attempts::default();
        assert_eq!(attempts.fail(Checkpoint::TrimHorizon), 1);
        assert_eq!(attempts.fail(Checkpoint::TrimHorizon), 2);
        assert_eq!(attempts.at(Checkpoint::TrimHorizon), 2);
        assert_eq!(attempts.fail(Checkpoint::AtTimestamp(1)), 1);
        attempts.reset();
        assert_eq!(attempts.fail(Checkpoint::AtTimestamp(1)), 1);
    }

    #[test]
    fn spread_stays_between_half_and_all() {
        let delay = Duration::from_millis(100);
        assert_eq!(spread(delay, 0), Duration::from_millis(50));
        assert_eq!(spread(delay, u64::MAX), delay);
        assert!(spread(Duration::MAX, u64::MAX) > Duration::ZERO);
        assert_eq!(spread(Duration::ZERO, 7), Duration::ZERO);
    }
}
