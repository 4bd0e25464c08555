//! P5: a user's writes in the transaction of a checkpoint.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kcl_core::protocol::{
    CasOutcome, ConditionalWrite, Fence, LeaseCondition, LeaseWrite, Row, RowKey,
};
use kcl_core::{
    Checkpointer, Effects, LeaseTable, ProcessorError, RecordBatch, RecordProcessor, Scan,
    Scheduler, ShardStart, TableError, WorkerError, async_trait,
};
use kcl_lease_local::{LocalEffects, MemoryLeaseTable};
use tokio::task::JoinHandle;

use crate::fleet::{Cable, D, Fleet};

const SETTLED: Duration = Duration::from_secs(10);

/// Adds to a sum in the lease table, in the transaction of its checkpoint.
struct Sum {
    table: MemoryLeaseTable,
    key: String,
}

#[async_trait]
impl RecordProcessor for Sum {
    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        checkpointer: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        let sum = (sum(&self.table, &self.key) + batch.records.len()).to_string();
        let effects = Effects::new(LocalEffects::new().put(self.key.as_str(), sum));
        checkpointer.checkpoint_with(effects).await.map_err(ProcessorError::new)
    }
}

fn sum(table: &MemoryLeaseTable, key: &str) -> usize {
    let text = table.effect(key).unwrap_or_default();
    String::from_utf8_lossy(&text).parse().unwrap_or(0)
}

fn start(fleet: &mut Fleet, table: impl LeaseTable) -> JoinHandle<Result<(), WorkerError>> {
    let sums = fleet.table.clone();
    let factory =
        move |start: &ShardStart| Sum { table: sums.clone(), key: start.shard.to_string() };
    let (config, source) = (fleet.config().effects(true), Arc::new(fleet.stream.source()));
    let scheduler = Scheduler::new(config, Arc::new(table), source, factory).unwrap();
    tokio::spawn(scheduler.run())
}

#[tokio::test(start_paused = true)]
async fn p5_effects_in_the_checkpoint_s_transaction_count_each_record_once() {
    let mut fleet = Fleet::new(2);
    let table = fleet.table.clone();
    let one = start(&mut fleet, table.clone());
    fleet.pass(SETTLED).await;
    fleet.put(100);
    fleet.pass(Duration::from_millis(200)).await;
    one.abort();
    let _other = start(&mut fleet, table.clone());
    fleet.put(100);
    fleet.pass(D * 3 + SETTLED).await;
    let shards = fleet.open_shards().await;
    assert_eq!(shards.iter().map(|shard| sum(&table, shard.as_str())).sum::<usize>(), 200);
}

/// A connection on which a write with effects may be stopped, to arrive when nobody waits for it.
#[derive(Clone)]
struct LateWire {
    table: MemoryLeaseTable,
    cable: Cable,
    stops: Arc<AtomicBool>,
    stopped: Arc<Mutex<Vec<(ConditionalWrite, Effects)>>>,
}

#[async_trait]
impl LeaseTable for LateWire {
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
        self.table.write_with(write, effects).await
    }
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

#[tokio::test(start_paused = true)]
async fn p5_an_effect_that_arrives_after_one_at_a_higher_fence_is_rejected() {
    let mut fleet = Fleet::new(1);
    let table = fleet.table.clone();
    let wire = LateWire {
        table: table.clone(),
        cable: Cable::new(&table),
        stops: Arc::default(),
        stopped: Arc::default(),
    };
    let _one = start(&mut fleet, wire.clone());
    fleet.pass(SETTLED).await;
    fleet.put(10);
    fleet.pass(Duration::from_millis(200)).await;
    let shard = fleet.open_shards().await.remove(0).to_string();
    assert_eq!(sum(&table, &shard), 10);
    wire.stops.store(true, Ordering::Relaxed);
    wire.cable.pull();
    fleet.put(5);
    fleet.pass(Duration::from_millis(200)).await;
    let _other = start(&mut fleet, table.clone());
    fleet.pass(D * 3 + SETTLED).await;
    fleet.put(3);
    fleet.pass(Duration::from_millis(200)).await;
    assert_eq!(sum(&table, &shard), 18);
    let now = fleet.lease(&shard).await;
    let late = wire.stopped.lock().unwrap().clone();
    assert!(!late.is_empty());
    for (write, effects) in late {
        assert!(fence_of(&write) < now.fence);
        let outcome = table.write_with(&write, &effects).await;
        assert_eq!(outcome, Ok(CasOutcome::Lost(Some(Row::Lease(now.clone())))));
    }
    assert_eq!(sum(&table, &shard), 18);
}
