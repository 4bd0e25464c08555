//! The example of a user's own processor: the one with the bug is caught, the other is not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use kcl_core::{
    Checkpointer, ProcessorError, RecordBatch, RecordProcessor, ShardStart, async_trait,
};
use kcl_stream_local::NewRecord;
use kcl_testkit::sim::{
    Application, Campaign, End, Host, Options, SearchError, run_application, search,
};

#[path = "../../kcl-testkit/examples/own_processor.rs"]
#[allow(dead_code, reason = "the example's main is a program of its own")]
mod own_processor;

use own_processor::{First, Orders};

fn searched(first: First, seeds: u64) -> Result<u64, String> {
    let campaign = Campaign { first: 0, seeds, threads: 2, options: Options::seed(0) };
    let found = search(&campaign, || Orders { first, database: Default::default() });
    found.map(|outcome| outcome.seeds).map_err(|failure| failure.to_string())
}

#[test]
fn a_processor_that_checkpoints_before_its_effect_is_caught() {
    let failure = searched(First::Checkpoint, 4).unwrap_err();
    assert!(failure.contains("orders are not in the database"), "{failure}");
    assert!(failure.contains("to run it again with all its faults: Options::seed("), "{failure}");
}

#[test]
fn a_processor_that_checkpoints_after_its_effect_loses_nothing() {
    assert_eq!(searched(First::Effect, 12), Ok(12));
}

/// Finds fault with the first run that it sees, and with no other.
struct FirstOnly(Arc<AtomicBool>);

/// Takes whatever comes.
pub(crate) struct Takes;

#[async_trait]
impl RecordProcessor for Takes {
    async fn process_records(
        &mut self,
        _: &RecordBatch,
        _: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        Ok(())
    }
}

impl Application for FirstOnly {
    type Processor = Takes;

    fn processor(&self, _: &ShardStart, _: &Host) -> Takes {
        Takes
    }
    fn check(&self, _: &End<'_>) -> Vec<String> {
        let was_there = self.0.swap(true, Ordering::SeqCst);
        if was_there { Vec::new() } else { vec!["seen once".to_owned()] }
    }
}

#[test]
fn a_seed_that_fails_once_and_not_again_is_no_success() {
    let seen = Arc::new(AtomicBool::new(false));
    let campaign = Campaign { first: 1, seeds: 2, threads: 1, options: Options::seed(0) };
    let error = search(&campaign, || FirstOnly(Arc::clone(&seen))).unwrap_err();
    let SearchError::NotReproducible { seed: 1, violations } = &error else { panic!("{error}") };
    assert!(violations[0].contains("seen once"), "{violations:?}");
    assert!(error.to_string().contains("seed 1"), "{error}");
}

/// Puts other records each time it is asked.
struct Whimsical(Arc<AtomicU64>);

impl Application for Whimsical {
    type Processor = Takes;

    fn processor(&self, _: &ShardStart, _: &Host) -> Takes {
        Takes
    }
    fn record(&self, _: u64, _: u64) -> NewRecord {
        NewRecord::new(format!("key-{}", self.0.fetch_add(1, Ordering::SeqCst)), Vec::new())
    }
    fn check(&self, _: &End<'_>) -> Vec<String> {
        Vec::new()
    }
}

#[test]
fn an_application_with_two_histories_of_one_seed_is_no_success() {
    let asked = Arc::new(AtomicU64::new(0));
    // One seed in a hundred is run twice: this one.
    let campaign = Campaign { first: 100, seeds: 1, threads: 1, options: Options::seed(0) };
    let error = search(&campaign, || Whimsical(Arc::clone(&asked))).unwrap_err();
    assert!(matches!(error, SearchError::NotReproducible { seed: 100, .. }), "{error}");
}

#[test]
fn runs_of_one_seed_at_one_time_do_not_hear_each_other() {
    let run = |_| {
        let orders = Orders { first: First::Effect, database: Default::default() };
        run_application(&Options::seed(0), orders).trace_hash()
    };
    let traces: Vec<u64> = std::thread::scope(|threads| {
        let running: Vec<_> = (0..6).map(|number| threads.spawn(move || run(number))).collect();
        running.into_iter().map(|running| running.join().unwrap()).collect()
    });
    assert!(traces.iter().all(|trace| trace == &traces[0]), "{traces:?}");
}
