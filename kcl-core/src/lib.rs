//! Consume a sharded stream with many workers.

pub mod causes;
pub mod checkpointer;
pub mod clock;
pub mod closure;
pub mod config;
pub mod consumer;
mod consumers;
mod control;
pub mod dead_letter;
pub mod event;
pub mod handle;
pub mod hints;
pub mod limits;
mod liveness;
pub mod permit;
pub mod policy;
pub mod prepare;
pub mod processor;
mod random;
mod reaped;
mod record_queue;
mod registration;
pub mod reset;
pub mod restored;
pub mod retry;
pub mod scheduler;
pub mod source;
mod streams;
pub mod table;

// Nothing of the rules that tests break is in a program that was not built to break them.
#[cfg(not(feature = "mutants"))]
const _: () = assert!(size_of::<kcl_protocol::Rules>() == 0);

pub use async_trait::async_trait;
pub use bytes::Bytes;
pub use kcl_protocol as protocol;

pub use checkpointer::{CheckpointError, Checkpointer};
pub use clock::{Clock, SystemClock, TokioClock};
pub use config::{Config, InitialPosition, Placement};
pub use consumer::{
    Acks, ConsumerConfig, ConsumerState, ConsumerStatus, ExitReason, OutOfBounds, ProcessorKind,
};
pub use dead_letter::{
    DeadLetter, DeadLetterError, DeadLetterSink, FileDeadLetters, MemoryDeadLetters,
};
pub use event::{Event, EventKind, HoldReason, Observer};
pub use handle::{CommandError, Handle, ShardName, ShardStatus, Status, StreamError, WorkerPhase};
pub use hints::HintAddress;
pub use policy::{Action, Attempt, ErrorPolicy, RetryThenStop};
pub use prepare::PreparedCheckpoint;
pub use processor::{
    ProcessorError, ProcessorFactory, RecordBatch, RecordProcessor, ShardEnd, ShardStart,
};
pub use reaped::reaped;
pub use record_queue::RecordQueue;
pub use reset::ResetTo;
pub use restored::Acceptance;
pub use retry::Backoff;
pub use scheduler::{Scheduler, WorkerError};
pub use source::{
    ChildShard, PartitionKey, ReadFrom, ReadLimit, ReadOutcome, Record, Shard, ShardReader,
    SourceError, StreamDescription, StreamSource, Unreadable,
};
pub use table::{Effects, LeaseTable, Scan, TableError};
