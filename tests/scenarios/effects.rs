//! P5: a user's writes in the transaction of a checkpoint.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kcl_core::protocol::{
    CasOutcome, ConditionalWrite, Fence, LeaseCondition, LeaseWrite, Mutant, Row, RowKey, Rules,
};
use kcl_core::{
    Checkpointer, Effects, LeaseTable, ProcessorError, RecordBatch, RecordProcessor, Scan,
    Scheduler, ShardStart, TableError, WorkerError, async_trait,
};
use kcl_lease_local::{LocalEffects, MemoryLeaseTable};
use kcl_testkit::history::{Recorder, What, check_safety};
use tokio::task::JoinHandle;

use crate::fleet::{Cable, D, Fleet, Note};

const SETTLED: Duration = Duration::from_secs(10);
const SOON: Duration = Duration::from_millis(200);

/// Adds to a sum in the lease table, in the transaction of its checkpoint.
struct Sum {
    note: Note,
    table: MemoryLeaseTable,
}

#[async_trait]
impl RecordProcessor for Sum {
    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        checkpointer: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        self.note.given(&batch.records);
        let key = self.note.lease.as_str();
        let sum = (sum(&self.table, key) + batch.records.len()).to_string();
        let effects = LocalEffects::new().put(key, sum);
        // The row of the lease tells whose fence stands, not under which these were sent.
        let effects = effects.put(of_sender(key), self.note.fence.0.to_string());
        self.note.acked(&batch.records);
        checkpointer.checkpoint_with(Effects::new(effects)).await.map_err(ProcessorError::new)
    }
}

fn of_sender(key: &str) -> String {
    format!("fence of {key}")
}

fn number(table: &MemoryLeaseTable, key: &str) -> u64 {
    let text = table.effect(key).unwrap_or_default();
    String::from_utf8_lossy(&text).parse().unwrap_or(0)
}

fn sum(table: &MemoryLeaseTable, key: &str) -> usize {
    usize::try_from(number(table, key)).unwrap()
}

fn start(fleet: &mut Fleet, wire: &Wire) -> JoinHandle<Result<(), WorkerError>> {
    start_with(fleet, wire, Rules::ALL)
}

fn start_with(fleet: &mut Fleet, wire: &Wire, rules: Rules) -> JoinHandle<Result<(), WorkerError>> {
    let (sums, notes) = (fleet.table.clone(), fleet.notes());
    let factory = move |start: &ShardStart| Sum { note: notes.of(start), table: sums.clone() };
    let config = fleet.config().effects(true).rules(rules);
    let source = Arc::new(fleet.stream.source());
    let scheduler = Scheduler::new(config, Arc::new(wire.clone()), source, factory).unwrap();
    tokio::spawn(scheduler.run())
}

/// A connection on which every effect that applies is noted, and a write with effects may be
/// stopped, to arrive when nobody waits for it.
#[derive(Clone)]
struct Wire {
    table: MemoryLeaseTable,
    cable: Cable,
    recorder: Recorder,
    stops: Arc<AtomicBool>,
    stopped: Arc<Mutex<Vec<(ConditionalWrite, Effects)>>>,
}

impl Wire {
    fn new(fleet: &Fleet) -> Self {
        Self {
            table: fleet.table.clone(),
            cable: fleet.cable(),
            recorder: fleet.recorder.clone(),
            stops: Arc::default(),
            stopped: Arc::default(),
        }
    }
    async fn apply(
        &self,
        write: &ConditionalWrite,
        effects: &Effects,
    ) -> Result<CasOutcome, TableError> {
        let (writes, sent) = (std::slice::from_ref(write), self.table.write_with(write, effects));
        let outcome = self.recorder.rows_written(&self.table, writes, sent).await;
        if let Ok(CasOutcome::Won(Some(Row::Lease(lease)))) = &outcome {
            let fence = Fence(number(&self.table, &of_sender(lease.key.as_str())));
            self.recorder.effects(&lease.key, fence, lease.ordinal);
        }
        outcome
    }
}

#[async_trait]
impl LeaseTable for Wire {
    async fn prepare(&self) -> Result<String, TableError> {
        self.cable.prepare().await
    }
    async fn scan(&self, scope: Scan) -> Result<Vec<Row>, TableError> {
        self.cable.scan(scope).await
    }
    async fn read(&self, key: &RowKey) -> Result<Option<Row>, TableError> {
        self.cable.read(key).await
    }
    async fn write(&self, write: &ConditionalWrite) -> Result<CasOutcome, TableError> {
        self.cable.write(write).await
    }
    async fn write_all(&self, writes: &[ConditionalWrite]) -> Result<CasOutcome, TableError> {
        self.cable.write_all(writes).await
    }
    fn supports_effects(&self) -> bool {
        true
    }
    async fn write_with(
        &self,
        write: &ConditionalWrite,
        effects: &Effects,
    ) -> Result<CasOutcome, TableError> {
        if self.stops.load(Ordering::Relaxed) {
            self.stopped.lock().unwrap().push((write.clone(), effects.clone()));
            return Err(TableError::Unknown("still on its way".into()));
        }
        self.apply(write, effects).await
    }
}

