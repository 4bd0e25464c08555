//! The true time of a simulation.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use kcl_core::protocol::Moment;
use kcl_core::{Clock, TokioClock};

/// Tokio's paused clock. It moves only while the thread is parked, and is read each time the
/// thread wakes: a run asks for the time a quarter of a million times.
#[derive(Clone, Default)]
pub(super) struct SimClock(Arc<Shown>);

#[derive(Default)]
struct Shown {
    /// Set within the runtime.
    clock: OnceLock<TokioClock>,
    now_nanos: AtomicU64,
    started_nanos: AtomicU64,
    started_wall_millis: AtomicU64,
}

impl SimClock {
    /// Starts the clock, within the runtime whose threads refresh it when they wake.
    pub(super) fn start(&self, wall_millis: u64) {
        self.0.clock.get_or_init(|| TokioClock::starting_at(wall_millis));
        self.refresh();
        self.0.started_nanos.store(self.monotonic().as_nanos(), Ordering::Relaxed);
        self.0.started_wall_millis.store(wall_millis, Ordering::Relaxed);
    }
    /// Looks at tokio's clock.
    pub(super) fn refresh(&self) {
        if let Some(clock) = self.0.clock.get() {
            self.0.now_nanos.store(clock.monotonic().as_nanos(), Ordering::Relaxed);
        }
    }
}

#[async_trait]
impl Clock for SimClock {
    fn monotonic(&self) -> Moment {
        let now = Moment::from_nanos(self.0.now_nanos.load(Ordering::Relaxed));
        debug_assert_eq!(Some(now), self.0.clock.get().map(TokioClock::monotonic));
        now
    }
    fn wall_millis(&self) -> u64 {
        let started = Moment::from_nanos(self.0.started_nanos.load(Ordering::Relaxed));
        let passed = self.monotonic().since(started).as_millis();
        let passed = u64::try_from(passed).unwrap_or(u64::MAX);
        self.0.started_wall_millis.load(Ordering::Relaxed).saturating_add(passed)
    }
    async fn sleep_until(&self, moment: Moment) {
        tokio::time::sleep(moment.since(self.monotonic())).await;
    }
}
