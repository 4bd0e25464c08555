//! What the processors of the harness put into the table together with a checkpoint.

use kcl_core::Effects;
use kcl_core::protocol::{Fence, LeaseKey};
use kcl_lease_local::{LocalEffects, MemoryLeaseTable};

/// So many records of this lease are done now, says who works under this fence.
pub(super) fn sum(lease: &LeaseKey, records: u64, fence: Fence) -> Effects {
    let effects = LocalEffects::new().put(lease.as_str(), records.to_be_bytes());
    Effects::new(effects.put(of_sender(lease), fence.0.to_be_bytes()))
}

/// How many records of a shard were committed with effects.
pub(super) fn committed(table: &MemoryLeaseTable, lease: &LeaseKey) -> u64 {
    number(table, lease.as_str()).unwrap_or_default()
}

/// Under which fence the effects of this lease were sent that were applied last, if they say so.
pub(super) fn sender(table: &MemoryLeaseTable, lease: &LeaseKey) -> Option<Fence> {
    number(table, &of_sender(lease)).map(Fence)
}

fn of_sender(lease: &LeaseKey) -> String {
    format!("fence of {lease}")
}

fn number(table: &MemoryLeaseTable, key: &str) -> Option<u64> {
    table.effect(key)?.try_into().ok().map(u64::from_be_bytes)
}
