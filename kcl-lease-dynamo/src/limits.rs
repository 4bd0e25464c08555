//! Every bound of this crate, with its unit and its reason.

use std::time::Duration;

/// Longest a request may take if the builder names no other bound: far above the service's usual
/// tail (tens of milliseconds), far below a lease duration that would wait for it.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// Most user writes in one transaction with a checkpoint: the service takes 100 in all.
pub const EFFECTS: usize = kcl_protocol::limits::WRITES_PER_TRANSACTION - 1;
/// Attempts of a write that depends on a value read just before, each lost to a concurrent change
/// of that very value; after them the write reports a conflict.
pub const PIN_ATTEMPTS: u32 = 8;
/// Most segments of a parallel scan. One page of 1 MiB holds about 2,000 leases, so this serves
/// some 30,000 leases without a second round trip.
pub const SCAN_SEGMENTS: u32 = 16;
/// Bytes the service returns in one page of a scan.
pub const SCAN_PAGE_BYTES: u64 = 1 << 20;
/// Pause between two looks at a table that is being made.
pub const ACTIVE_POLL: Duration = Duration::from_millis(500);
/// Looks at a table that is being made before giving up: five minutes. Tables usually need
/// seconds.
pub const ACTIVE_POLLS: u32 = 600;
/// Looks between two progress lines while a table is being made: ten seconds.
pub const ACTIVE_POLLS_PER_LINE: u32 = 20;
/// Looks at a table just made during which the service may say that there is none: thirty seconds.
/// It tells of a new table with a delay, as a rule below a second.
pub const MADE_POLLS: u32 = 60;
