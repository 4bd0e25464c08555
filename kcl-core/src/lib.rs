//! Consume a sharded stream with many workers.

pub mod checkpointer;
pub mod clock;
pub mod permit;
pub mod processor;
pub mod source;
pub mod table;

pub use async_trait::async_trait;
pub use bytes::Bytes;
pub use kcl_protocol as protocol;

pub use checkpointer::Checkpointer;
pub use clock::{Clock, SystemClock, TokioClock};
pub use processor::{
    ProcessorError, ProcessorFactory, RecordBatch, RecordProcessor, ShardEnd, ShardStart,
};
pub use source::{
    ChildShard, PartitionKey, ReadFrom, ReadLimit, ReadOutcome, Record, Shard, ShardReader,
    SourceError, StreamDescription, StreamSource,
};
pub use table::{Effects, LeaseTable, Scan, TableError};
