//! Bounds of the runtime that are not settings, with unit and reason.

use std::time::Duration;

/// How long a shard with work may stand still before it is reported, unless `max_progress` says
/// otherwise: longer than any call that is merely slow.
pub const STUCK_AFTER: Duration = Duration::from_secs(60);

/// How long a checkpoint write may go without a reply before it counts as lost and is repeated: a
/// lease table that takes longer helps nobody, and the repeated write is safe.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// Tries to bind a stream that is added while the worker runs, or to list one that may have dropped
/// a shard, within some seconds: one refused request decides nothing, and somebody waits.
pub const STREAM_TRIES: u32 = 12;
/// No wait for a stream that could not be listed is longer than so many heartbeats.
pub const LONGEST_SYNC_WAIT: u32 = 8;
/// How long a lease waits for its stream to say whether its shard was dropped: the requests of a
/// source have no bound of ours.
pub const DROPPED_PATIENCE: Duration = Duration::from_secs(20);

/// Bytes of a parked shard's reason that its row keeps: it is the user's text, which may quote a
/// record, and every scan of the leases reads it.
pub const PARKED_REASON_BYTES: usize = 1024;

/// Commands a consumer may have waiting, its stop included.
pub const CONSUMER_COMMANDS: usize = 8;

/// Commands that may wait for the control loop.
pub const WORKER_COMMANDS: usize = 64;

/// Takes under way at once: a big takeover must not flood the table.
pub const TAKES_AT_ONCE: usize = 32;

/// With weights of the user's own, or streams that not all workers read, the loads in the worker
/// rows do not show an imbalance; then the lease rows are read this often.
pub const WEIGHED_EVERY: Duration = Duration::from_secs(10);

/// A worker above its room looks this often for others that have some.
pub const ROOM_EVERY: Duration = Duration::from_secs(5);

/// Hints may bring heartbeats forward, but not closer together than this.
pub const HURRIED_APART: Duration = Duration::from_millis(10);

/// On a stream whose shards have no known tip, "latest" is this much before the service's time:
/// its hosts disagree by a little, and a record twice is better than one never.
pub const LATEST_SLACK_MILLIS: u64 = 5_000;

/// Hints a worker may have waiting; more are dropped, and the heartbeat brings the news.
pub const HINTS_WAITING: usize = 256;

/// Connections for hints at once, each way; what comes on top is dropped.
pub const HINT_CONNECTIONS: usize = 16;

/// A hint that takes longer is no use: the heartbeat has brought the news.
pub const HINT_PATIENCE: Duration = Duration::from_secs(1);

/// Hints taken in a second. A hand-over of 16 leases sends 17; a flood costs no more reads than
/// this.
pub const HINTS_PER_SECOND: u32 = 200;

/// Senders of hints remembered. Past it all are forgotten: an old hint then costs one read once
/// more.
pub const HINT_SENDERS: usize = 1024;
