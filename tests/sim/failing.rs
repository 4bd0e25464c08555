//! What becomes of a seed that fails: fewer faults, the same promise broken, and all that is needed
//! to run it again.

use std::time::Duration;

use kcl_core::protocol::{Mutant, Rules};
use kcl_testkit::sim::{Failure, Options, run, silence_simulated_panics};

#[test]
fn a_failing_seed_is_shrunk_to_fewer_faults_that_break_the_same_promise() {
    silence_simulated_panics();
    let options = Options { rules: Rules::breaking(Mutant::LiveLeaseTaken), ..Options::seed(0) };
    let whole = run(&options);
    let first = whole.violations[0].property;
    let failure = Failure::shrunk(&options, run).unwrap();
    let (few, all) = (failure.faults.len(), whole.struck.len());
    assert!(few * 4 < all, "{few} of {all} faults are left");
    assert_eq!(failure.property(), first);
    assert!(failure.violations.iter().any(|violation| violation.property == first));

    // The options alone make it fail again, just so; also once they were in a file.
    let json = serde_json::Value::Object(failure.options.to_json());
    let read = Options::from_json(&json).unwrap();
    assert_eq!(Options { rules: options.rules, ..read.clone() }, failure.options);
    let again = run(&Options { rules: options.rules, ..read });
    assert_eq!(
        (again.violations, again.struck),
        (failure.violations.clone(), failure.faults.clone())
    );
    // And it is the rule that fails, not the faults.
    assert_eq!(run(&Options { rules: Rules::ALL, ..failure.options.clone() }).violations, []);

    let told = failure.to_string();
    let lines = [
        "seed 0 fails:".to_owned(),
        format!("  {first} broken at "),
        format!("with these {few} faults alone:"),
        "to run it again with all its faults: Options::seed(0)".to_owned(),
    ];
    for line in lines {
        assert!(told.contains(&line), "{line} is missing in {told}");
    }
    let test = "#[test]\nfn seed_0() {\n    assert_eq!(run(&Options::seed(0)).violations, []);\n}";
    assert_eq!(failure.test(), test);
}

#[test]
fn a_seed_that_keeps_every_promise_is_no_failure() {
    silence_simulated_panics();
    assert!(Failure::shrunk(&Options::seed(1), run).is_none());
}

#[test]
fn a_run_of_another_fleet_is_written_down_whole() {
    let options = Options {
        workers: 3,
        rate: 7,
        faults: Duration::from_secs(60),
        healing: Duration::from_secs(90),
        without: vec![4],
        ..Options::seed(9)
    };
    let failure = Failure { options, violations: Vec::new(), faults: Vec::new() };
    let whole = "Options { workers: 3, rate: 7, faults: Duration::from_secs(60), \
                 healing: Duration::from_secs(90), ..Options::seed(9) }";
    assert_eq!(failure.whole(), whole);
}
