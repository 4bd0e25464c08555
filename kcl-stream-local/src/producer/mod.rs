//! Puts that are tried again while a shard is throttled, in order for each key.

mod lanes;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use kcl_core::Backoff;
use kcl_core::protocol::StreamName;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::error::EngineError;
use crate::limits::{
    PRODUCER_BYTES, PRODUCER_FIRST_DELAY, PRODUCER_LONGEST_DELAY, PRODUCER_OVERHEAD_BYTES,
    PRODUCER_PATIENCE, PRODUCER_QUEUE, PUT_RECORDS,
};
use crate::record::{NewRecord, PutReceipt};
use crate::stream::Stream;

use lanes::Lanes;

/// How a producer is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerOptions {
    /// Bytes of records it holds at most, each counted with 256 bytes of overhead. Default 16 MiB.
    /// `send` waits while they are used up. A single larger record is taken alone.
    pub memory_bytes: usize,
    /// How long one record is tried again after it was sent. Default 60 s.
    pub patience: Duration,
    /// Delays after puts that a throttled shard refused. Default 20 ms, doubling up to 1 s.
    pub backoff: Backoff,
}

impl Default for ProducerOptions {
    fn default() -> Self {
        Self {
            memory_bytes: PRODUCER_BYTES,
            patience: PRODUCER_PATIENCE,
            backoff: Backoff {
                initial: PRODUCER_FIRST_DELAY,
                growth_percent: 200,
                longest: PRODUCER_LONGEST_DELAY,
            },
        }
    }
}

/// Puts records and tries those that a throttled shard refused again, in the order of their
/// sending for each key, also while the stream is resharded. A throttled shard does not hold up the
/// others. Cloning gives another handle on the same producer; its task ends once all handles are
/// dropped and every record has its result.
#[derive(Clone, Debug)]
pub struct Producer {
    stream: Stream,
    queue: mpsc::Sender<Queued>,
    budget: Arc<Semaphore>,
    memory_bytes: u32,
}

/// A record on its way.
#[derive(Debug)]
struct Queued {
    record: NewRecord,
    hash_key: u128,
    done: oneshot::Sender<Result<PutReceipt, EngineError>>,
    /// Its share of the producer's memory, given back when it is dropped.
    _memory: OwnedSemaphorePermit,
}

/// What will become of one record: a future of its receipt. Dropping it changes nothing for the
/// record.
#[derive(Debug)]
pub struct Delivery {
    result: oneshot::Receiver<Result<PutReceipt, EngineError>>,
    stream: StreamName,
}

impl Future for Delivery {
    type Output = Result<PutReceipt, EngineError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let result = Pin::new(&mut self.result).poll(context);
        result.map(|result| {
            result.unwrap_or_else(|_| Err(EngineError::ProducerStopped(self.stream.clone())))
        })
    }
}

impl Stream {
    /// A producer for this stream with its own task on the current tokio runtime.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn producer(&self, options: ProducerOptions) -> Producer {
        let (queue, received) = mpsc::channel(PRODUCER_QUEUE);
        let memory_bytes = options.memory_bytes.clamp(1, Semaphore::MAX_PERMITS);
        let memory_bytes = u32::try_from(memory_bytes).unwrap_or(u32::MAX);
        tokio::spawn(run(received, Lanes::new(self.clone(), options)));
        let budget = Arc::new(Semaphore::new(memory_bytes as usize));
        Producer { stream: self.clone(), queue, budget, memory_bytes }
    }
}

impl Producer {
    /// Takes a record in, once there is room for it. Records are put in the order in which their
    /// sends completed.
    ///
    /// # Errors
    /// The record is not taken: `StreamNotFound`; `InvalidArgument` for a wrong key or size;
    /// `ProducerStopped`. The [`Delivery`] tells of everything later: `StreamFull` at once,
    /// `ProvisionedThroughputExceeded` when the producer's patience has ended.
    ///
    /// # Cancel safety
    /// A send whose future was dropped took nothing in, but lost its place in the queue.
    pub async fn send(&self, record: NewRecord) -> Result<Delivery, EngineError> {
        self.stream.check_exists()?;
        record.validate(self.stream.state.settings.max_record_bytes())?;
        let stopped = || EngineError::ProducerStopped(self.stream.name().clone());
        let cost = u32::try_from(record.size_bytes() + PRODUCER_OVERHEAD_BYTES);
        let cost = cost.unwrap_or(u32::MAX).min(self.memory_bytes);
        let memory = Arc::clone(&self.budget).acquire_many_owned(cost).await;
        let memory = memory.map_err(|_| stopped())?;
        let room = self.queue.reserve().await.map_err(|_| stopped())?;
        let (done, result) = oneshot::channel();
        let hash_key = record.hash_key();
        room.send(Queued { record, hash_key, done, _memory: memory });
        Ok(Delivery { result, stream: self.stream.name().clone() })
    }

    /// Sends a record and waits for its receipt.
    ///
    /// # Errors
    /// As [`Producer::send`] and its [`Delivery`].
    ///
    /// # Cancel safety
    /// If the future is dropped the record may or may not be put.
    pub async fn put(&self, record: NewRecord) -> Result<PutReceipt, EngineError> {
        self.send(record).await?.await
    }
}

/// The producer's task.
async fn run(mut queue: mpsc::Receiver<Queued>, mut lanes: Lanes) {
    let mut received = Vec::with_capacity(PUT_RECORDS);
    let mut is_closed = false;
    let clock = lanes.clock();
    loop {
        let due = lanes.next_due();
        tokio::select! {
            biased;
            count = queue.recv_many(&mut received, PUT_RECORDS), if !is_closed => {
                is_closed = count == 0;
                lanes.add(received.drain(..));
            }
            () = clock.sleep_until(due.unwrap_or_default()), if due.is_some() => {}
            else => return,
        }
        lanes.put_due();
    }
}
