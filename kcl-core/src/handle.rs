//! Talking to a running worker.

use std::sync::{Arc, Mutex, PoisonError};

use kcl_protocol::{Fence, LeaseKey, Moment, ShardId, WorkerId};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::consumer::ConsumerStatus;
use crate::consumers::Board;
use crate::event::HoldReason;

/// Commands that may wait for the control loop.
pub(crate) const COMMANDS: usize = 64;

/// What a handle asks of the control loop.
#[derive(Clone, Debug)]
pub(crate) enum Command {
    Drain(ShardId),
    Pause(ShardId),
    Resume(ShardId),
}

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

/// Who holds what, as one worker knows it.
#[derive(Clone, Debug)]
pub struct Status {
    /// This run of this worker; `None` before it registered.
    pub worker: Option<WorkerId>,
    /// What it is doing.
    pub phase: WorkerPhase,
    /// Every shard it runs, in lease key order.
    pub shards: Vec<ShardStatus>,
}

/// One shard a worker runs.
#[derive(Clone, Debug)]
pub struct ShardStatus {
    /// The lease.
    pub lease: LeaseKey,
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
}

impl HandleShared {
    pub(crate) fn new() -> Arc<Self> {
        let (phase, _) = watch::channel(WorkerPhase::Starting);
        Arc::new(Self { board: Board::default(), worker: Mutex::default(), phase })
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
}

impl Handle {
    /// What the worker is doing now.
    pub fn status(&self) -> Status {
        let board = self.shared.board.lock().unwrap_or_else(PoisonError::into_inner);
        let shards = board
            .iter()
            .map(|(lease, posted)| ShardStatus {
                lease: lease.clone(),
                shard: lease.shard(),
                fence: posted.fence,
                since: posted.since,
                reason: posted.reason,
                from: posted.from.clone(),
                consumer: posted.status.borrow().clone(),
            })
            .collect();
        let worker = self.shared.worker.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let phase = *self.shared.phase.borrow();
        let phase = match phase {
            WorkerPhase::Running if self.shutdown.is_cancelled() => WorkerPhase::Leaving,
            phase => phase,
        };
        Status { worker, phase, shards }
    }

    /// Hands every lease over and stops the worker; returns once it has stopped. Cancel-safe: the
    /// worker goes on leaving.
    pub async fn shutdown(&self) {
        self.shutdown.cancel();
        let mut phase = self.shared.phase.subscribe();
        // The sender lives as long as this handle, so waiting cannot fail.
        let _ = phase.wait_for(|phase| *phase == WorkerPhase::Stopped).await;
    }

    /// Gives a shard to another worker and leaves it alone for the configured time. Without
    /// another worker it is released.
    ///
    /// # Errors
    /// [`CommandError`]: the worker has stopped, or does not run the shard.
    pub async fn drain(&self, shard: &ShardId) -> Result<(), CommandError> {
        self.send(shard, Command::Drain(shard.clone())).await
    }

    /// Stops delivering a shard without giving up its lease.
    ///
    /// # Errors
    /// As for [`Handle::drain`].
    pub async fn pause(&self, shard: &ShardId) -> Result<(), CommandError> {
        self.send(shard, Command::Pause(shard.clone())).await
    }

    /// Delivers a paused shard again, or tries a parked one again from its checkpoint.
    ///
    /// # Errors
    /// As for [`Handle::drain`].
    pub async fn resume(&self, shard: &ShardId) -> Result<(), CommandError> {
        self.send(shard, Command::Resume(shard.clone())).await
    }

    async fn send(&self, shard: &ShardId, command: Command) -> Result<(), CommandError> {
        let status = self.status();
        if status.phase == WorkerPhase::Stopped {
            return Err(CommandError::Stopped);
        }
        if !status.shards.iter().any(|running| running.shard == *shard) {
            return Err(CommandError::NotHere(shard.clone()));
        }
        self.commands.send(command).await.map_err(|_| CommandError::Stopped)
    }
}
