//! Every number of the producer, with its unit and reason. Those marked (K) are Kinesis' own
//! (<https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html>).

use std::time::Duration;

/// Records in one request (K).
pub const REQUEST_RECORDS: usize = 500;
/// Bytes of data and keys in one request: 10 MiB (K).
pub const REQUEST_BYTES: usize = 10 << 20;
/// Bytes of data and key of a record, unless a stream says otherwise: 1 MiB (K).
pub const RECORD_BYTES: usize = 1 << 20;
/// Characters of a partition key (K).
pub const KEY_CHARS: usize = 256;
/// Bytes a shard takes in a second: 1 MiB (K).
pub const SHARD_IN_BYTES: u64 = 1 << 20;
/// Records a shard takes in a second (K).
pub const SHARD_IN_RECORDS: u64 = 1000;

/// Bytes a producer holds at most until they are put: 16 MiB, about 45,000 records of 100 bytes.
pub const MEMORY_BYTES: usize = 16 << 20;
/// Bytes counted for a record besides its data and key: its entry, its key's queue, the channel
/// of its fate, and the heads of their heap blocks.
pub const OVERHEAD_BYTES: usize = 256;
/// Records between callers and the producer's task for which room is kept at all times. There may
/// be more, within the producer's memory.
pub const INBOX_RECORDS: usize = 1024;
/// How long one record is tried again, unless told otherwise.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How long a record waits for others to share its request, unless told otherwise: half of what
/// the Kinesis Producer Library waits.
pub const LINGER: Duration = Duration::from_millis(50);
/// Bytes of one request, unless told otherwise: a twentieth of a second of a fast line.
pub const BATCH_BYTES: usize = 1 << 20;
/// Bytes of one aggregate, unless told otherwise: as the Kinesis Producer Library has it. Larger
/// ones save little and make each throttled retry larger.
pub const AGGREGATE_BYTES: usize = 50 << 10;
/// Records of one aggregate: far below what readers accept.
pub const AGGREGATE_RECORDS: usize = 10_000;
/// Requests under way at once, unless told otherwise.
pub const REQUESTS: usize = 8;
/// First delay of a refused put. A shard's second of credit comes back evenly, so that a short
/// wait is enough for a few records.
pub const FIRST_DELAY: Duration = Duration::from_millis(20);
/// Longest delay of a refused put: a shard's whole credit is back after a second.
pub const LONGEST_DELAY: Duration = Duration::from_secs(1);
/// How often a record may come into a shard that it was not meant for before it is put alone,
/// which no prediction can get wrong.
pub const MISSES: u8 = 2;
/// The shortest time between two listings of shards: where the stream puts records into shards of
/// its own choice, each reply asks for another one.
pub const LISTING_INTERVAL: Duration = Duration::from_millis(200);
/// Time over which hot shards are looked for, at most; half of it at least.
pub const HOT_WINDOW: Duration = Duration::from_secs(60);
/// Keys the sketch of heavy keys follows: each with more than a 64th of the bytes is among them.
pub const HOT_KEYS: usize = 64;
/// Keys that are named of a hot shard: a fourth would be a fourth of it at most.
pub const TOP_KEYS: usize = 3;
/// How long one request to Kinesis may take; after that its outcome is unknown.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Pages of one listing: 1,000 shards each, more than any stream has. A service that gives ever
/// another token is refused instead of followed for ever.
pub const LISTING_PAGES: usize = 1_000;
