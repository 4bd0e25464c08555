//! Watching other workers' heartbeats stand still, and declaring them dead.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ids::WorkerId;
use crate::limits::{RING_SUCCESSORS, WATCH_ALL_WORKERS};
use crate::liveness::Liveness;
use crate::rows::{WorkerRow, WorkerState};
use crate::rules::{Mutant, Rules};
use crate::time::{LeaseTiming, Moment};
use crate::writes::{WorkerChange, WorkerCondition, WorkerWrite};

/// How long each other worker's heartbeat has stood still, by this worker's clock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Watch {
    seen: BTreeMap<WorkerId, Seen>,
    rules: Rules,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Seen {
    heartbeat: u64,
    since: Moment,
    timing: LeaseTiming,
}

impl Watch {
    /// The same under other rules.
    #[must_use]
    pub fn with_rules(self, rules: Rules) -> Self {
        Self { rules, ..self }
    }

    /// A row as a strong read answered at `now` showed it.
    pub fn observe(&mut self, row: &WorkerRow, now: Moment) {
        if row.state.is_dead() {
            self.seen.remove(&row.id);
            return;
        }
        let fresh = Seen { heartbeat: row.heartbeat, since: now, timing: row.timing() };
        self.seen
            .entry(row.id.clone())
            .and_modify(|seen| {
                if seen.heartbeat != fresh.heartbeat {
                    *seen = fresh.clone();
                }
            })
            .or_insert(fresh);
    }

    /// Forgets everything: this worker cannot say what happened meanwhile.
    pub fn restart(&mut self) {
        self.seen.clear();
    }

    /// Forgets a worker whose row is gone: absent is never dead, and there is nothing to fence.
    pub fn forget(&mut self, id: &WorkerId) {
        self.seen.remove(id);
    }

    /// The writes that declare dead whoever stood still for its own `D_take`, if `liveness` lets
    /// this worker judge.
    pub fn fences(&mut self, me: &WorkerId, liveness: &Liveness, now: Moment) -> Vec<WorkerWrite> {
        if liveness.is_interrupted(now) {
            self.restart();
        }
        if !liveness.may_fence(now) {
            return Vec::new();
        }
        let own = self.rules.breaks(Mutant::OwnDurationJudgesOthers).then(|| liveness.timing());
        let overdue = |(id, seen): &(&WorkerId, &Seen)| {
            *id != me && now.since(seen.since) >= own.unwrap_or(seen.timing).take()
        };
        let unconditional = self.rules.breaks(Mutant::FenceWithoutHeartbeat);
        let judged = |(id, seen): (&WorkerId, &Seen)| match unconditional {
            true => fence_reaped(id),
            false => fence(id, seen.heartbeat),
        };
        self.seen.iter().filter(overdue).map(judged).collect()
    }

    /// The next moment at which [`Watch::fences`] may have something to say.
    pub fn next_check(&self, me: &WorkerId) -> Option<Moment> {
        let others = self.seen.iter().filter(|(id, _)| *id != me);
        others.map(|(_, seen)| seen.since + seen.timing.take()).min()
    }
}

/// Declares a worker dead if its heartbeat still stands at `heartbeat`.
pub fn fence(id: &WorkerId, heartbeat: u64) -> WorkerWrite {
    WorkerWrite::Update {
        id: id.clone(),
        when: vec![WorkerCondition::StateIsNotDead, WorkerCondition::HeartbeatIs(heartbeat)],
        change: vec![WorkerChange::State(WorkerState::Fenced)],
    }
}

/// Puts a row for a worker that a lease names and that has none: absent is never dead, but this
/// row can be watched, and cannot heartbeat. `heartbeat` is drawn at random, so that nobody takes
/// it for a count seen before; the durations are the largest the table has known.
pub fn put_missing(
    id: &WorkerId,
    heartbeat: u64,
    duration: Duration,
    grace: Duration,
) -> WorkerWrite {
    let timing = LeaseTiming::new(duration, grace);
    let state = WorkerState::Missing;
    WorkerWrite::Create(WorkerRow { heartbeat, state, ..WorkerRow::live(id.clone(), timing) })
}

/// Declares a worker dead that was **reaped**: its process is known to have ended. Proof, not
/// suspicion, so no wait.
pub fn fence_reaped(id: &WorkerId) -> WorkerWrite {
    WorkerWrite::Update {
        id: id.clone(),
        when: vec![WorkerCondition::StateIs(WorkerState::Live)],
        change: vec![WorkerChange::State(WorkerState::Fenced)],
    }
}

/// Whom a worker reads between two scans: `None` if it scans everybody every `H` anyway, else its
/// ring successors.
pub fn watched<'a>(
    me: &WorkerId,
    others: impl Iterator<Item = &'a WorkerId> + Clone,
) -> Option<Vec<WorkerId>> {
    if others.clone().count() <= WATCH_ALL_WORKERS {
        return None;
    }
    let after = others.clone().filter(|id| *id > me);
    let wrapped = others.filter(|id| *id < me);
    Some(after.chain(wrapped).take(RING_SUCCESSORS).cloned().collect())
}
