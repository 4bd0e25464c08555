//! What happens after a processor failed: a user function, and the default one.

use std::time::Duration;

use crate::consumer::OutOfBounds;
use crate::processor::ProcessorError;
use crate::retry::Backoff;

/// How often the same place failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Failures since the acked watermark last moved, this one included: 1 for the first.
    pub number: u32,
    /// A number to spread retries with. It depends on the lease, its fence and the attempt alone,
    /// so that many shards that fail together do not retry together.
    pub roll: u64,
}

/// What to do after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Deliver again from the first unacked record, after this delay.
    Retry(Duration),
    /// Give the one failing record to the dead-letter sink, count it as done, and go on behind it.
    /// If the error names no record it is the first unacked one of the batch. Without a sink, and
    /// for failures outside a batch, the same as [`Action::StopShard`].
    DeadLetter,
    /// Give the lease up, so that another worker tries. This worker leaves the shard alone for
    /// [`Config::yield_for`](crate::Config::yield_for) (60 s), also if it is handed back by one
    /// that gave it up too: then nobody has it until the first of them tries again.
    YieldShard,
    /// Park the shard: the lease stays held, its reason is written into the lease row, nothing is
    /// delivered until somebody resumes it. Other shards go on.
    StopShard,
    /// Shut the worker down.
    StopWorker,
}

/// Answers every failure of a processor: errors and panics of any of its calls; and records that
/// could not be opened, which no processor sees.
///
/// Any `Fn(&ProcessorError, Attempt) -> Action` is one.
pub trait ErrorPolicy: Send + Sync + 'static {
    /// What to do now.
    fn decide(&self, error: &ProcessorError, attempt: Attempt) -> Action;

    /// Checks its own settings; called when the scheduler is built. Default: there are none.
    ///
    /// # Errors
    /// The first setting out of bounds, by name.
    fn validate(&self) -> Result<(), OutOfBounds> {
        Ok(())
    }
}

impl<F> ErrorPolicy for F
where
    F: Fn(&ProcessorError, Attempt) -> Action + Send + Sync + 'static,
{
    fn decide(&self, error: &ProcessorError, attempt: Attempt) -> Action {
        self(error, attempt)
    }
}

/// The default policy: retry a few times with growing delays, then stop the shard. Nothing is ever
/// skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryThenStop {
    /// How often to try again; any number.
    pub retries: u32,
    /// The delays in between; bounds: [`Backoff`].
    pub backoff: Backoff,
}

impl Default for RetryThenStop {
    /// Five retries, 50 ms to 1.6 s apart.
    fn default() -> Self {
        Self { retries: 5, backoff: Backoff::PROCESSOR }
    }
}

impl ErrorPolicy for RetryThenStop {
    fn decide(&self, _: &ProcessorError, attempt: Attempt) -> Action {
        if attempt.number > self.retries {
            Action::StopShard
        } else {
            Action::Retry(self.backoff.delay(attempt.number, attempt.roll))
        }
    }

    fn validate(&self) -> Result<(), OutOfBounds> {
        let Backoff { initial, growth_percent, longest } = self.backoff;
        let day = Duration::from_secs(86_400);
        OutOfBounds::check("error_policy longest", longest, Duration::ZERO, day)?;
        OutOfBounds::check("error_policy initial", initial, Duration::ZERO, longest)?;
        OutOfBounds::check("error_policy growth_percent", growth_percent, 100, 10_000)
    }
}
