//! What befalls a processor of a user's own beyond its batches.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kcl_core::protocol::{Position, ShardId};
use kcl_core::{
    Checkpointer, Clock, ProcessorError, RecordBatch, RecordProcessor, ShardEnd, ShardStart,
    async_trait,
};
use kcl_testkit::sim::{
    Application, Campaign, End, Host, Kind, Options, Report, run_application, search,
    silence_simulated_panics,
};

/// Among so many seeds are some whose worker dies in the middle of that call.
const SEEDS: u64 = 20;

/// What is stored of each shard.
type Stored = BTreeMap<ShardId, BTreeSet<Position>>;

#[derive(Default)]
struct Database {
    drafts: Stored,
    finals: Stored,
}

/// How a draft becomes final as its shard ends. By then all of it is acked.
#[derive(Clone, Copy)]
enum Flushes {
    /// The bug: while it is on its way, it is nowhere.
    ByMoving,
    /// As it should be: a worker that dies meanwhile leaves the draft for the next.
    ByCopying,
}

struct Reports {
    flushes: Flushes,
    database: Arc<Mutex<Database>>,
}

struct Reporting {
    flushes: Flushes,
    shard: ShardId,
    database: Arc<Mutex<Database>>,
    clock: Arc<dyn Clock>,
}

impl Application for Reports {
    type Processor = Reporting;

    fn processor(&self, start: &ShardStart, host: &Host) -> Reporting {
        let (flushes, database) = (self.flushes, self.database.clone());
        Reporting { flushes, shard: start.shard.clone(), database, clock: host.clock.clone() }
    }
    fn check(&self, end: &End<'_>) -> Vec<String> {
        let Database { drafts, finals } = &*self.database.lock().unwrap();
        let has = |stored: &Stored, shard, at| {
            stored.get(shard).is_some_and(|records: &BTreeSet<_>| records.contains(at))
        };
        let lost = end.put.iter().filter(|put| {
            ![drafts, finals].iter().any(|stored| has(stored, &put.shard, &put.position))
        });
        let lost = lost.count();
        if lost == 0 { Vec::new() } else { vec![format!("{lost} records are in no report")] }
    }
}

#[async_trait]
impl RecordProcessor for Reporting {
    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        _: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        let positions = batch.records.iter().map(|record| record.position);
        let drafts = &mut self.database.lock().unwrap().drafts;
        drafts.entry(self.shard.clone()).or_default().extend(positions);
        Ok(())
    }
    async fn shard_ended(&mut self, _: &ShardEnd) -> Result<(), ProcessorError> {
        let draft = {
            let drafts = &mut self.database.lock().unwrap().drafts;
            match self.flushes {
                Flushes::ByMoving => drafts.remove(&self.shard),
                Flushes::ByCopying => drafts.get(&self.shard).cloned(),
            }
        };
        for _ in 0..12 {
            self.clock.sleep(Duration::from_millis(1)).await;
        }
        let mut database = self.database.lock().unwrap();
        let finals = database.finals.entry(self.shard.clone()).or_default();
        finals.extend(draft.unwrap_or_default());
        database.drafts.remove(&self.shard);
        Ok(())
    }
}

fn searched(flushes: Flushes) -> Result<u64, String> {
    silence_simulated_panics();
    // As many reshards as in a large fleet, in less time.
    let options = Options { workers: 3, shards: 6, ..Options::seed(0) };
    let campaign = Campaign { first: 0, seeds: SEEDS, threads: 2, options };
    let found = search(&campaign, || Reports { flushes, database: Arc::default() });
    found.map(|outcome| outcome.seeds).map_err(|failure| failure.to_string())
}

#[test]
fn a_processor_that_loses_what_it_flushes_as_its_shard_ends_is_caught() {
    let failure = searched(Flushes::ByMoving).unwrap_err();
    assert!(failure.contains("records are in no report"), "{failure}");
}

#[test]
fn a_processor_that_may_die_as_its_shard_ends_loses_nothing() {
    assert_eq!(searched(Flushes::ByCopying), Ok(SEEDS));
}

/// Waits for nothing: each of its calls returns as soon as it is polled.
struct Prompt;

#[async_trait]
impl RecordProcessor for Prompt {
    async fn process_records(
        &mut self,
        _: &RecordBatch,
        _: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        Ok(())
    }
}

impl Application for Prompt {
    type Processor = Self;

    fn processor(&self, _: &ShardStart, _: &Host) -> Self {
        Self
    }
    fn check(&self, _: &End<'_>) -> Vec<String> {
        Vec::new()
    }
}

/// Workers that died in the middle of a call. (Of others the place is noted, not the life.)
fn died_in_a_call(run: impl Fn(&Options) -> Report) -> usize {
    let crashes = |seed| {
        let report = run(&Options { workers: 3, shards: 6, ..Options::seed(seed) });
        assert_eq!(report.violations, [], "seed {seed}");
        let struck = report.struck.into_iter().filter(|struck| struck.kind == Kind::Crash);
        struck.filter(|struck| struck.actor.contains('.')).count()
    };
    (0..8).map(crashes).sum()
}

#[test]
fn a_call_that_returns_before_its_process_would_die_counts_as_no_crash() {
    silence_simulated_panics();
    assert_eq!(died_in_a_call(|options| run_application(options, Prompt)), 0);
    let reports = || Reports { flushes: Flushes::ByCopying, database: Arc::default() };
    assert!(died_in_a_call(|options| run_application(options, reports())) > 0);
}
