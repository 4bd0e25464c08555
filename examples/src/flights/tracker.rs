//! Who holds what, and every change of owner with its reason and duration.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kcl_core::protocol::{LeaseKey, Moment, ShardId, WorkerId};
use kcl_core::{Event, EventKind, HoldReason, Observer};
use serde::Serialize;

/// A shard that went from one worker to another.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Takeover {
    /// Which shard.
    pub shard: String,
    /// Who had it.
    pub from: String,
    /// Who has it.
    pub to: String,
    /// Why.
    pub reason: &'static str,
    /// From the moment the former owner stopped (or was killed) to the moment the new one's
    /// consumer started.
    pub ms: f64,
}

/// Listens to every worker. All run on one machine and one clock, so their moments compare.
#[derive(Clone, Debug, Default)]
pub struct Tracker(Arc<Mutex<Books>>);

#[derive(Debug, Default)]
struct Books {
    owners: BTreeMap<LeaseKey, WorkerId>,
    /// When a shard's owner stopped, and who that was.
    left: BTreeMap<LeaseKey, (WorkerId, Moment)>,
    reasons: BTreeMap<LeaseKey, HoldReason>,
    /// Workers that were killed: what their threads still say on the way out is not heard.
    killed: BTreeSet<WorkerId>,
    takeovers: Vec<Takeover>,
}

impl Tracker {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A worker was killed at this moment: nobody will hear of its shards from itself.
    pub fn killed(&self, worker: &WorkerId, at: Moment) {
        let mut books = self.books();
        books.killed.insert(worker.clone());
        let held = books.owners.iter().filter(|(_, owner)| *owner == worker);
        let held: Vec<_> = held.map(|(key, _)| key.clone()).collect();
        for key in held {
            books.owners.remove(&key);
            books.left.insert(key, (worker.clone(), at));
        }
    }

    /// The owner of each shard that is being processed.
    pub fn owners(&self) -> BTreeMap<ShardId, WorkerId> {
        self.books().owners.iter().map(|(key, owner)| (key.shard(), owner.clone())).collect()
    }

    /// Changes of owner, from the given one on.
    pub fn takeovers(&self, from: usize) -> Vec<Takeover> {
        self.books().takeovers.get(from..).unwrap_or_default().to_vec()
    }
}

/// A worker's name without its random part.
pub fn short(worker: &WorkerId) -> String {
    worker.as_str().rsplit_once('-').map_or(worker.as_str(), |(name, _)| name).to_owned()
}

fn in_words(reason: Option<HoldReason>) -> &'static str {
    match reason {
        Some(HoldReason::OwnerDied) => "its owner died",
        Some(HoldReason::HandedOver) => "handed over",
        Some(HoldReason::Forced) => "its owner did not answer",
        Some(HoldReason::Adopted) => "adopted",
        Some(HoldReason::Reconciled) => "found without an owner",
        Some(HoldReason::ParentsEnded) => "its parents ended",
        Some(HoldReason::Started) | None => "nobody had it",
    }
}

impl Observer for Tracker {
    fn observe(&self, event: &Event) {
        let mut books = self.books();
        if books.killed.contains(&event.worker) {
            return;
        }
        match &event.kind {
            EventKind::LeaseHeld { lease, reason, .. } => {
                books.reasons.insert(lease.clone(), *reason);
            }
            EventKind::ConsumerStarted { lease, .. } => {
                let before = books.owners.insert(lease.clone(), event.worker.clone());
                // Without a word of its stop the former owner was still at it: no time between.
                let left = books.left.remove(lease).or(before.map(|owner| (owner, event.at)));
                let Some((from, since)) = left.filter(|(from, _)| *from != event.worker) else {
                    return;
                };
                let takeover = Takeover {
                    shard: lease.shard().to_string(),
                    from: short(&from),
                    to: short(&event.worker),
                    reason: in_words(books.reasons.get(lease).copied()),
                    ms: event.at.since(since).as_secs_f64() * 1000.0,
                };
                books.takeovers.push(takeover);
            }
            EventKind::ConsumerStopped { lease, .. }
                if books.owners.get(lease) == Some(&event.worker) =>
            {
                books.owners.remove(lease);
                books.left.insert(lease.clone(), (event.worker.clone(), event.at));
            }
            EventKind::ShardEnded { lease } => {
                books.left.remove(lease);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kcl_core::protocol::{Checkpoint, Fence};
    use std::time::Duration;

    fn at(millis: u64) -> Moment {
        Moment(Duration::from_millis(millis))
    }

    fn tell(tracker: &Tracker, worker: &str, millis: u64, kind: EventKind) {
        tracker.observe(&Event { at: at(millis), worker: WorkerId::new(worker), kind });
    }

    fn start(tracker: &Tracker, worker: &str, millis: u64, reason: HoldReason) {
        let lease = LeaseKey::new("shardId-000000000000");
        let (fence, checkpoint) = (Fence(1), Checkpoint::TrimHorizon);
        let held = EventKind::LeaseHeld { lease: lease.clone(), fence, from: None, reason };
        tell(tracker, worker, millis, held);
        tell(tracker, worker, millis, EventKind::ConsumerStarted { lease, fence, checkpoint });
    }

    #[test]
    fn a_takeover_runs_from_the_kill_to_the_start_at_the_new_owner() {
        let tracker = Tracker::default();
        start(&tracker, "worker-1-aa", 0, HoldReason::Started);
        assert_eq!(tracker.takeovers(0), [], "the first owner took it from nobody");
        tracker.killed(&WorkerId::new("worker-1-aa"), at(1_000));
        start(&tracker, "worker-1-aa", 1_001, HoldReason::Adopted);
        assert!(tracker.owners().is_empty(), "a killed worker is not heard");
        start(&tracker, "worker-2-bb", 2_500, HoldReason::OwnerDied);
        let expected = Takeover {
            shard: "shardId-000000000000".into(),
            from: "worker-1".into(),
            to: "worker-2".into(),
            reason: "its owner died",
            ms: 1_500.0,
        };
        assert_eq!(tracker.takeovers(0), [expected]);
        assert_eq!(tracker.takeovers(1), []);
    }

    #[test]
    fn a_change_without_a_stop_is_shown_and_a_restart_at_one_owner_is_not() {
        let tracker = Tracker::default();
        start(&tracker, "worker-1-aa", 0, HoldReason::Started);
        start(&tracker, "worker-1-aa", 10, HoldReason::Adopted);
        assert_eq!(tracker.takeovers(0), []);
        start(&tracker, "worker-2-bb", 20, HoldReason::OwnerDied);
        let shown = tracker.takeovers(0);
        assert_eq!((shown.len(), shown[0].from.as_str(), shown[0].ms), (1, "worker-1", 0.0));
    }

    #[test]
    fn the_end_of_a_shard_is_no_change_of_owner() {
        let tracker = Tracker::default();
        start(&tracker, "worker-1-aa", 0, HoldReason::Started);
        let lease = LeaseKey::new("shardId-000000000000");
        let (fence, acked) = (Fence(1), Checkpoint::ShardEnd);
        let stopped =
            EventKind::ConsumerStopped { lease: lease.clone(), fence, acked, reason: "ended" };
        tell(&tracker, "worker-1-aa", 5, stopped);
        assert!(tracker.owners().is_empty());
        tell(&tracker, "worker-1-aa", 6, EventKind::ShardEnded { lease });
        start(&tracker, "worker-2-bb", 9, HoldReason::ParentsEnded);
        assert_eq!(tracker.takeovers(0), []);
    }
}
