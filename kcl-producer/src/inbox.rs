//! What handles ask the producer's task for.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kcl_core::protocol::Moment;
use tokio::sync::{Notify, Semaphore, oneshot};

use crate::core::Taken;
use crate::fate::NotAccepted;
use crate::metrics::Counters;

/// One request of a handle.
#[derive(Debug)]
pub(crate) enum Command {
    Put(Taken),
    Flush(oneshot::Sender<()>),
}

/// The commands that the task has not seen, in order.
///
/// Not a channel with places to wait for: tokio gives a place to a waiting future also if nobody
/// polls it any more, and a flush, a shutdown or the task's end that needs the place back would
/// wait for that future's owner. Here whoever gets to the lock is through. Records are bounded all
/// the same, since each holds its share of the producer's memory, and flushes by their callers.
#[derive(Debug)]
pub(crate) struct Inbox {
    state: Mutex<State>,
    changed: Notify,
    /// The memory that puts wait for: closed with the inbox.
    budget: Arc<Semaphore>,
    /// Has no permits: who waits for one waits for the end.
    closed: Semaphore,
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct State {
    commands: Vec<Command>,
    ending: Ending,
}

/// Whether anything may still come in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Ending {
    #[default]
    Open,
    /// Nothing does: there is no handle left, or no task.
    Closed,
    /// Nothing does, and all is to be over by this moment.
    By(Moment),
}

impl Inbox {
    pub(crate) fn new(budget: Arc<Semaphore>, counters: Arc<Counters>) -> Arc<Self> {
        let (state, changed, closed) = (Mutex::default(), Notify::new(), Semaphore::new(0));
        Arc::new(Self { state, changed, budget, closed, counters })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// # Errors
    /// `Closed`; the record is dropped.
    pub(crate) fn put(&self, taken: Taken) -> Result<(), NotAccepted> {
        let bytes = taken.record.size_bytes();
        // Counted before its fate can be.
        let counted = || self.counters.accepted(bytes);
        match self.push(Command::Put(taken), counted) {
            None => Ok(()),
            Some(_) => Err(NotAccepted::Closed),
        }
    }

    /// Answers once every record put before has its fate. Drops the sender if it is closed.
    pub(crate) fn flush(&self, done: oneshot::Sender<()>) {
        // Dropped outside of the lock: that wakes whoever waits for it.
        let _closed = self.push(Command::Flush(done), || ());
    }

    /// Gives the command back if it is closed.
    fn push(&self, command: Command, counted: impl FnOnce()) -> Option<Command> {
        let mut state = self.state();
        if state.ending != Ending::Open {
            return Some(command);
        }
        counted();
        let was_empty = state.commands.is_empty();
        state.commands.push(command);
        drop(state);
        // Of those behind the first the task learns with it.
        if was_empty {
            self.changed.notify_one();
        }
        None
    }

    /// Lets nothing more in, and refuses whoever waits for it. The first ending holds.
    pub(crate) fn close(&self, ending: Ending) {
        let mut state = self.state();
        if state.ending == Ending::Open {
            state.ending = ending;
        }
        drop(state);
        self.budget.close();
        self.closed.close();
        self.changed.notify_one();
    }

    /// Completes once nothing more is let in.
    pub(crate) async fn closed(&self) {
        let _closed = self.closed.acquire().await;
    }
}

/// The task's end of an inbox. Dropping it closes the inbox, and drops what is in it.
#[derive(Debug)]
pub(crate) struct Receiver(Arc<Inbox>);

impl Receiver {
    /// There is one to an inbox.
    pub(crate) fn new(inbox: Arc<Inbox>) -> Self {
        Self(inbox)
    }

    /// Completes when there may be something to take.
    ///
    /// # Cancel safety
    /// Nothing is missed if the future is dropped.
    pub(crate) async fn changed(&self) {
        // Callers on other threads may keep it ready: the sink's calls need their turns too.
        tokio::task::coop::consume_budget().await;
        self.0.changed.notified().await;
    }

    /// Takes everything there is into `commands`, which is empty. Once it is no longer open, that
    /// was the last.
    pub(crate) fn take(&self, commands: &mut Vec<Command>) -> Ending {
        let mut state = self.0.state();
        std::mem::swap(&mut state.commands, commands);
        state.ending
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.0.close(Ending::Closed);
        let mut left = Vec::new();
        self.take(&mut left);
    }
}
