//! Talking to a running worker.

use std::sync::{Arc, Mutex, PoisonError};

use kcl_protocol::{Fence, LeaseKey, Moment, ShardId, StreamName, WorkerId};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::consumer::ConsumerStatus;
use crate::consumers::Board;
use crate::event::HoldReason;
use crate::processor::ProcessorFactory;
use crate::scheduler::WorkerError;
use crate::source::StreamSource;
use crate::streams::StreamRequest;
use crate::table::TableError;

/// What a handle asks of the control loop.
pub(crate) enum Command {
    Drain(LeaseKey),
    Pause(LeaseKey),
    Resume(LeaseKey),
    AddStream(StreamRequest, StreamAnswer),
    RemoveStream(StreamName, StreamAnswer),
}

/// Tells what became of a stream.
pub(crate) type StreamAnswer = oneshot::Sender<Result<(), StreamError>>;

/// What a worker is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerPhase {
    /// Not registered yet, or registering anew.
    Starting,
    /// Registered and working.
    Running,
    /// Handing its leases over.
    Leaving,
    /// `Scheduler::run` has returned, or was dropped.
    Stopped,
}

/// What one worker does and holds; nothing about the others.
#[derive(Clone, Debug)]
pub struct Status {
    /// This run of this worker; `None` before it registered.
    pub worker: Option<WorkerId>,
    /// What it is doing.
    pub phase: WorkerPhase,
    /// Every shard it runs, in lease key order.
    pub shards: Vec<ShardStatus>,
    /// Why it cannot read the rows of the other workers, if trying again does not mend that: a row
    /// that does not decode, or a right that is missing. A person has to look.
    pub workers_unreadable: Option<TableError>,
}

/// One shard a worker runs.
#[derive(Clone, Debug)]
pub struct ShardStatus {
    /// The lease.
    pub lease: LeaseKey,
    /// The stream.
    pub stream: StreamName,
    /// The shard.
    pub shard: ShardId,
    /// The fence it is held under.
    pub fence: Fence,
    /// Since when, on the worker's clock.
    pub since: Moment,
    /// Why it came to this worker.
    pub reason: HoldReason,
    /// From whom, if somebody had it.
    pub from: Option<WorkerId>,
    /// State, lag and progress of its consumer.
    pub consumer: ConsumerStatus,
}

/// A handle on a worker. Cloning it is cheap; it stays valid after the worker has stopped.
#[derive(Clone)]
pub struct Handle {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) shared: Arc<HandleShared>,
}

/// What the worker posts for its handles.
pub(crate) struct HandleShared {
    pub(crate) board: Board,
    pub(crate) worker: Mutex<Option<WorkerId>>,
    pub(crate) phase: watch::Sender<WorkerPhase>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) unreadable: Unreadable,
}

/// Why the rows of the workers cannot be read, if trying again does not mend that.
pub(crate) type Unreadable = Arc<Mutex<Option<TableError>>>;

impl HandleShared {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        let (phase, _) = watch::channel(WorkerPhase::Starting);
        Arc::new(Self {
            board: Board::default(),
            worker: Mutex::default(),
            phase,
            clock,
            unreadable: Unreadable::default(),
        })
    }
    pub(crate) fn post(&self, worker: Option<WorkerId>, phase: WorkerPhase) {
        *self.worker.lock().unwrap_or_else(PoisonError::into_inner) = worker;
        self.phase.send_replace(phase);
    }
}

/// Why a command was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The worker is not running any more.
    #[error("the worker has stopped")]
    Stopped,
    /// The worker does not run this shard (now): its status lists those it does.
    #[error("this worker does not run shard {0}: see its status for those it does")]
    NotHere(ShardId),
    /// Several streams have a shard of this id here: name the stream too.
    #[error("this worker runs a shard {shard} of each of the streams {streams:?}: name one")]
    Ambiguous {
        /// The shard's id.
        shard: ShardId,
        /// The streams.
        streams: Vec<StreamName>,
    },
}

