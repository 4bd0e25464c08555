//! Numbers of the service and of this crate, each with its reason.

use std::time::Duration;

/// Records one GetRecords may return (Kinesis API reference).
pub const RECORDS_PER_READ: usize = 10_000;

/// The shortest time between two reads of a shard: five a second are allowed, to all readers of
/// the shard together (Kinesis quotas).
pub const READ_INTERVAL: Duration = Duration::from_millis(200);

/// The wait at the tip of a shard. With 250 ms one application leaves a fifth of the shard's reads
/// to others, and a record waits an eighth of a second on average.
pub const IDLE: Duration = Duration::from_millis(250);

/// The shortest interval that can be set, for engines without the service's limits.
pub const SHORTEST_INTERVAL: Duration = Duration::from_millis(1);

/// The longest interval that can be set: an iterator lives five minutes, and a reader that waits
/// longer would lose its place each time.
pub const LONGEST_INTERVAL: Duration = Duration::from_secs(60);

/// How long one request may take. A read of 10 MiB takes a second on a slow line; after ten the
/// connection is taken for dead.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How long to wait after the service has refused a read for the rate: its buckets fill by the
/// second.
pub const THROTTLE_PAUSE: Duration = Duration::from_secs(1);

/// Pages of one listing: 1,000 shards each, more than any stream has. A service that gives ever
/// another token is refused instead of followed for ever.
pub const LISTING_PAGES: usize = 1_000;
