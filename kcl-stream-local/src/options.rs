//! How a stream is set up, and what its shards share at run time.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crate::error::EngineError;
use crate::limits::{
    DEFAULT_MEMORY_BYTES, DEFAULT_RECORD_BYTES, DEFAULT_RETENTION_HOURS, LARGEST_RECORD_BYTES,
    LONGEST_RETENTION_HOURS,
};

/// Whether shards have the rates of Kinesis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Throughput {
    /// 1 MiB/s and 1,000 records/s in, 2 MiB/s and 5 reads/s out, for each shard.
    #[default]
    Provisioned,
    /// No rates at all.
    Unlimited,
}

/// How a stream is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamOptions {
    /// Rates of each shard. Default: those of Kinesis.
    pub throughput: Throughput,
    /// Hours a record is kept: 24 (default) to 8,760.
    pub retention_hours: u32,
    /// Bytes of data and key of one record: 1 to 10 MiB; default 1 MiB.
    pub max_record_bytes: usize,
    /// Bytes of memory for all records of the stream, each counted with 16 bytes of overhead.
    /// Default 1 GiB. A full stream refuses puts until records expire.
    pub memory_bytes: u64,
}

impl Default for StreamOptions {
    fn default() -> Self {
        Self {
            throughput: Throughput::default(),
            retention_hours: DEFAULT_RETENTION_HOURS,
            max_record_bytes: DEFAULT_RECORD_BYTES,
            memory_bytes: DEFAULT_MEMORY_BYTES,
        }
    }
}

impl StreamOptions {
    /// The defaults without rates.
    pub fn unlimited() -> Self {
        Self { throughput: Throughput::Unlimited, ..Self::default() }
    }

    pub(crate) fn validate(&self) -> Result<(), EngineError> {
        check_retention(self.retention_hours)?;
        check_record_bytes(self.max_record_bytes)?;
        check_memory(self.memory_bytes)
    }
}

pub(crate) fn check_retention(hours: u32) -> Result<(), EngineError> {
    if (DEFAULT_RETENTION_HOURS..=LONGEST_RETENTION_HOURS).contains(&hours) {
        return Ok(());
    }
    Err(EngineError::InvalidArgument(format!(
        "retention_hours is {hours}: {DEFAULT_RETENTION_HOURS} to {LONGEST_RETENTION_HOURS} are \
         allowed"
    )))
}

pub(crate) fn check_record_bytes(bytes: usize) -> Result<(), EngineError> {
    if (1..=LARGEST_RECORD_BYTES).contains(&bytes) {
        return Ok(());
    }
    Err(EngineError::InvalidArgument(format!(
        "max_record_bytes is {bytes}: 1 to {LARGEST_RECORD_BYTES} are allowed"
    )))
}

pub(crate) fn check_memory(bytes: u64) -> Result<(), EngineError> {
    if bytes == 0 {
        return Err(EngineError::InvalidArgument("memory_bytes is 0: give some".into()));
    }
    Ok(())
}

/// What all shards of a stream share. Atomics: shards read them under their own lock.
#[derive(Debug)]
pub(crate) struct Settings {
    unlimited: AtomicBool,
    retention_millis: AtomicU64,
    max_record_bytes: AtomicUsize,
    deleted: AtomicBool,
    pub(crate) memory: Memory,
}

const MILLIS_PER_HOUR: u64 = 3_600_000;

impl Settings {
    pub(crate) fn new(options: &StreamOptions) -> Self {
        let settings = Self {
            unlimited: AtomicBool::new(false),
            retention_millis: AtomicU64::new(0),
            max_record_bytes: AtomicUsize::new(options.max_record_bytes),
            deleted: AtomicBool::new(false),
            memory: Memory { used: AtomicU64::new(0), bound: AtomicU64::new(options.memory_bytes) },
        };
        settings.set(options);
        settings
    }

    pub(crate) fn set(&self, options: &StreamOptions) {
        let is_unlimited = options.throughput == Throughput::Unlimited;
        self.unlimited.store(is_unlimited, Ordering::Relaxed);
        let retention_millis = u64::from(options.retention_hours) * MILLIS_PER_HOUR;
        self.retention_millis.store(retention_millis, Ordering::Relaxed);
        self.max_record_bytes.store(options.max_record_bytes, Ordering::Relaxed);
        self.memory.bound.store(options.memory_bytes, Ordering::Relaxed);
    }

    pub(crate) fn is_unlimited(&self) -> bool {
        self.unlimited.load(Ordering::Relaxed)
    }
    pub(crate) fn retention_millis(&self) -> u64 {
        self.retention_millis.load(Ordering::Relaxed)
    }
    pub(crate) fn max_record_bytes(&self) -> usize {
        self.max_record_bytes.load(Ordering::Relaxed)
    }
    pub(crate) fn is_deleted(&self) -> bool {
        self.deleted.load(Ordering::Acquire)
    }
    pub(crate) fn delete(&self) {
        self.deleted.store(true, Ordering::Release);
    }
    pub(crate) fn options(&self) -> StreamOptions {
        StreamOptions {
            throughput: match self.is_unlimited() {
                true => Throughput::Unlimited,
                false => Throughput::Provisioned,
            },
            retention_hours: u32::try_from(self.retention_millis() / MILLIS_PER_HOUR)
                .unwrap_or(LONGEST_RETENTION_HOURS),
            max_record_bytes: self.max_record_bytes(),
            memory_bytes: self.memory.bound(),
        }
    }
}

/// The memory of a stream's records.
#[derive(Debug)]
pub(crate) struct Memory {
    used: AtomicU64,
    bound: AtomicU64,
}

impl Memory {
    /// Takes `bytes`, or nothing if they would pass the bound.
    pub(crate) fn reserve(&self, bytes: u64) -> bool {
        let bound = self.bound();
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(bytes).filter(|sum| *sum <= bound)
            })
            .is_ok()
    }
    /// Takes `bytes` that are there already, bound or not.
    pub(crate) fn count(&self, bytes: u64) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }
    pub(crate) fn release(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
    pub(crate) fn bound(&self) -> u64 {
        self.bound.load(Ordering::Relaxed)
    }
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}
