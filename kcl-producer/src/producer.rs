//! The handle.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use kcl_core::{Clock, PartitionKey, SystemClock};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

use crate::core::{Core, Taken};
use crate::fate::{Delivery, NotAccepted, PutFailure, Receipt};
use crate::hot::{HotShard, HotWindow};
use crate::inbox::{Ending, Inbox, Receiver};
use crate::limits::OVERHEAD_BYTES;
use crate::metrics::{Counters, ProducerMetrics};
use crate::options::{Aggregation, ProducerOptions};
use crate::record::NewRecord;
use crate::sealing::Sealing;
use crate::sink::PutSink;
use crate::task::Task;
use crate::wrapping;

/// Puts records on a stream. Cloning gives another handle on the same producer.
///
/// The producer's task ends once every handle is dropped and every record has its fate, or with
/// [`Producer::shutdown`]: nothing that was taken in is dropped in silence.
#[derive(Clone)]
pub struct Producer {
    shared: Arc<Shared>,
    ended: watch::Receiver<Option<Shutdown>>,
}

struct Shared {
    sink: Arc<dyn PutSink>,
    aggregation: Aggregation,
    memory_bytes: u32,
    budget: Arc<Semaphore>,
    inbox: Arc<Inbox>,
    counters: Arc<Counters>,
    hot: Arc<Mutex<HotWindow>>,
    clock: Arc<dyn Clock>,
    sealing: Sealing,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.inbox.close(Ending::Closed);
    }
}

/// How a shutdown went. Every record has its fate either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// Nothing was left.
    Flushed,
    /// The deadline came first.
    DeadlineReached {
        /// Records that were never put.
        never_put: usize,
        /// Records that may be in the stream or not.
        unknown: usize,
    },
    /// The runtime ended under the producer: records left over are told as
    /// [`PutFailure::Stopped`](crate::PutFailure::Stopped).
    Stopped,
}

/// Why there is no receipt for a record, whoever said so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PutError {
    /// The producer did not take it.
    #[error(transparent)]
    NotAccepted(#[from] NotAccepted),
    /// It was taken, and failed.
    #[error(transparent)]
    Failed(#[from] PutFailure),
}

/// Makes a [`Producer`].
pub struct Builder {
    sink: Arc<dyn PutSink>,
    options: ProducerOptions,
    clock: Arc<dyn Clock>,
    sealing: Sealing,
}

impl Builder {
    /// Seals every payload before it is put, also inside aggregates. Readers need the key ring.
    #[cfg(feature = "encryption")]
    #[must_use]
    pub fn sealer(mut self, sealer: Arc<kcl_records::Sealer>) -> Self {
        self.sealing = Sealing::by(sealer);
        self
    }

    /// How it behaves.
    #[must_use]
    pub fn options(mut self, options: ProducerOptions) -> Self {
        self.options = options;
        self
    }

    /// The clock for delays and lingering. Default: the system's.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Starts the producer's task on the current tokio runtime.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(self) -> Producer {
        let Self { sink, options, clock, sealing } = self;
        let (limits, aggregation) = (sink.limits(), options.aggregation);
        let counters = Arc::<Counters>::default();
        let hot = Arc::new(Mutex::new(HotWindow::new(options.hot_window)));
        let memory_bytes = options.memory_bytes.clamp(1, Semaphore::MAX_PERMITS);
        let memory_bytes = u32::try_from(memory_bytes).unwrap_or(u32::MAX);
        let budget = Arc::new(Semaphore::new(memory_bytes as usize));
        let seed = options.seed.unwrap_or_else(|| RandomState::new().hash_one(0));
        let core = Core::new(options, limits, Arc::clone(&counters), Arc::clone(&hot), seed);
        let inbox = Inbox::new(Arc::clone(&budget), Arc::clone(&counters));
        let received = Receiver::new(Arc::clone(&inbox));
        let (ending, ended) = watch::channel(None);
        let task = Task::new(core, Arc::clone(&sink), Arc::clone(&clock));
        tokio::spawn(async move {
            let outcome = task.run(received).await;
            ending.send_replace(Some(outcome));
        });
        let shared = Shared {
            sink,
            aggregation,
            memory_bytes,
            budget,
            inbox,
            counters,
            hot,
            clock,
            sealing: sealing.started(),
        };
        Producer { shared: Arc::new(shared), ended }
    }
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Producer({} records waiting)", self.metrics().waiting_records)
    }
}

impl Producer {
    /// A producer for this sink.
    pub fn builder(sink: Arc<dyn PutSink>) -> Builder {
        let clock = Arc::new(SystemClock);
        Builder { sink, options: ProducerOptions::default(), clock, sealing: Sealing::default() }
    }

    /// Takes a record in once there is room for it. The [`Delivery`] tells its fate; it need not
    /// be kept. Records go in the order in which their puts completed.
    ///
    /// # Errors
    /// The record is not taken: `Invalid`, `Closed`, and `NotSealed` with a sealer.
    ///
    /// # Cancel safety
    /// A put whose future was dropped took nothing in, but lost its place in the line.
    pub async fn put(
        &self,
        partition_key: impl Into<PartitionKey>,
        data: impl Into<Bytes>,
    ) -> Result<Delivery, NotAccepted> {
        self.put_record(NewRecord::new(partition_key, data)).await
    }

