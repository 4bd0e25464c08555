//! Time, behind a trait so that a simulation can own it.

use std::time::Duration;

use async_trait::async_trait;
use kcl_protocol::Moment;

/// A source of time. Ownership is decided by [`Clock::monotonic`] alone.
#[async_trait]
pub trait Clock: Send + Sync + 'static {
    /// Time since an arbitrary origin; never goes back and **counts suspension** of the machine,
    /// so that a resumed worker knows its leases are old.
    fn monotonic(&self) -> Moment;
    /// Unix time in milliseconds, for timestamps that people and services read.
    fn wall_millis(&self) -> u64;
    /// Waits until the moment has come; returns at once if it has. Cancel-safe.
    async fn sleep_until(&self, moment: Moment);

    /// Waits for a duration. Cancel-safe.
    async fn sleep(&self, duration: Duration) {
        self.sleep_until(self.monotonic() + duration).await;
    }
}

/// The machine's clock: `CLOCK_BOOTTIME`. Linux has it, macOS and Windows do not, so this crate
/// does not build there.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

/// Longest single timer sleep: timers of the runtime stop while the machine is suspended, so a
/// sleeper looks at the boot clock at least this often.
const LONGEST_NAP: Duration = Duration::from_secs(1);

#[async_trait]
impl Clock for SystemClock {
    fn monotonic(&self) -> Moment {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Moment(Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32))
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    fn wall_millis(&self) -> u64 {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since_epoch.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    async fn sleep_until(&self, moment: Moment) {
        loop {
            let left = moment.since(self.monotonic());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(LONGEST_NAP)).await;
        }
    }
}

/// Tokio's clock: follows `tokio::time::pause` in tests and simulations. Does not count
/// suspension; production uses [`SystemClock`].
#[derive(Clone, Copy, Debug)]
pub struct TokioClock {
    origin: tokio::time::Instant,
    wall_origin_millis: u64,
}

impl TokioClock {
    /// A clock whose monotonic origin is now and whose wall clock shows `wall_millis` now.
    #[expect(clippy::disallowed_methods, reason = "this is a clock")]
    pub fn starting_at(wall_millis: u64) -> Self {
        // An origin of zero would make "before the start" and "never" the same moment.
        Self { origin: tokio::time::Instant::now(), wall_origin_millis: wall_millis }
    }
}

#[async_trait]
impl Clock for TokioClock {
    #[expect(clippy::disallowed_methods, reason = "this is a clock")]
    fn monotonic(&self) -> Moment {
        Moment(tokio::time::Instant::now().duration_since(self.origin) + Duration::from_secs(1000))
    }

    fn wall_millis(&self) -> u64 {
        let passed = self.monotonic().0 - Duration::from_secs(1000);
        self.wall_origin_millis + u64::try_from(passed.as_millis()).unwrap_or(u64::MAX)
    }

    async fn sleep_until(&self, moment: Moment) {
        tokio::time::sleep(moment.since(self.monotonic())).await;
    }
}
