//! Numbers of the drills, each with its reason.

use std::time::Duration;

/// Records put a second and shard.
pub const RATE_PER_SHARD: u32 = 50;

/// How often the producer puts: a record of each shard every time, at 50 a second.
pub const PUT_EVERY: Duration = Duration::from_millis(20);

/// How long a fleet may take to settle before a drill is given up: far more than any bound of the
/// protocol, so that a drill ends with a report and not with a hang.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Connections to the table may be this slow (as a share of `H`) before a round is invalid: the
/// drill then measures the table, not the workers.
pub const TABLE_SHARE: f64 = 0.5;

/// Lines a worker may have waiting to be read; beyond it the worker waits.
pub const LINES_WAITING: usize = 4096;

/// Bytes of one request the proxy passes on: a transaction of 4 MiB and its frame.
pub const PROXY_BODY: usize = 8 << 20;
