//! How a producer is set up.

use std::time::Duration;

use kcl_core::Backoff;

use crate::limits::{
    AGGREGATE_BYTES, BATCH_BYTES, FIRST_DELAY, HOT_WINDOW, LONGEST_DELAY, MEMORY_BYTES, PATIENCE,
    REQUEST_RECORDS, REQUESTS,
};

/// How a producer is set up. What is above the sink's limits counts as those.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerOptions {
    /// Bytes of records it holds at most, each counted with 256 bytes of overhead. Default 16 MiB.
    /// `put` waits while they are used up. A single larger record is taken alone.
    pub memory_bytes: usize,
    /// How long one record is tried again after it was taken. Every record is tried at least once,
    /// except one whose patience ended while it waited behind others of its key, or of its shard
    /// where keys are not kept apart, or while the reply to a request was lost that was under way
    /// alone: once that fails it is given up too. Default 60 s.
    pub patience: Duration,
    /// Delays after refusals, for each shard; after whole requests that failed, for all. They grow
    /// while a shard refuses half of a request or more, and shrink while it refuses less. Default
    /// 20 ms, doubling up to 1 s, each spread over its upper half.
    pub backoff: Backoff,
    /// How long a record waits for others to share its request; zero sends at once. Default: what
    /// suits the sink, 50 ms over a network.
    pub linger: Option<Duration>,
    /// The most records of the stream in one request: default 500.
    pub batch_records: usize,
    /// Bytes with which a request is sent without lingering, and the most it carries but for a
    /// single larger record: default 1 MiB.
    pub batch_bytes: usize,
    /// Requests under way at once: default 8. After a lost reply one goes alone until it is
    /// answered, and each round of answers makes room for one more.
    pub requests: usize,
    /// Default: by key.
    pub order: Order,
    /// Default: off.
    pub aggregation: Aggregation,
    /// Default: retry.
    pub lost_reply: LostReply,
    /// Default: all of it.
    pub misplaced: Misplaced,
    /// Time over which hot shards are looked for. Default 60 s.
    pub hot_window: Duration,
    /// Makes jitter the same in every run; `None` takes another one each time.
    pub seed: Option<u64>,
}

/// In which order records reach the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Records of one hash key in the order they were taken, also through retries and reshards:
    /// one request under way for each key. Without aggregation, and in a sink that does not keep
    /// the order within a request, that is one record of a key at a time. Kinesis promises a coarse
    /// order by arrival alone, and a request that timed out may arrive after the next: r2, r1 with
    /// [`LostReply::Report`], r1, r2, r1 with [`LostReply::Retry`].
    #[default]
    ByKey,
    /// Any order.
    Any,
}

/// Whether several records share one record of the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Aggregation {
    /// Each is a record of its own.
    #[default]
    Off,
    /// In the format of the Kinesis Producer Library, which readers must take apart. A record that
    /// finds no others to share with is put as it is, unless its data begins like an aggregate:
    /// then it is put inside one, so that readers do not look into it.
    Kpl {
        /// Bytes of one aggregate at most. A single larger record is put as it is.
        bytes: usize,
    },
}

impl Aggregation {
    /// Aggregates of up to 50 KiB.
    pub const KPL: Self = Self::Kpl { bytes: AGGREGATE_BYTES };
}

/// What follows when the reply to a request was lost, or the service failed at a record of it
/// (`InternalFailure`), so that its records, or this one, may be in the stream or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LostReply {
    /// They are put again: nothing is lost, and records may be there twice. Receipts say so.
    #[default]
    Retry,
    /// The outcome is reported as unknown.
    Report,
}

/// What is put again of an aggregate that came into another shard than it was made for, because
/// the stream was resharded meanwhile. Readers drop sub-records that do not belong to the shard
/// they read: the framework's own only those, the Java KCL the whole aggregate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Misplaced {
    /// Every record of an aggregate with one that does not belong: no reader loses any, and those
    /// that do belong may be read twice.
    #[default]
    All,
    /// Only those that do not belong: the framework's own readers see each once, the Java KCL
    /// loses the others.
    Foreign,
}

impl Default for ProducerOptions {
    fn default() -> Self {
        Self {
            memory_bytes: MEMORY_BYTES,
            patience: PATIENCE,
            backoff: Backoff { initial: FIRST_DELAY, growth_percent: 200, longest: LONGEST_DELAY },
            linger: None,
            batch_records: REQUEST_RECORDS,
            batch_bytes: BATCH_BYTES,
            requests: REQUESTS,
            order: Order::default(),
            aggregation: Aggregation::default(),
            lost_reply: LostReply::default(),
            misplaced: Misplaced::default(),
            hot_window: HOT_WINDOW,
            seed: None,
        }
    }
}
