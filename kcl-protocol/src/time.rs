//! Points in time and the durations the protocol derives from a lease duration.

use std::time::Duration;

/// A point on one process's monotonic clock, counted from an origin of that clock. Never compared
/// across machines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub Duration);

impl Moment {
    /// A moment `nanos` nanoseconds after the clock's origin.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(Duration::from_nanos(nanos))
    }
    /// Nanoseconds since the clock's origin; saturates after 584 years.
    pub fn as_nanos(self) -> u64 {
        u64::try_from(self.0.as_nanos()).unwrap_or(u64::MAX)
    }
    /// Time passed since `earlier`; zero if that lies ahead.
    pub fn since(self, earlier: Moment) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
    /// The later of the two.
    pub fn max(self, other: Moment) -> Moment {
        Ord::max(self, other)
    }
}

impl std::ops::Add<Duration> for Moment {
    type Output = Moment;
    fn add(self, after: Duration) -> Moment {
        Moment(self.0.saturating_add(after))
    }
}

/// How long a worker may act on one heartbeat, and how long others wait before they fence it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseTiming {
    /// `D`: the lease duration.
    pub duration: Duration,
    /// `g`: how long user code that cannot be cancelled may run past the deadline.
    pub grace: Duration,
    /// `delta`: slack between checking a permit and acting on it.
    pub slack: Duration,
    /// `1 / rho`: clocks of two machines may run apart by one part in so many.
    pub drift_parts: u32,
}

impl LeaseTiming {
    /// The usual slack and drift: 20 ms and one part in 1,000 (crystals stay within 200 ppm, NTP
    /// slews by at most 500 ppm).
    pub const fn new(duration: Duration, grace: Duration) -> Self {
        Self { duration, grace, slack: Duration::from_millis(20), drift_parts: 1000 }
    }
    /// `H = D / 3`: the time between two heartbeats.
    pub fn heartbeat(&self) -> Duration {
        self.duration / 3
    }
    /// `D_own = D (1 - rho) - delta`: how long a heartbeat keeps its sender valid, counted from
    /// before it was sent.
    pub fn own(&self) -> Duration {
        (self.duration - self.duration / self.drift_parts).saturating_sub(self.slack)
    }
    /// `D_take = D (1 + rho) + g`: how long a heartbeat must stand unchanged, counted from after
    /// the reply that first showed it, before its sender may be fenced.
    pub fn take(&self) -> Duration {
        self.duration + self.duration / self.drift_parts + self.grace
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_has_stopped_before_anybody_may_take_however_their_clocks_drift() {
        const RHO: f64 = 1e-3;
        for millis in [300, 999, 1500, 3000, 300_000] {
            for grace in [0, 250] {
                let grace = Duration::from_millis(grace);
                let timing = LeaseTiming::new(Duration::from_millis(millis), grace);
                // The owner's clock is slow and the taker's fast, each by as much as is allowed.
                let owner_stops = timing.own().as_secs_f64() / (1.0 - RHO);
                let taker_acts = timing.take().as_secs_f64() / (1.0 + RHO);
                let slack = timing.slack.as_secs_f64() + grace.as_secs_f64() * (1.0 - RHO);
                assert!(owner_stops + slack <= taker_acts + 1e-6, "D = {millis} ms");
            }
        }
    }
}
