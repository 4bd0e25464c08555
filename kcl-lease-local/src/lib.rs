//! A lease table in memory: also the reference of what a lease table means.

mod memory;

pub use memory::MemoryLeaseTable;
