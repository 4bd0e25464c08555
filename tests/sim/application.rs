//! The example of a user's own processor: the one with the bug is caught, the other is not.

use kcl_testkit::sim::{Campaign, Options, search};

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
