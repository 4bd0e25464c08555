//! The running consumers of a worker: one task a shard, supervised in one place.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use kcl_protocol::{Fence, LeaseKey, Moment, StreamName, WorkerId};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::{Id, JoinSet};

use crate::consumer::{
    Assignment, ConsumerCommand, ConsumerContext, ConsumerStatus, Exit, StopReason, consumer,
    panic_text,
};
use crate::event::HoldReason;
use crate::limits::CONSUMER_COMMANDS;

/// Every consumer of one worker, across its registrations: a shard is not started again before
/// the consumer that had it has returned.
pub(crate) struct Consumers {
    tasks: JoinSet<Exit>,
    keys: BTreeMap<Id, LeaseKey>,
    running: BTreeMap<LeaseKey, Running>,
    board: Board,
    runtime: Handle,
}

/// What others may see of the running consumers.
pub(crate) type Board = Arc<Mutex<BTreeMap<LeaseKey, Posted>>>;

/// One running consumer, as others see it.
#[derive(Clone, Debug)]
pub(crate) struct Posted {
    pub(crate) fence: Fence,
    pub(crate) stream: StreamName,
    pub(crate) since: Moment,
    pub(crate) reason: HoldReason,
    pub(crate) from: Option<WorkerId>,
    pub(crate) status: watch::Receiver<ConsumerStatus>,
}

struct Running {
    fence: Fence,
    from: Option<WorkerId>,
    commands: mpsc::Sender<ConsumerCommand>,
    status: watch::Receiver<ConsumerStatus>,
}

/// How a consumer's task ended.
pub(crate) struct Stopped {
    pub(crate) key: LeaseKey,
    /// The fence it ran under.
    pub(crate) fence: Fence,
    /// From whom the lease came, if somebody had it.
    pub(crate) from: Option<WorkerId>,
    /// `None`: its task was aborted or panicked.
    pub(crate) exit: Option<Exit>,
    /// What it said if it panicked, outside the processor: a source of the user's, or we.
    pub(crate) panic: Option<String>,
}

impl Consumers {
    pub(crate) fn new(runtime: Handle, board: Board) -> Self {
        Self {
            tasks: JoinSet::new(),
            keys: BTreeMap::new(),
            running: BTreeMap::new(),
            board,
            runtime,
        }
    }

    pub(crate) fn is_running(&self, key: &LeaseKey) -> bool {
        self.running.contains_key(key)
    }
    pub(crate) fn fence(&self, key: &LeaseKey) -> Option<Fence> {
        self.running.get(key).map(|running| running.fence)
    }
    pub(crate) fn keys(&self) -> Vec<LeaseKey> {
        self.running.keys().cloned().collect()
    }
    pub(crate) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }
    /// Leases whose consumer is parked now.
    pub(crate) fn parked(&self) -> impl Iterator<Item = (&LeaseKey, bool)> {
        self.running.iter().map(|(key, running)| (key, running.status.borrow().parked.is_some()))
    }

    pub(crate) fn start(
        &mut self,
        context: Arc<ConsumerContext>,
        assignment: Assignment,
        since: Moment,
        reason: HoldReason,
        from: Option<WorkerId>,
    ) {
        let key = assignment.lease.key.clone();
        let fence = assignment.permit.fence();
        let stream = assignment.stream.clone();
        let (commands, receiver) = mpsc::channel(CONSUMER_COMMANDS);
        let (sender, status) = watch::channel(ConsumerStatus::starting(&assignment.lease, since));
        let task = consumer(context, assignment, receiver, sender);
        let id = self.tasks.spawn_on(task, &self.runtime).id();
        self.keys.insert(id, key.clone());
        let posted =
            Posted { fence, stream, since, reason, from: from.clone(), status: status.clone() };
        self.post(|board| drop(board.insert(key.clone(), posted)));
        self.running.insert(key, Running { fence, from, commands, status });
    }

    /// Sends a command other than the stop, for which one place is kept: a consumer that did not
    /// hear the last ones hears this one neither.
    pub(crate) fn command(&self, key: &LeaseKey, command: ConsumerCommand) {
        let Some(Running { commands, .. }) = self.running.get(key) else { return };
        if commands.capacity() <= 1 || commands.try_send(command).is_err() {
            tracing::warn!(lease = %key, "the shard's consumer did not hear a command");
        }
    }
    /// Without a place for it, it has been sent before.
    pub(crate) fn stop(&self, key: &LeaseKey, reason: StopReason) {
        if let Some(running) = self.running.get(key) {
            let _ = running.commands.try_send(ConsumerCommand::Stop(reason));
        }
    }

    /// The next consumer to end; waits for ever while none runs. Cancel-safe.
    pub(crate) async fn stopped(&mut self) -> Stopped {
        match self.tasks.join_next_with_id().await {
            Some(Ok((id, exit))) => self.remove(id, Some(exit), None),
            Some(Err(error)) => {
                let id = error.id();
                let panic = error.try_into_panic().ok().map(|panic| panic_text(&*panic));
                self.remove(id, None, panic)
            }
            None => std::future::pending().await,
        }
    }

    fn remove(&mut self, id: Id, exit: Option<Exit>, panic: Option<String>) -> Stopped {
        let key = self.keys.remove(&id).unwrap_or_else(|| LeaseKey::from(""));
        self.post(|board| drop(board.remove(&key)));
        let running = self.running.remove(&key);
        let (fence, from) =
            running.map_or((Fence(0), None), |running| (running.fence, running.from));
        Stopped { key, fence, from, exit, panic }
    }

    fn post(&self, change: impl FnOnce(&mut BTreeMap<LeaseKey, Posted>)) {
        change(&mut self.board.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