/// A shard of a worker, by its id; by its stream too where several are read. Made from a shard id,
/// or from both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardName {
    /// The stream; `None` if the id alone tells.
    pub stream: Option<StreamName>,
    /// The shard's id.
    pub shard: ShardId,
}

impl From<&ShardId> for ShardName {
    fn from(shard: &ShardId) -> Self {
        Self { stream: None, shard: shard.clone() }
    }
}

impl From<(&StreamName, &ShardId)> for ShardName {
    fn from((stream, shard): (&StreamName, &ShardId)) -> Self {
        Self { stream: Some(stream.clone()), shard: shard.clone() }
    }
}

/// Why a stream was not added or removed; nothing was changed, unless it says otherwise.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StreamError {
    /// The worker is not running any more, or leaves.
    #[error("the worker has stopped, or leaves")]
    Stopped,
    /// Others declared the worker dead meanwhile; it registers anew. A removal goes on, an addition
    /// may have been done: look at the shards in its status, or ask again.
    #[error("the worker registers anew: ask again")]
    Interrupted,
    /// The worker was built for one stream.
    #[error(
        "this worker was built for one stream, and the lease keys in its table name none: build \
         the workers with `Scheduler::several_streams` and give them a new lease table"
    )]
    OneStream,
    /// The worker reads it.
    #[error("this worker reads stream {0} already")]
    AlreadyRead(StreamName),
    /// The worker does not read it.
    #[error("this worker reads no stream {0}")]
    NotRead(StreamName),
    /// The worker still lets go of its shards.
    #[error("this worker still lets go of the shards of stream {0}: add it once that is done")]
    BeingRemoved(StreamName),
    /// The worker reads as many as it may.
    #[error("a worker reads at most {most} streams: give this one to another application")]
    TooMany {
        /// So many.
        most: usize,
    },
    /// The stream or the table refuses, for this reason: unknown, made again since, or keys of
    /// another kind. What is transient was tried for some seconds, and is worth another try.
    #[error(transparent)]
    Refused(#[from] WorkerError),
}

impl Handle {
    /// What this worker is doing now, with the shards it runs itself. Who holds what in the whole
    /// fleet is in the lease table: a scan of the table reads it, and `kcl table show` prints it
    /// where the table is on DynamoDB.
    pub fn status(&self) -> Status {
        let now = self.shared.clock.monotonic();
        let board = self.shared.board.lock().unwrap_or_else(PoisonError::into_inner);
        let shards = board
            .iter()
            .map(|(lease, posted)| ShardStatus {
                lease: lease.clone(),
                stream: posted.stream.clone(),
                shard: lease.shard(),
                fence: posted.fence,
                since: posted.since,
                reason: posted.reason,
                from: posted.from.clone(),
                consumer: posted.status.borrow().clone().at(now),
            })
            .collect();
        let worker = self.shared.worker.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let phase = *self.shared.phase.borrow();
        let phase = match phase {
            WorkerPhase::Running if self.shutdown.is_cancelled() => WorkerPhase::Leaving,
            phase => phase,
        };
        let unreadable = &self.shared.unreadable;
        let workers_unreadable = unreadable.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Status { worker, phase, shards, workers_unreadable }
    }

    /// Hands every lease over and stops the worker; returns once it has stopped. Waits for ever if
    /// `Scheduler::run` was never polled. Cancel-safe: the worker goes on leaving.
    pub async fn shutdown(&self) {
        self.shutdown.cancel();
        let mut phase = self.shared.phase.subscribe();
        // The sender lives as long as this handle, so waiting cannot fail.
        let _ = phase.wait_for(|phase| *phase == WorkerPhase::Stopped).await;
    }

