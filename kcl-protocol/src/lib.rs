//! The coordination protocol as pure values.
//!
//! No clock, no randomness, no I/O and no logging: every function here maps values to values, so
//! that a model checker, a simulation and the running scheduler share one set of decisions.

pub mod acks;
pub mod assign;
pub mod consumer;
pub mod force;
pub mod gate;
pub mod hash;
pub mod hash_audit;
pub mod hash_range;
pub mod holdings;
pub mod ids;
pub mod limits;
pub mod lineage;
pub mod liveness;
pub mod moves;
pub mod reconcile;
pub mod retry;
pub mod rows;
pub mod rules;
pub mod sequence;
pub mod shard_sync;
pub mod time;
pub mod watch;
pub mod writes;

pub use hash_range::HashKeyRange;
pub use holdings::{Holdings, Standing};
pub use ids::{EntryId, Fence, LeaseKey, Ordinal, ShardId, StreamName, StreamTag, WorkerId};
pub use liveness::{Beat, Due, Liveness};
pub use rows::{
    HeldDigest, InboxEntry, Lease, Parked, Prepared, Reads, Row, RowKey, StreamRow, StreamStart,
    TableRow, WorkerRow, WorkerState,
};
pub use rules::{Mutant, Rules};
pub use sequence::{BadSequenceNumber, Checkpoint, Position, SequenceNumber};
pub use time::{LeaseTiming, Moment};
pub use watch::Watch;
pub use writes::{
    CasOutcome, ConditionalWrite, LeaseChange, LeaseCondition, LeaseWrite, StreamWrite, TableWrite,
    WorkerChange, WorkerCondition, WorkerWrite,
};
