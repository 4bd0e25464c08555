//! A worker's own time: it can stand still, and its clock can run apart.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kcl_core::Clock;
use kcl_core::protocol::Moment;
use tokio::sync::watch;

/// Holds a worker up: everything it waits for goes through here.
#[derive(Clone)]
pub struct Gate {
    open: Arc<watch::Sender<bool>>,
}

impl Gate {
    /// An open gate.
    pub fn new() -> Self {
        Self { open: Arc::new(watch::Sender::new(true)) }
    }
    /// Stops or resumes the worker.
    pub fn set_open(&self, open: bool) {
        self.open.send_replace(open);
    }
    /// Waits while the worker stands still.
    pub async fn pass(&self) {
        let mut open = self.open.subscribe();
        // The sender lives as long as this gate.
        let _ = open.wait_for(|open| *open).await;
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

/// A worker's clock: true time, run apart by some parts in a million. It runs on while the worker
/// stands still, as a machine's does while a process is stopped.
pub struct WorkerClock {
    /// True time.
    pub clock: Arc<dyn Clock>,
    /// How far this clock runs apart (parts in a million, positive is fast).
    pub drift_ppm: i64,
    /// Holds its sleepers up.
    pub gate: Gate,
}

impl WorkerClock {
    fn skewed(&self, moment: Moment) -> Moment {
        let nanos = i128::from(moment.as_nanos());
        let skewed = nanos + nanos * i128::from(self.drift_ppm) / 1_000_000;
        Moment::from_nanos(u64::try_from(skewed).unwrap_or(u64::MAX))
    }
}

#[async_trait]
impl Clock for WorkerClock {
    fn monotonic(&self) -> Moment {
        self.skewed(self.clock.monotonic())
    }
    fn wall_millis(&self) -> u64 {
        self.clock.wall_millis()
    }
    async fn sleep_until(&self, moment: Moment) {
        loop {
            let left = moment.since(self.monotonic());
            if left.is_zero() {
                break;
            }
            // At least a microsecond, or rounding could make two clocks wait for each other.
            self.clock.sleep(left.max(Duration::from_micros(1))).await;
        }
        self.gate.pass().await;
    }
}
