//! Delays between retries.
//!
//! The `backoff` crate gives the sequence of intervals, and nothing else of it is used: no clock,
//! no jitter, no retry loop. It is unmaintained; this file is all there is to replace.

use std::time::Duration;

use backoff::backoff::Backoff as _;
use backoff::{ExponentialBackoff, ExponentialBackoffBuilder};
use kcl_protocol::retry::spread;

use crate::random::Random;

/// A sequence of growing delays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The first delay; 0 to `longest`.
    pub initial: Duration,
    /// Each delay is this many percent of the one before; 100 to 10,000.
    pub growth_percent: u32,
    /// No delay is longer; 0 to 24 h.
    pub longest: Duration,
}

/// Growth beyond this many steps changes nothing for any sensible first delay, and bounds the work.
const STEPS: u32 = 64;

impl Backoff {
    /// After failures of a record processor: 100 ms, 200 ms, 400 ms, up to 10 s.
    pub const PROCESSOR: Self = Self {
        initial: Duration::from_millis(100),
        growth_percent: 200,
        longest: Duration::from_secs(10),
    };
    /// After failed requests to a stream or the table: 50 ms, 100 ms, up to 2 s. Short,
    /// since a lease lives for seconds.
    pub const REQUEST: Self = Self {
        initial: Duration::from_millis(50),
        growth_percent: 200,
        longest: Duration::from_secs(2),
    };

    /// The delay after failure number `attempt` (from 1), spread over 50% to 100% of itself by
    /// `roll`, which may be any number.
    pub fn delay(&self, attempt: u32, roll: u64) -> Duration {
        let mut sequence = self.sequence();
        let steps = attempt.clamp(1, STEPS);
        let longest = (0..steps).filter_map(|_| sequence.next_backoff()).last();
        spread(longest.unwrap_or(self.longest), roll)
    }

    fn sequence(&self) -> ExponentialBackoff {
        ExponentialBackoffBuilder::new()
            .with_initial_interval(self.initial.min(self.longest))
            .with_multiplier(f64::from(self.growth_percent.max(100)) / 100.0)
            .with_max_interval(self.longest)
            .with_randomization_factor(0.0)
            .with_max_elapsed_time(None)
            .build()
    }
}

/// Before a request of the control loop or the registrar is repeated: a quarter to five quarters of
/// 25 ms, 50 ms, up to 1.6 s, or of a heartbeat interval if that is less. `attempt` counts from 0.
pub(crate) fn pause(heartbeat: Duration, attempt: u32, random: &Random) -> Duration {
    let most = heartbeat.min(Duration::from_millis(25 << attempt.min(6)));
    most / 4 + random.up_to(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_longest() {
        let millis = |attempt| Backoff::PROCESSOR.delay(attempt, u64::MAX).as_millis();
        assert_eq!([1, 2, 3, 4].map(millis), [100, 200, 400, 800]);
        assert_eq!(millis(8), 10_000);
        assert_eq!(millis(u32::MAX), 10_000);
    }

    #[test]
    fn a_delay_is_spread_over_its_upper_half() {
        let delays = (0..1000)
            .map(|roll| Backoff::PROCESSOR.delay(1, kcl_protocol::hash::mix(roll)).as_millis());
        let (low, high) = delays.fold((u128::MAX, 0), |(l, h), d| (l.min(d), h.max(d)));
        assert!((50..55).contains(&low), "{low}");
        assert!((95..=100).contains(&high), "{high}");
    }
}