/// The fences at which effects applied, in their order.
fn applied(fleet: &Fleet) -> Vec<Fence> {
    let history = fleet.recorder.history().into_iter();
    let fences = history.filter_map(|entry| match entry.what {
        What::Effects { fence, .. } => Some(fence),
        _ => None,
    });
    fences.collect()
}

#[tokio::test(start_paused = true)]
async fn p5_effects_in_the_checkpoint_s_transaction_count_each_record_once() {
    let mut fleet = Fleet::new(2);
    let wire = Wire::new(&fleet);
    let one = start(&mut fleet, &wire);
    fleet.pass(SETTLED).await;
    fleet.put(100);
    fleet.pass(SOON).await;
    one.abort();
    let _other = start(&mut fleet, &wire);
    fleet.put(100);
    fleet.pass(D * 3 + SETTLED).await;
    let shards = fleet.open_shards().await;
    assert_eq!(shards.iter().map(|shard| sum(&fleet.table, shard.as_str())).sum::<usize>(), 200);
    let fences = applied(&fleet);
    assert!(fences.iter().min() < fences.iter().max(), "both owners' are noted: {fences:?}");
    assert_eq!(check_safety(&fleet.recorder.history()), []);
}

fn fence_of(write: &ConditionalWrite) -> Fence {
    let ConditionalWrite::Lease(LeaseWrite::Update { when, .. }) = write else {
        panic!("no checkpoint: {write:?}");
    };
    let fences = when.iter().find_map(|condition| match condition {
        LeaseCondition::FenceIs(fence) => Some(*fence),
        _ => None,
    });
    fences.unwrap()
}

/// A worker is cut off while effects of its are on their way; the next owner has done the same
/// records, and so many more.
async fn overtaken(rules: Rules, more: u32) -> (Fleet, Wire, String) {
    let mut fleet = Fleet::new(1);
    let wire = Wire::new(&fleet);
    let _one = start_with(&mut fleet, &wire, rules);
    fleet.pass(SETTLED).await;
    fleet.put(10);
    fleet.pass(SOON).await;
    let shard = fleet.open_shards().await.remove(0).to_string();
    assert_eq!(sum(&fleet.table, &shard), 10);
    wire.stops.store(true, Ordering::Relaxed);
    wire.cable.pull();
    fleet.put(5);
    fleet.pass(SOON).await;
    let next = Wire::new(&fleet);
    let _other = start(&mut fleet, &next);
    fleet.pass(D * 3 + SETTLED).await;
    fleet.put(more);
    fleet.pass(SOON).await;
    assert_eq!(sum(&fleet.table, &shard), 15 + more as usize);
    assert!(!wire.stopped.lock().unwrap().is_empty());
    assert_eq!(check_safety(&fleet.recorder.history()), []);
    (fleet, wire, shard)
}

#[tokio::test(start_paused = true)]
async fn p5_an_effect_that_arrives_after_one_at_a_higher_fence_is_rejected() {
    let (fleet, wire, shard) = overtaken(Rules::ALL, 3).await;
    let now = fleet.lease(&shard).await;
    let late = wire.stopped.lock().unwrap().clone();
    for (write, effects) in late {
        assert!(fence_of(&write) < now.fence);
        let outcome = wire.apply(&write, &effects).await;
        assert_eq!(outcome, Ok(CasOutcome::Lost(Some(Row::Lease(now.clone())))));
    }
    assert_eq!(sum(&fleet.table, &shard), 18);
    assert_eq!(check_safety(&fleet.recorder.history()), []);
}

/// The same with the rule broken: late effects are conditioned on the ordinal alone, which the next
/// owner has counted anew.
#[tokio::test(start_paused = true)]
async fn an_effect_that_applies_below_an_accepted_fence_is_seen_in_the_history() {
    let broken = Rules::breaking(Mutant::EffectsAtAnyFence);
    let (fleet, wire, _) = overtaken(broken, 0).await;
    let (write, effects) = wire.stopped.lock().unwrap().remove(0);
    assert!(wire.apply(&write, &effects).await.unwrap().is_won());
    let fences = applied(&fleet);
    let (last, earlier) = fences.split_last().unwrap();
    assert!(last < earlier.last().unwrap(), "{fences:?}");
    let found = check_safety(&fleet.recorder.history());
    let is_late = found.iter().any(|it| it.property == "P5" && it.what.contains("applied after"));
    assert!(is_late, "{found:?}");
}
