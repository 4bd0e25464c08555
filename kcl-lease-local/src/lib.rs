//! Lease tables in memory and in a local file. The one in memory is also the reference of what a
//! lease table means.

mod codec;
mod effects;
mod file;
mod memory;

pub use effects::LocalEffects;
pub use file::FileLeaseTable;
pub use memory::{MemoryLeaseTable, Requests};
