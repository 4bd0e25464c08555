//! A lease table in memory: also the reference of what a lease table means.

mod effects;
mod memory;

pub use effects::LocalEffects;
pub use memory::{MemoryLeaseTable, Requests};
