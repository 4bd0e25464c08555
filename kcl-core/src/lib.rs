//! Consume a sharded stream with many workers.

pub mod checkpointer;
pub mod clock;
pub mod consumer;
pub mod dead_letter;
pub mod event;
pub mod permit;
pub mod policy;
pub mod processor;
pub mod retry;
pub mod source;
pub mod table;

pub use async_trait::async_trait;
pub use bytes::Bytes;
pub use kcl_protocol as protocol;

pub use checkpointer::Checkpointer;
pub use clock::{Clock, SystemClock, TokioClock};
pub use consumer::{
    Acks, ConsumerConfig, ConsumerState, ConsumerStatus, ExitReason, ProcessorKind,
};
pub use dead_letter::{
    DeadLetter, DeadLetterError, DeadLetterSink, FileDeadLetters, MemoryDeadLetters,
};
pub use event::{Event, EventKind, Observer};
pub use policy::{Action, Attempt, ErrorPolicy, RetryThenStop};
pub use processor::{
    ProcessorError, ProcessorFactory, RecordBatch, RecordProcessor, ShardEnd, ShardStart,
};
pub use retry::Backoff;
pub use source::{
    ChildShard, PartitionKey, ReadFrom, ReadLimit, ReadOutcome, Record, Shard, ShardReader,
    SourceError, StreamDescription, StreamSource,
};
pub use table::{Effects, LeaseTable, Scan, TableError};
