//! Your own processor in a simulated fleet: five workers that crash, pause and hand over, a stream
//! that is split and merged, a lease table that loses requests; and in the end a check of yours.
//!
//! `cargo run --release -p kcl-testkit --example own_processor`

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use kcl_core::protocol::Position;
use kcl_core::{
    Acks, Checkpointer, Clock, Config, ProcessorError, RecordBatch, RecordProcessor, ShardStart,
};
use kcl_testkit::sim::{Application, Campaign, End, Host, Options, search};

/// The database of the application. It outlives every worker.
type Database = Arc<Mutex<BTreeMap<Position, u64>>>;

/// What the processor does first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// The bug: a worker that dies in between has lost the records.
    Checkpoint,
    /// As it should be: a worker that dies in between writes them again.
    Effect,
}

/// Stores every order in a database.
pub struct Orders {
    /// What its processors do first.
    pub first: First,
    /// Where they store them.
    pub database: Database,
}

impl Application for Orders {
    type Processor = Storing;

    fn config(&self, config: Config) -> Config {
        config.acks(Acks::Explicit)
    }
    fn processor(&self, _: &ShardStart, host: &Host) -> Storing {
        Storing { first: self.first, database: self.database.clone(), clock: host.clock.clone() }
    }
    fn check(&self, end: &End<'_>) -> Vec<String> {
        let stored = self.database.lock().unwrap();
        let lost = end.put.iter().filter(|put| !stored.contains_key(&put.position)).count();
        if lost == 0 { Vec::new() } else { vec![format!("{lost} orders are not in the database")] }
    }
}

/// The processor, as it would run in production.
pub struct Storing {
    first: First,
    database: Database,
    clock: Arc<dyn Clock>,
}

impl Storing {
    /// Takes a while, as a database does; writing an order again changes nothing.
    async fn store(&self, batch: &RecordBatch) {
        self.clock.sleep(Duration::from_millis(5)).await;
        let mut stored = self.database.lock().unwrap();
        stored.extend(batch.records.iter().map(|record| (record.position, record.arrival_millis)));
    }
    async fn checkpoint(
        &self,
        batch: &RecordBatch,
        to: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        for record in &batch.records {
            to.ack(record.position).map_err(ProcessorError::new)?;
        }
        to.checkpoint().await.map_err(ProcessorError::new)
    }
}

#[async_trait]
impl RecordProcessor for Storing {
    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        checkpointer: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        match self.first {
            First::Checkpoint => {
                self.checkpoint(batch, checkpointer).await?;
                self.store(batch).await;
            }
            First::Effect => {
                self.store(batch).await;
                self.checkpoint(batch, checkpointer).await?;
            }
        }
        Ok(())
    }
}

fn main() -> ExitCode {
    let campaign = Campaign { first: 0, seeds: 40, threads: 2, options: Options::seed(0) };
    let mut caught = Vec::new();
    for first in [First::Effect, First::Checkpoint] {
        match search(&campaign, || Orders { first, database: Database::default() }) {
            Ok(outcome) => println!("{first:?} first: {} seeds, nothing lost", outcome.seeds),
            Err(failure) => {
                println!("{first:?} first: caught.\n{failure}");
                caught.push(first);
            }
        }
    }
    if caught == [First::Checkpoint] { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
