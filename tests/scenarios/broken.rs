//! Rules that the real scheduler breaks on purpose, each in the one story in which it shows. The
//! rest of them is in `tests/sim/mutants.rs`; the whole table in `docs/model.md`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kcl_core::event::EventKind;
use kcl_core::protocol::{CasOutcome, ConditionalWrite, Mutant, Row, RowKey, Rules, ShardId};
use kcl_core::{InitialPosition, LeaseTable, Scan, Scheduler, TableError, async_trait};
use kcl_lease_local::MemoryLeaseTable;
use kcl_testkit::history::{What, every_record_is_delivered};

use crate::fleet::{Fleet, shard};

const SETTLED: Duration = Duration::from_secs(30);

/// A table whose connection breaks for ever right after the first transaction that ends a shard.
struct Breaking {
    table: MemoryLeaseTable,
    is_broken: AtomicBool,
}

impl Breaking {
    fn check(&self) -> Result<(), TableError> {
        match self.is_broken.load(Ordering::Relaxed) {
            true => Err(TableError::Unavailable("the process has ended".into())),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl LeaseTable for Breaking {
    async fn prepare(&self) -> Result<String, TableError> {
        self.table.prepare().await
    }
    async fn scan(&self, scope: Scan) -> Result<Vec<Row>, TableError> {
        self.check()?;
        self.table.scan(scope).await
    }
    async fn read(&self, key: &RowKey) -> Result<Option<Row>, TableError> {
        self.check()?;
        self.table.read(key).await
    }
    async fn write(&self, write: &ConditionalWrite) -> Result<CasOutcome, TableError> {
        self.check()?;
        self.table.write(write).await
    }
    async fn write_all(&self, writes: &[ConditionalWrite]) -> Result<CasOutcome, TableError> {
        self.check()?;
        self.is_broken.store(true, Ordering::Relaxed);
        self.table.write_all(writes).await
    }
}

/// A worker ends a shard that was split, and dies right after its first transaction.
async fn ended_by_a_dying_worker(rules: Rules) -> Fleet {
    let mut fleet = Fleet::new(1);
    let table = Breaking { table: fleet.table.clone(), is_broken: AtomicBool::new(false) };
    let config = fleet.config().rules(rules);
    let (source, note) = (Arc::new(fleet.stream.source()), fleet.note());
    let scheduler = Scheduler::new(config, Arc::new(table), source, note).unwrap();
    let task = tokio::spawn(scheduler.run());
    fleet.pass(SETTLED).await;
    fleet.stream.split_shard(&shard(0), u128::MAX / 2).unwrap();
    fleet.pass(SETTLED).await;
    task.abort();
    fleet
}

async fn has_holes(fleet: &Fleet) -> bool {
    let leases = fleet.leases().await;
    let parent = leases.iter().find(|lease| lease.key.shard() == shard(0)).unwrap();
    assert!(parent.is_ended(), "{parent:?}");
    let exists = |child: &ShardId| leases.iter().any(|lease| lease.key.shard() == *child);
    !parent.children.iter().all(exists)
}

#[tokio::test(start_paused = true)]
async fn an_end_in_two_writes_leaves_a_hole_if_the_worker_dies_between_them() {
    let whole = ended_by_a_dying_worker(Rules::ALL).await;
    assert!(!has_holes(&whole).await);
    let broken = ended_by_a_dying_worker(Rules::breaking(Mutant::EndInTwoWrites)).await;
    assert!(has_holes(&broken).await);
}

/// The fence of an ended shard, and the one it was held at.
async fn fences(fleet: &Fleet) -> (u64, u64) {
    let ended = fleet.lease(shard(0).as_str()).await.fence;
    let held = |what: &What| match what {
        What::Event(event) => match &event.kind {
            EventKind::LeaseHeld { lease, fence, .. } if lease.shard() == shard(0) => Some(*fence),
            _ => None,
        },
        _ => None,
    };
    let history = fleet.recorder.history();
    let held = history.iter().filter_map(|entry| held(&entry.what)).max().unwrap();
    (ended.0, held.0)
}

#[tokio::test(start_paused = true)]
async fn an_end_that_keeps_the_fence_lets_its_owner_in_for_ever() {
    let (ended, held) = fences(&ended_by_a_dying_worker(Rules::ALL).await).await;
    assert!(ended > held);
    let broken = Rules::breaking(Mutant::EndKeepsFence);
    let (ended, held) = fences(&ended_by_a_dying_worker(broken).await).await;
    assert_eq!(ended, held);
}

/// Two workers bind a stream at "latest"; the first dies before it makes a lease, and records
/// arrive between them. Gives how many properties of delivery are broken.
async fn bound_twice(rules: Rules) -> usize {
    let mut fleet = Fleet::new(2);
    for number in 0..20 {
        let old = kcl_stream_local::NewRecord::new(format!("before-{number}"), "old");
        fleet.stream.put(old).unwrap();
    }
    let config = fleet.config().initial_position(InitialPosition::Latest).rules(rules);
    let first = fleet.start_with(config, fleet.note());
    fleet.pass(Duration::from_millis(1)).await;
    first.kill();
    assert!(fleet.leases().await.is_empty(), "the first came to bind the stream and no further");
    fleet.put(20);
    let config = fleet.config().initial_position(InitialPosition::Latest).rules(rules);
    let _second = fleet.start_with(config, fleet.note());
    fleet.pass(SETTLED).await;
    fleet.put(20);
    fleet.pass(SETTLED).await;
    every_record_is_delivered(&fleet.recorder.history()).len()
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_resolves_latest_for_itself_skips_what_came_meanwhile() {
    assert_eq!(bound_twice(Rules::ALL).await, 0);
    assert!(bound_twice(Rules::breaking(Mutant::LatestResolvedTwice)).await > 0);
}
