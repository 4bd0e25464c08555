//! How the records of a shard reach its processor: every setting, its default and its bounds.

use std::time::Duration;

/// When records count as done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Acks {
    /// `Ok` from `process_records` acks the whole batch.
    #[default]
    OnReturn,
    /// Each record by [`Checkpointer::ack`](crate::Checkpointer::ack), in any order, from any task.
    Explicit,
}

/// What kind of code a processor is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProcessorKind {
    /// Its calls come to an await point often, and can be dropped there.
    #[default]
    Async,
    /// Its calls block a thread. They run on a thread of their own and cannot be cancelled; the
    /// worker's lease grace must cover what a call may run past the end of validity.
    Blocking,
}

/// Settings of every consumer of a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerConfig {
    /// When records count as done. Default: `OnReturn`.
    pub acks: Acks,
    /// What kind of code the processors are. Default: `Async`.
    pub kind: ProcessorKind,
    /// Longest time an acked record waits for its checkpoint to be written. Default 5 s; 10 ms to
    /// 1 h. One write per shard and interval.
    pub checkpoint_interval: Duration,
    /// Most records in a batch. Default 10,000; 1 to 1,000,000.
    pub batch_records: usize,
    /// Most bytes of data and keys in a batch; a single larger record is delivered alone. Default
    /// 8 MiB; 1 KiB to 1 GiB.
    pub batch_bytes: usize,
    /// Most records read ahead of the processor, per shard. Default 20,000; 1 to 10,000,000.
    pub prefetch_records: usize,
    /// Most bytes read ahead of the processor, per shard, up to one record more. Default 16 MiB;
    /// 1 KiB to 4 GiB.
    pub prefetch_bytes: usize,
    /// Most records delivered but not acked, with [`Acks::Explicit`]: beyond, nothing is delivered
    /// until acks come. Default 100,000; 1 to 10,000,000.
    pub max_unacked_records: usize,
    /// How long a stop lets the running batch finish before it is dropped, and then how long
    /// `shutdown_requested` may take. Default 5 s; 0 to 10 min.
    pub stop_timeout: Duration,
    /// Gives a shard up that has work but makes no progress for so long. Default: never, it is
    /// only reported; 1 s to 24 h.
    pub max_progress: Option<Duration>,
}

impl Default for ConsumerConfig {
    fn default() -> Self {
        Self {
            acks: Acks::default(),
            kind: ProcessorKind::default(),
            checkpoint_interval: Duration::from_secs(5),
            batch_records: 10_000,
            batch_bytes: 8 << 20,
            prefetch_records: 20_000,
            prefetch_bytes: 16 << 20,
            max_unacked_records: 100_000,
            stop_timeout: Duration::from_secs(5),
            max_progress: None,
        }
    }
}

/// A setting is out of its bounds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {value}: expected {bounds}")]
pub struct OutOfBounds {
    /// The setting's name.
    pub field: &'static str,
    /// What it was set to.
    pub value: String,
    /// What it may be.
    pub bounds: String,
}

impl OutOfBounds {
    /// Refuses a value outside of `low..=high`.
    ///
    /// # Errors
    /// Names the field, its value and the bounds.
    pub fn check<T: PartialOrd + std::fmt::Debug>(
        field: &'static str,
        value: T,
        low: T,
        high: T,
    ) -> Result<(), Self> {
        if low <= value && value <= high {
            return Ok(());
        }
        let bounds = format!("{low:?} to {high:?}");
        Err(Self { field, value: format!("{value:?}"), bounds })
    }
}

impl ConsumerConfig {
    /// Checks every field.
    ///
    /// # Errors
    /// Names the first field that is out of bounds.
    pub fn validate(&self) -> Result<(), OutOfBounds> {
        const KIB: usize = 1 << 10;
        const GIB: usize = 1 << 30;
        let (ms, s) = (Duration::from_millis, Duration::from_secs);
        OutOfBounds::check("checkpoint_interval", self.checkpoint_interval, ms(10), s(3600))?;
        OutOfBounds::check("batch_records", self.batch_records, 1, 1_000_000)?;
        OutOfBounds::check("batch_bytes", self.batch_bytes, KIB, GIB)?;
        OutOfBounds::check("prefetch_records", self.prefetch_records, 1, 10_000_000)?;
        OutOfBounds::check("prefetch_bytes", self.prefetch_bytes, KIB, 4 * GIB)?;
        OutOfBounds::check("max_unacked_records", self.max_unacked_records, 1, 10_000_000)?;
        OutOfBounds::check("stop_timeout", self.stop_timeout, Duration::ZERO, s(600))?;
        if let Some(limit) = self.max_progress {
            OutOfBounds::check("max_progress", limit, s(1), s(86_400))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_within_bounds() {
        assert_eq!(ConsumerConfig::default().validate(), Ok(()));
    }

    #[test]
    fn a_value_out_of_bounds_is_refused_by_name() {
        let config = ConsumerConfig { batch_records: 0, ..ConsumerConfig::default() };
        let refused = config.validate().unwrap_err().to_string();
        assert_eq!(refused, "batch_records is 0: expected 1 to 1000000");
        let config = ConsumerConfig {
            max_progress: Some(Duration::from_millis(1)),
            ..ConsumerConfig::default()
        };
        assert_eq!(config.validate().unwrap_err().field, "max_progress");
    }
}
