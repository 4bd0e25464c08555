//! A worker's own time: it can stand still, and its clock can run apart.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use kcl_core::Clock;
use kcl_core::protocol::Moment;
use tokio::sync::Notify;

/// Holds a worker up: everything it waits for goes through here. A `watch` channel would wake its
/// waiters in an order of its own; this one wakes them in the order in which they came.
#[derive(Clone)]
pub struct Gate {
    state: Arc<GateState>,
}

struct GateState {
    is_open: AtomicBool,
    is_doomed: AtomicBool,
    connections: AtomicU64,
    opened: Notify,
}

impl Gate {
    /// An open gate.
    pub fn new() -> Self {
        let state = GateState {
            is_open: AtomicBool::new(true),
            is_doomed: AtomicBool::new(false),
            connections: AtomicU64::new(0),
            opened: Notify::new(),
        };
        Self { state: Arc::new(state) }
    }
    /// Stops or resumes the worker.
    pub fn set_open(&self, open: bool) {
        let open = open && !self.is_doomed();
        self.state.is_open.store(open, Ordering::SeqCst);
        if open {
            self.state.opened.notify_waiters();
        }
    }
    /// False while the worker stands still.
    pub fn is_open(&self) -> bool {
        self.state.is_open.load(Ordering::SeqCst)
    }
    /// Stops the worker for good: whoever made it kills it next.
    pub fn doom(&self) {
        self.state.is_doomed.store(true, Ordering::SeqCst);
        self.set_open(false);
    }
    /// True once the worker was stopped for good.
    pub fn is_doomed(&self) -> bool {
        self.state.is_doomed.load(Ordering::SeqCst)
    }
    /// Cuts every connection: replies on their way do not arrive.
    pub fn cut(&self) {
        self.state.connections.fetch_add(1, Ordering::SeqCst);
    }
    /// Changes whenever the connections were cut.
    pub fn connections(&self) -> u64 {
        self.state.connections.load(Ordering::SeqCst)
    }
    /// Waits while the worker stands still.
    pub async fn pass(&self) {
        loop {
            let opened = self.state.opened.notified();
            tokio::pin!(opened);
            opened.as_mut().enable();
            if self.is_open() {
                return;
            }
            opened.await;
        }
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
        let nanos = moment.as_nanos();
        // No overflow: two days are 1.7e14 ns, and clocks run apart by less than a thousand ppm.
        let apart = nanos * self.drift_ppm.unsigned_abs() / 1_000_000;
        Moment::from_nanos(if self.drift_ppm < 0 { nanos - apart } else { nanos + apart })
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

#[cfg(test)]
mod tests;
