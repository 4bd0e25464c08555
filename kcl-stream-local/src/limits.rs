//! Every number of the engine, with its unit and reason. Those marked (K) are Kinesis' own
//! (<https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html>).

use std::time::Duration;

/// Records in one put of many (K).
pub const PUT_RECORDS: usize = 500;
/// Bytes of data and keys in one put of many: 10 MiB (K).
pub const PUT_BYTES: usize = 10 << 20;
/// Bytes of data and key of a record, unless a stream says otherwise: 1 MiB (K).
pub const DEFAULT_RECORD_BYTES: usize = 1 << 20;
/// The most bytes of data and key a stream may allow for a record: 10 MiB (K).
pub const LARGEST_RECORD_BYTES: usize = 10 << 20;
pub use kcl_producer::limits::KEY_CHARS;
/// Characters of a stream name (K).
pub const NAME_CHARS: usize = 128;
/// Bytes a shard takes in a second: 1 MiB (K).
pub const SHARD_IN_BYTES: u64 = 1 << 20;
/// Records a shard takes in a second (K).
pub const SHARD_IN_RECORDS: u64 = 1000;
/// Bytes a shard gives out in a second: 2 MiB, to all pullers together, or to each subscriber (K).
pub const SHARD_OUT_BYTES: u64 = 2 << 20;
/// Calls of `get_records` a shard answers in a second (K).
pub const SHARD_READS: u64 = 5;
/// Bytes one `get_records` returns at most: 10 MiB (K).
pub const READ_BYTES: usize = 10 << 20;
/// Records one `get_records` returns at most (K).
pub const READ_RECORDS: usize = 10_000;
/// Records one pushed read returns at most, so that one read takes well under a millisecond:
/// copying a record out takes about 50 ns.
pub const PUSHED_RECORDS: usize = 2000;
/// Milliseconds an iterator is good for: 5 minutes (K).
pub const ITERATOR_LIFE_MILLIS: u64 = 5 * 60 * 1000;
/// Hours a stream keeps a record, unless told otherwise (K).
pub const DEFAULT_RETENTION_HOURS: u32 = 24;
/// The longest retention in hours: a year (K).
pub const LONGEST_RETENTION_HOURS: u32 = 8760;
/// Open shards of one stream: Kinesis' default cap of a reshard (K).
pub const OPEN_SHARDS: u32 = 10_000;
/// Bytes a stream keeps in memory, unless told otherwise: 1 GiB, about 8 million records of 100
/// bytes.
pub const DEFAULT_MEMORY_BYTES: u64 = 1 << 30;
/// Bytes counted for a record besides its data and key: its entry (8), and its part of what a block
/// takes besides.
pub const RECORD_OVERHEAD_BYTES: u64 = 16;

/// When a put is worth trying again while the journal is behind: some syncs of a disk.
pub const JOURNAL_RETRY: Duration = Duration::from_millis(20);
