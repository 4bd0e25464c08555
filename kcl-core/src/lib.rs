//! Consume a sharded stream with many workers.
//!
//! You write a [`RecordProcessor`]. A [`Scheduler`] in each worker takes shards through a
//! [`LeaseTable`], reads them from a [`StreamSource`], and remembers how far they are done. Tables
//! are in `kcl-lease-local` and `kcl-lease-dynamo`, sources in `kcl-stream-local` and
//! `kcl-stream-kinesis`. The README has a whole program, with the bundled stream and a table in
//! memory; its worker, for any of them:
//!
//! ```
//! use std::sync::Arc;
//!
//! use kcl_core::{Config, LeaseTable, RecordBatch, Scheduler, StreamSource, WorkerError, closure};
//!
//! async fn run(
//!     table: Arc<dyn LeaseTable>,
//!     orders: Arc<dyn StreamSource>,
//!     stop: impl Future<Output = ()>,
//! ) -> Result<(), WorkerError> {
//!     let print = closure::batches(|batch: &RecordBatch| {
//!         batch.records.iter().for_each(|it| println!("{}: {:?}", it.partition_key, it.data));
//!         Ok(())
//!     });
//!     let worker = Scheduler::new(Config::new("shop"), table, orders, print)?;
//!     let handle = worker.handle();
//!     let mut running = std::pin::pin!(worker.run());
//!     tokio::select! { biased;
//!         ended = &mut running => return ended,
//!         () = stop => {}
//!     }
//!     tokio::join!(running, handle.shutdown()).0
//! }
//! ```
//!
//! **Acks.** `Ok` acks the whole batch. With [`Acks::Explicit`] ([`Config::acks`]) each record is
//! acked by [`Checkpointer::ack`], in any order, from any task. A checkpoint never passes the first
//! record that is not acked; it is written every 5 s ([`ConsumerConfig::checkpoint_interval`]),
//! when a shard is handed over, and by [`Checkpointer::checkpoint`]. After a crash what was done
//! since the last one comes again.
//!
//! **Failures.** An error or a panic goes to the [`ErrorPolicy`] ([`Config::error_policy`]). The
//! default one retries five times, then parks the shard: its lease stays held, nothing of it is
//! delivered, other shards go on. [`Handle::resume`], or a new owner, tries again from the
//! checkpoint.
//!
//! **Dead letters.** A policy of yours may answer [`Action::DeadLetter`]: the failing record goes
//! to the sink ([`Config::dead_letters`]), counts as done once that has it, and the shard goes on
//! behind it. Without a sink the shard is parked.
//!
//! **Effects.** A worker that was stopped inside a call may act after its lease has moved on. Hand
//! the fence ([`Checkpointer::fence`]) to whatever you write to, and let that reject lower ones; or
//! put your writes and the checkpoint into one transaction ([`Checkpointer::checkpoint_with`]).
//!
//! **Code that blocks.** A call can be dropped at its await points alone. Declare a processor that
//! has none for long [`ProcessorKind::Blocking`] ([`Config::processor_kind`]): its calls get
//! threads of their own, and another worker waits [`Config::blocking_grace`] longer before it takes
//! over.

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
