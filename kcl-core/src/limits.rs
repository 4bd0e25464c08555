//! Bounds of the runtime that are not settings, with unit and reason.

use std::time::Duration;

/// How long a shard with work may stand still before it is reported, unless `max_progress` says
/// otherwise: longer than any call that is merely slow.
pub const STUCK_AFTER: Duration = Duration::from_secs(60);
