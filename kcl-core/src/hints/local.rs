//! Hints within one process.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use kcl_protocol::WorkerId;
use tokio::sync::mpsc;

use super::Hint;

use crate::limits::HINTS_WAITING;

/// Workers of this process, by id. Ids are used once, so workers of different applications or
/// tests never meet here.
static WORKERS: Mutex<BTreeMap<WorkerId, mpsc::Sender<Hint>>> = Mutex::new(BTreeMap::new());

/// Sends a hint to a worker of this process; false if it is not here or has too many waiting.
pub(super) fn send(to: &WorkerId, hint: Hint) -> bool {
    let workers = WORKERS.lock().unwrap_or_else(PoisonError::into_inner);
    workers.get(to).is_some_and(|sender| sender.try_send(hint).is_ok())
}

/// Receives hints for one worker until dropped.
#[derive(Debug)]
pub(crate) struct Inlet {
    worker: WorkerId,
    receiver: mpsc::Receiver<Hint>,
}

impl Inlet {
    /// If it is not on, nobody finds it here: a hint that arrives counts as heard.
    pub(crate) fn open(worker: &WorkerId, is_on: bool) -> Self {
        let (sender, receiver) = mpsc::channel(HINTS_WAITING);
        if is_on {
            let mut workers = WORKERS.lock().unwrap_or_else(PoisonError::into_inner);
            workers.insert(worker.clone(), sender);
        }
        Self { worker: worker.clone(), receiver }
    }
    /// The next hint; `None` if it is not on. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<Hint> {
        self.receiver.recv().await
    }
}

impl Drop for Inlet {
    fn drop(&mut self) {
        WORKERS.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.worker);
    }
}