    /// [`Producer::put`] for a record that may have an explicit hash key.
    ///
    /// # Errors
    /// As [`Producer::put`].
    ///
    /// # Cancel safety
    /// As [`Producer::put`].
    pub async fn put_record(&self, record: NewRecord) -> Result<Delivery, NotAccepted> {
        self.check(&record)?;
        let record = tokio::select! { biased;
            record = self.shared.sealing.seal(record) => record?,
            () = self.shared.inbox.closed() => return Err(NotAccepted::Closed),
        };
        self.check_sent(&record)?;
        let budget = Arc::clone(&self.shared.budget);
        let memory = budget.acquire_many_owned(self.cost(&record)).await;
        let memory = memory.map_err(|_| NotAccepted::Closed)?;
        self.hand_over(record, memory)
    }

    /// Takes a record in if there is room for it now.
    ///
    /// # Errors
    /// As [`Producer::put`], and `Full`.
    pub fn try_put(&self, record: NewRecord) -> Result<Delivery, NotAccepted> {
        use tokio::sync::TryAcquireError;
        self.check(&record)?;
        let record = self.shared.sealing.try_seal(record)?;
        self.check_sent(&record)?;
        let budget = Arc::clone(&self.shared.budget);
        let memory = budget.try_acquire_many_owned(self.cost(&record));
        let memory = memory.map_err(|error| match error {
            TryAcquireError::NoPermits => NotAccepted::Full,
            TryAcquireError::Closed => NotAccepted::Closed,
        })?;
        self.hand_over(record, memory)
    }

    /// Puts a record and waits for its receipt.
    ///
    /// # Errors
    /// As [`Producer::put`] and its [`Delivery`].
    ///
    /// # Cancel safety
    /// If the future is dropped the record may or may not be put.
    pub async fn put_and_wait(&self, record: NewRecord) -> Result<Receipt, PutError> {
        Ok(self.put_record(record).await?.await?)
    }

    /// Sends what waits without lingering, and returns once every record taken in before has its
    /// fate: at once if the producer has ended. Puts that are not through yet do not count.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing for the records.
    pub async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        self.shared.inbox.flush(done);
        if flushed.await.is_err() {
            // It is being shut down, or has ended: then it tells every fate.
            self.end().await;
        }
    }

    /// Takes nothing more in, for any handle, flushes, and ends. What has no fate `within` this
    /// time gets one then. Later calls wait for the first one. A put that still waits for room or a
    /// data key is refused.
    ///
    /// # Cancel safety
    /// Once polled, the shutdown goes on if the future is dropped.
    pub async fn shutdown(&self, within: Duration) -> Shutdown {
        self.shared.inbox.close(Ending::By(self.shared.clock.monotonic() + within));
        self.end().await
    }

    async fn end(&self) -> Shutdown {
        let mut ended = self.ended.clone();
        let outcome = ended.wait_for(Option::is_some).await;
        outcome.ok().and_then(|outcome| *outcome).unwrap_or(Shutdown::Stopped)
    }

    /// What it did so far.
    pub fn metrics(&self) -> ProducerMetrics {
        self.shared.counters.snapshot()
    }

    /// Why the last record of all that failed did so far: for callers that keep no delivery.
    pub fn last_failure(&self) -> Option<PutFailure> {
        self.shared.counters.last_failure()
    }

    /// The shards that took too much of what this producer put over the last
    /// [`hot_window`](ProducerOptions::hot_window), the hottest first.
    pub fn hot_shards(&self) -> Vec<HotShard> {
        let now = self.shared.clock.monotonic();
        self.shared.hot.lock().unwrap_or_else(PoisonError::into_inner).hot_shards(now)
    }

    fn check(&self, record: &NewRecord) -> Result<(), NotAccepted> {
        record.validate(self.shared.sink.limits().record_bytes)
    }

    /// The same, of a record as it is sent.
    fn check_sent(&self, record: &NewRecord) -> Result<(), NotAccepted> {
        self.check(record)?;
        match self.shared.aggregation {
            Aggregation::Off => Ok(()),
            Aggregation::Kpl { .. } => {
                wrapping::check(record, self.shared.sink.limits().record_bytes)
            }
        }
    }

    /// Its share of the memory.
    fn cost(&self, record: &NewRecord) -> u32 {
        let cost = u32::try_from(record.size_bytes() + OVERHEAD_BYTES);
        cost.unwrap_or(u32::MAX).min(self.shared.memory_bytes)
    }

    fn hand_over(
        &self,
        record: NewRecord,
        memory: OwnedSemaphorePermit,
    ) -> Result<Delivery, NotAccepted> {
        let (done, fate) = oneshot::channel();
        let hash_key = record.hash_key();
        self.shared.inbox.put(Taken { record, hash_key, done, memory: Some(memory) })?;
        Ok(Delivery(fate))
    }
}
