//! Numbers of the drills, each with its reason.

use std::time::Duration;

/// Records put a second and shard.
pub const RATE_PER_SHARD: u32 = 50;

/// How often the producer puts: a record of each shard every time, at 50 a second.
pub const PUT_EVERY: Duration = Duration::from_millis(20);

/// The table itself may be this slow (as a share of `H`), in all but one answer in a hundred,
/// before a round is invalid: it then measures the table, not the workers.
pub const TABLE_SHARE: f64 = 0.5;

/// Half of the drill's own requests to the table may take this long where nothing but requests is
/// measured, before a round is invalid. A reaped worker's shard moves by five requests to the table
/// and three to the stream, one after the other, a leaving worker's by three and three: at this
/// pace they use up 80 and 60 of the 200 and 150 ms that are asked, and slow ones twice that.
pub const REQUEST_TYPICAL: Duration = Duration::from_millis(10);

/// How often the drill sends one. A look at the machine must not be what keeps it busy.
pub const PROBE_EVERY: Duration = Duration::from_millis(50);

/// The drill's own process may stand still for this long (as a share of `H`) before a round is
/// invalid: workers on the same machine stood still, too.
pub const STALL_SHARE: f64 = 0.5;

/// How often the drill looks whether it stood still.
pub const STALL_LOOK: Duration = Duration::from_millis(20);

/// How long nothing more may be processed at the end of a drill before the rest is lost. Far more
/// than any bound of the protocol.
pub const REST_PATIENCE: Duration = Duration::from_secs(20);

/// How long `idle` looks at the table.
pub const IDLE_FOR: Duration = Duration::from_secs(30);

/// Lines a worker may have waiting to be read; beyond it the worker waits.
pub const LINES_WAITING: usize = 4096;

/// How long output that a process left behind is waited for once it has ended.
pub const OUTPUT_PATIENCE: Duration = Duration::from_secs(2);

/// Bytes of a log line that are shown.
pub const LAST_WORDS: usize = 300;

/// Bytes of one request the proxy passes on: a transaction of 4 MiB and its frame.
pub const PROXY_BODY: usize = 8 << 20;

/// Grace of the built-in worker's blocking handlers.
pub const BLOCKING_GRACE: Duration = Duration::from_millis(250);

/// What a record takes in `slow` (milliseconds): at 50 a second, half as much again as there is
/// time for.
pub const SLOW_HANDLER_MS: u32 = 30;

/// What a record takes at a blocking handler that is frozen: at 50 a second, half of the time, so
/// that every second freeze of a shard strikes within a call.
pub const FROZEN_HANDLER_MS: u32 = 10;

/// Things shown in the live view that were done to the workers.
pub const NOTES_SHOWN: usize = 5;

/// How often the live view is drawn.
pub const VIEW_EVERY: Duration = Duration::from_millis(200);

/// How long rows may be wrong at the end of a drill before they count as wrong: several times what
/// a fleet takes to declare a worker dead and to share its shards.
pub const AUDIT_PATIENCE: Duration = Duration::from_secs(15);

/// How often the rows are looked at meanwhile.
pub const AUDIT_EVERY: Duration = Duration::from_millis(500);
