//! Processors from a closure, for work that keeps no state per shard.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::BoxFuture;

use crate::checkpointer::Checkpointer;
use crate::processor::{
    ProcessorError, ProcessorFactory, RecordBatch, RecordProcessor, ShardStart,
};

/// A factory whose processors all call this closure with every batch. It must not block for long:
/// it runs on the thread of the consumer, unless the processor kind is
/// [`Blocking`](crate::ProcessorKind::Blocking).
///
/// ```
/// use std::sync::atomic::{AtomicUsize, Ordering};
/// static SEEN: AtomicUsize = AtomicUsize::new(0);
///
/// let factory = kcl_core::closure::batches(|batch| {
///     SEEN.fetch_add(batch.records.len(), Ordering::Relaxed);
///     Ok(())
/// });
/// # let _: &dyn kcl_core::ProcessorFactory = &factory;
/// ```
pub fn batches<F>(process: F) -> impl ProcessorFactory
where
    F: Fn(&RecordBatch) -> Result<(), ProcessorError> + Send + Sync + 'static,
{
    let process = Arc::new(process);
    move |_: &ShardStart| Plain(Arc::clone(&process))
}

/// As [`batches`], for a closure that awaits.
///
/// ```
/// let factory = kcl_core::closure::async_batches(|batch, checkpointer| {
///     Box::pin(async move {
///         // Hand the fence to whatever you write to.
///         let _ = (batch.records.len(), checkpointer.fence());
///         Ok(())
///     })
/// });
/// # let _: &dyn kcl_core::ProcessorFactory = &factory;
/// ```
pub fn async_batches<F>(process: F) -> impl ProcessorFactory
where
    F: for<'a> Fn(&'a RecordBatch, &'a Checkpointer) -> BoxFuture<'a, Result<(), ProcessorError>>
        + Send
        + Sync
        + 'static,
{
    let process = Arc::new(process);
    move |_: &ShardStart| Awaiting(Arc::clone(&process))
}

struct Plain<F>(Arc<F>);

#[async_trait]
impl<F> RecordProcessor for Plain<F>
where
    F: Fn(&RecordBatch) -> Result<(), ProcessorError> + Send + Sync + 'static,
{
    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        _: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        (self.0)(batch)
    }
}

struct Awaiting<F>(Arc<F>);

#[async_trait]
impl<F> RecordProcessor for Awaiting<F>
where
    F: for<'a> Fn(&'a RecordBatch, &'a Checkpointer) -> BoxFuture<'a, Result<(), ProcessorError>>
        + Send
        + Sync
        + 'static,
{
    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        checkpointer: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        (self.0)(batch, checkpointer).await
    }
}
