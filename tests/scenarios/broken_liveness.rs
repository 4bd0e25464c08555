//! Rules about time that the real scheduler breaks on purpose, each in the story in which it shows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kcl_core::event::EventKind;
use kcl_core::protocol::{CasOutcome, ConditionalWrite, Mutant, Row, RowKey, Rules, WorkerState};
use kcl_core::{LeaseTable, Scan, Scheduler, TableError, async_trait};
use kcl_lease_local::MemoryLeaseTable;
use kcl_testkit::history::What;

use crate::fleet::{D, Fleet};

const SETTLED: Duration = Duration::from_secs(30);

/// How many live workers were declared dead.
fn fenced(fleet: &Fleet) -> usize {
    let is_fence = |what: &What| {
        matches!(what, What::Event(event)
            if matches!(event.kind, EventKind::FencedOther { .. }))
    };
    fleet.recorder.history().iter().filter(|entry| is_fence(&entry.what)).count()
}

/// A worker with a lease duration of 30 s beside one of 3 s.
async fn judged_by_its_own_duration(rules: Rules) -> usize {
    let mut fleet = Fleet::new(4);
    let slow = fleet.config().lease_duration(D * 10).rules(rules);
    let _slow = fleet.start_with(slow, fleet.note());
    let quick = fleet.config().rules(rules);
    let _quick = fleet.start_with(quick, fleet.note());
    fleet.pass(SETTLED * 4).await;
    fenced(&fleet)
}

#[tokio::test(start_paused = true)]
async fn a_slow_worker_judged_by_anothers_duration_dies_for_nothing() {
    assert_eq!(judged_by_its_own_duration(Rules::ALL).await, 0);
    let broken = Rules::breaking(Mutant::OwnDurationJudgesOthers);
    assert!(judged_by_its_own_duration(broken).await > 0);
}

/// Two workers lose the table for `lasts` and get it back `apart` from each other.
async fn outage(rules: Rules, lasts: Duration, apart: Duration) -> usize {
    let mut fleet = Fleet::new(4);
    let mut workers = Vec::new();
    for _ in 0..2 {
        let config = fleet.config().rules(rules);
        workers.push(fleet.start_with(config, fleet.note()));
        // Their heartbeats are out of step.
        fleet.pass(Duration::from_millis(400)).await;
    }
    fleet.pass(SETTLED).await;
    workers.iter().for_each(|worker| worker.cable.pull());
    fleet.pass(lasts).await;
    workers[0].cable.plug();
    fleet.pass(apart).await;
    workers[1].cable.plug();
    fleet.pass(SETTLED).await;
    fenced(&fleet)
}

#[tokio::test(start_paused = true)]
async fn whoever_judges_right_after_an_outage_fences_those_it_hit_too() {
    let (lasts, apart) = (Duration::from_secs(20), Duration::from_secs(7));
    assert_eq!(outage(Rules::ALL, lasts, apart).await, 0);
    assert!(outage(Rules::breaking(Mutant::FenceAfterOutage), lasts, apart).await > 0);
}

/// A table whose requests arrive and whose answers, once it is deaf, do not.
struct Deaf {
    table: MemoryLeaseTable,
    is_deaf: Arc<AtomicBool>,
}

impl Deaf {
    fn heard<T>(&self, answer: Result<T, TableError>) -> Result<T, TableError> {
        match self.is_deaf.load(Ordering::Relaxed) {
            true => Err(TableError::Unknown("no answer".into())),
            false => answer,
        }
    }
}

#[async_trait]
impl LeaseTable for Deaf {
    async fn prepare(&self) -> Result<String, TableError> {
        self.heard(self.table.prepare().await)
    }
    async fn scan(&self, scope: Scan) -> Result<Vec<Row>, TableError> {
        self.heard(self.table.scan(scope).await)
    }
    async fn read(&self, key: &RowKey) -> Result<Option<Row>, TableError> {
        self.heard(self.table.read(key).await)
    }
    async fn write(&self, write: &ConditionalWrite) -> Result<CasOutcome, TableError> {
        self.heard(self.table.write(write).await)
    }
    async fn write_all(&self, writes: &[ConditionalWrite]) -> Result<CasOutcome, TableError> {
        self.heard(self.table.write_all(writes).await)
    }
}

/// Of two workers one hears no answers any more. True if the other came to own everything.
async fn one_goes_deaf(rules: Rules) -> bool {
    let mut fleet = Fleet::new(4);
    let is_deaf = Arc::new(AtomicBool::new(false));
    let table = Deaf { table: fleet.table.clone(), is_deaf: Arc::clone(&is_deaf) };
    let config = fleet.config().rules(rules);
    let (source, note) = (Arc::new(fleet.stream.source()), fleet.note());
    let scheduler = Scheduler::new(config, Arc::new(table), source, note).unwrap();
    let task = tokio::spawn(scheduler.run());
    let other = fleet.start();
    fleet.pass(SETTLED).await;
    is_deaf.store(true, Ordering::Relaxed);
    fleet.pass(SETTLED).await;
    task.abort();
    let dead = fleet.workers().await.iter().any(|row| row.state == WorkerState::Fenced);
    dead && other.shards() == 4
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_beats_on_without_answers_keeps_its_shards_from_everybody() {
    assert!(one_goes_deaf(Rules::ALL).await);
    assert!(!one_goes_deaf(Rules::breaking(Mutant::BeatsWithoutReplies)).await);
}
