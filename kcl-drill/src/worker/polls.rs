//! When a handler was last polled.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};

use super::lines::unix_seconds;

/// The start of the latest poll of a future, told to the future itself.
#[derive(Default)]
pub(crate) struct LastPoll(AtomicU64);

impl LastPoll {
    /// Unix seconds.
    pub fn at(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }

    /// Runs the future. Cancel-safe as far as the future is.
    pub async fn of<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|context| {
            self.0.store(unix_seconds().to_bits(), Ordering::Relaxed);
            future.as_mut().poll(context)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_poll_is_noted_before_it_begins() {
        let polls = LastPoll::default();
        let noted = polls.of(async {
            let first = polls.at();
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            (first, polls.at(), unix_seconds())
        });
        let (first, second, now) = noted.await;
        assert!(0.0 < first && first + 0.004 < second && second <= now);
    }
}
