//! Bounds of the runtime that are not settings, with unit and reason.

use std::time::Duration;

/// How long a shard with work may stand still before it is reported, unless `max_progress` says
/// otherwise: longer than any call that is merely slow.
pub const STUCK_AFTER: Duration = Duration::from_secs(60);

/// How long a checkpoint write may go without a reply before it counts as lost and is repeated: a
/// lease table that takes longer helps nobody, and the repeated write is safe.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