    /// Gives a shard to another worker and leaves it alone for
    /// [`yield_for`](crate::Config::yield_for). Without another worker it is released.
    ///
    /// `Ok` means that the command waits for the worker, not that it is done: if the shard leaves
    /// the worker first, the command is void, and the next owner does not hear of it.
    ///
    /// # Errors
    /// [`CommandError`]: the worker has stopped, does not run the shard, or runs several of that
    /// id.
    ///
    /// # Cancel safety
    /// Dropped before it returns, it is not sent.
    pub async fn drain(&self, shard: impl Into<ShardName>) -> Result<(), CommandError> {
        self.send(shard.into(), Command::Drain).await
    }

    /// Stops delivering a shard without giving up its lease, once the batch that runs has ended.
    /// The pause ends with the lease: under another fence, here too, the shard is delivered.
    /// `Ok` means what it does for [`Handle::drain`].
    ///
    /// # Errors
    /// As for [`Handle::drain`].
    ///
    /// # Cancel safety
    /// Dropped before it returns, it is not sent.
    pub async fn pause(&self, shard: impl Into<ShardName>) -> Result<(), CommandError> {
        self.send(shard.into(), Command::Pause).await
    }

    /// Delivers a paused shard again, or tries a parked one again from its checkpoint. `Ok` means
    /// what it does for [`Handle::drain`].
    ///
    /// # Errors
    /// As for [`Handle::drain`].
    ///
    /// # Cancel safety
    /// Dropped before it returns, it is not sent.
    pub async fn resume(&self, shard: impl Into<ShardName>) -> Result<(), CommandError> {
        self.send(shard.into(), Command::Resume).await
    }

    /// Reads one more stream from now on, with processors of its own. Returns once the stream is
    /// bound to its row; its shards follow within some heartbeats. Each worker is told by itself:
    /// a lease goes only to workers that read its stream, and waits while there is none.
    ///
    /// # Errors
    /// [`StreamError`], by name: there already, unknown, made again since the application first
    /// read it, or the worker was built for one stream.
    ///
    /// # Cancel safety
    /// A dropped call may still add it.
    pub async fn add_stream(
        &self,
        source: Arc<dyn StreamSource>,
        factory: impl ProcessorFactory,
    ) -> Result<(), StreamError> {
        let request = StreamRequest { source, factory: Arc::new(factory) };
        self.ask(|answer| Command::AddStream(request, answer)).await
    }

    /// Reads a stream no more. Its shards stop as in a shutdown, with what was acked checkpointed,
    /// and go to workers that read it, or to nobody; returns once this worker holds none of them.
    /// Adding it again goes on from the checkpoints.
    ///
    /// # Errors
    /// [`StreamError`]: the worker does not read it, or was built for one stream.
    ///
    /// # Cancel safety
    /// A dropped call goes on by itself.
    pub async fn remove_stream(&self, name: &StreamName) -> Result<(), StreamError> {
        let name = name.clone();
        self.ask(|answer| Command::RemoveStream(name, answer)).await
    }

    async fn ask(&self, command: impl FnOnce(StreamAnswer) -> Command) -> Result<(), StreamError> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(command(answer)).await.map_err(|_| StreamError::Stopped)?;
        answered.await.unwrap_or(Err(StreamError::Interrupted))
    }

    async fn send(
        &self,
        name: ShardName,
        command: impl FnOnce(LeaseKey) -> Command,
    ) -> Result<(), CommandError> {
        let status = self.status();
        if status.phase == WorkerPhase::Stopped {
            return Err(CommandError::Stopped);
        }
        let ShardName { stream, shard } = name;
        let is_meant = |running: &&ShardStatus| {
            running.shard == shard && stream.as_ref().is_none_or(|name| running.stream == *name)
        };
        let mut found: Vec<_> = status.shards.iter().filter(is_meant).collect();
        let lease = match (found.pop(), found.is_empty()) {
            (Some(one), true) => one.lease.clone(),
            (None, _) => return Err(CommandError::NotHere(shard)),
            (Some(last), false) => {
                let streams = found.into_iter().chain([last]).map(|one| one.stream.clone());
                return Err(CommandError::Ambiguous { shard, streams: streams.collect() });
            }
        };
        self.commands.send(command(lease)).await.map_err(|_| CommandError::Stopped)
    }
}
