//! One worker of a simulation, and what is amiss with how it ends.

use kcl_core::{Handle, Scheduler, WorkerError};
use tokio::task::{JoinError, JoinHandle};

use super::gate::Gate;

/// How a worker's task ended.
type Ended = Result<Result<(), WorkerError>, JoinError>;

/// Whether somebody told a worker to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    /// So many steps ago; those in which it stood still are not counted.
    ToLeave(u64),
}

/// A worker that runs, or has ended and is not looked at yet.
pub(super) struct Worker {
    task: JoinHandle<Result<(), WorkerError>>,
    pub handle: Handle,
    pub gate: Gate,
    told: Told,
}

impl Worker {
    /// Starts it.
    pub fn start(scheduler: Scheduler, gate: Gate) -> Self {
        let handle = scheduler.handle();
        Self { task: tokio::spawn(scheduler.run()), handle, gate, told: Told::Nothing }
    }
    /// True once it has ended, in whatever way.
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }
    /// True if a fault has stopped it for good in the middle of a call: it is to be killed.
    pub fn is_doomed(&self) -> bool {
        self.gate.is_doomed()
    }
    /// Kills it without a word.
    pub fn kill(self) {
        self.task.abort();
    }
    /// Tells it to leave.
    pub fn leave(&mut self) {
        if self.told == Told::Nothing {
            self.told = Told::ToLeave(0);
        }
        let handle = self.handle.clone();
        tokio::spawn(async move { handle.shutdown().await });
    }
    /// A step passes. What is amiss if it was told to leave and is there after this many steps; it
    /// is said once.
    pub fn overstays(&mut self, longest: u64) -> Option<String> {
        let Told::ToLeave(steps) = &mut self.told else { return None };
        if !self.gate.is_open() {
            return None;
        }
        *steps += 1;
        let what = || format!("was told to leave {longest} s ago, and is still there");
        (*steps == longest + 1).then(what)
    }
    /// What is amiss with how it ended.
    pub async fn amiss(self) -> Option<String> {
        amiss(self.task.await, self.told)
    }
}

/// Nobody kills a worker and then asks how it ended: one that was cancelled is no case here.
fn amiss(ended: Ended, told: Told) -> Option<String> {
    match (ended, told) {
        (Ok(Err(error)), _) => Some(format!("could not go on: {error}")),
        (Err(error), _) if error.is_panic() => Some(format!("panicked: {error}")),
        (Ok(Ok(())), Told::Nothing) => Some("stopped although nobody told it to".to_owned()),
        (Ok(Ok(())), Told::ToLeave(_)) | (Err(_), _) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kcl_core::{Config, TableError};
    use kcl_lease_local::MemoryLeaseTable;

    use super::*;

    /// Whose task is this, whatever it does.
    fn worker(task: impl Future<Output = Result<(), WorkerError>> + Send + 'static) -> Worker {
        let scheduler =
            Scheduler::empty(Config::new("a"), Arc::new(MemoryLeaseTable::new())).unwrap();
        let (handle, gate, told) = (scheduler.handle(), Gate::new(), Told::Nothing);
        Worker { task: tokio::spawn(task), handle, gate, told }
    }

    #[tokio::test]
    async fn a_worker_that_ends_unasked_or_panics_or_cannot_go_on_is_told() {
        async fn fails() -> Result<(), WorkerError> {
            Err(WorkerError::Table(TableError::Throttled))
        }
        async fn panics() -> Result<(), WorkerError> {
            panic!("simulated panic of the scheduler");
        }
        let unasked = worker(async { Ok(()) }).amiss().await.unwrap();
        assert!(unasked.contains("stopped although nobody"), "{unasked}");
        let mut asked = worker(async { Ok(()) });
        asked.leave();
        assert_eq!(asked.amiss().await, None);
        for told in [Told::Nothing, Told::ToLeave(1)] {
            let failed = Worker { told, ..worker(fails()) }.amiss().await.unwrap();
            assert!(failed.contains("could not go on"), "{failed}");
            let panicked = Worker { told, ..worker(panics()) }.amiss().await.unwrap();
            assert!(panicked.contains("panicked"), "{panicked}");
        }
    }

    #[tokio::test]
    async fn a_worker_that_stays_when_told_to_leave_is_told_once_its_time_is_up() {
        let mut stays = worker(std::future::pending());
        assert_eq!([(); 9].map(|()| stays.overstays(3)), [const { None }; 9]);
        stays.leave();
        let told = |worker: &mut Worker| worker.overstays(3).is_some();
        assert_eq!([(); 2].map(|()| told(&mut stays)), [false; 2]);
        // Told again it has no more time than before, and while it stands still none passes.
        stays.leave();
        stays.gate.set_open(false);
        assert_eq!([(); 9].map(|()| told(&mut stays)), [false; 9]);
        stays.gate.set_open(true);
        assert_eq!([(); 5].map(|()| told(&mut stays)), [false, true, false, false, false]);
    }
}
