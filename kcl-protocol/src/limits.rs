//! Every bound of the protocol, with its unit and its reason.

use std::time::Duration;

/// Entries in a worker's inbox; keeps the row well under the 400 KiB of a DynamoDB item.
pub const INBOX_ENTRIES: usize = 32;
/// Leases in one ask.
pub const LEASES_PER_ASK: usize = 16;
/// Bytes of the application's own state in a prepared checkpoint: a scan reads every lease row, and
/// DynamoDB bills a write by the size of the row.
pub const PREPARED_STATE_BYTES: usize = 16 << 10;
/// Streams one worker reads: their tags stand in its row, which every heartbeat returns.
pub const STREAMS_PER_WORKER: usize = 256;
/// Writes in one `write_all`: DynamoDB's bound on a transaction.
pub const WRITES_PER_TRANSACTION: usize = 100;
/// Up to so many workers each watches all others; above, its ring successors.
pub const WATCH_ALL_WORKERS: usize = 32;
/// Ring successors a worker watches in a large fleet.
pub const RING_SUCCESSORS: usize = 3;
/// Equally loaded workers among whom a plan picks the one closest to a lease; keeps planning cheap
/// in a fleet of thousands. A power of two.
pub const TIES_WEIGHED: usize = 256;
/// How long an ask may stay unanswered, beyond one heartbeat, before it is forced.
pub const ASK_PATIENCE: Duration = Duration::from_secs(2);
/// How long the round counter must stand still before a worker reconciles.
pub const RECONCILE_EVERY: Duration = Duration::from_secs(60);
/// Generations a table may be raised by at once: far more than anybody resets or restores between
/// a backup and its return, and few enough for as many writes.
pub const GENERATIONS_AT_ONCE: u64 = 1000;
/// How long a dead worker's row stays.
pub const DEAD_WORKER_KEPT: Duration = Duration::from_secs(3600);
/// How long an ended shard must be missing from listings before its lease is removed.
pub const ENDED_LEASE_KEPT: Duration = Duration::from_secs(3600);
/// Shortest lease duration accepted.
pub const MIN_LEASE_DURATION: Duration = Duration::from_millis(300);
/// Longest lease duration accepted.
pub const MAX_LEASE_DURATION: Duration = Duration::from_secs(300);
