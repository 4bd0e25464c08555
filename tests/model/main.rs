//! The coordination protocol, explored exhaustively within the bounds of `docs/model.md`.
//!
//! `MODEL_QUICK=1`, or a build without optimisation, explores smaller bounds. `KCL_GATES=1` also
//! asserts how long it takes.

mod mutants;

use std::hash::Hash;
use std::time::{Duration, Instant};

use kcl_protocol::Rules;
use kcl_testkit::model::checks::{MOVES, P3};
use kcl_testkit::model::latest::FirstSync;
use kcl_testkit::model::outage::{AWAY, Fleet};
use kcl_testkit::model::{Case, cases};
use stateright::{Checker, DiscoveryClassification, Expectation, HasDiscoveries, Model};

/// How many states all cases together must visit to be worth the name.
const STATES: usize = 5_000_000;

/// How long that may take, where `KCL_GATES` is set.
const LONGEST: Duration = Duration::from_secs(150);

#[test]
fn every_promise_holds_in_every_case() {
    let start = stopwatch();
    let clockless = [
        cases::hand_over(),
        cases::data(),
        cases::split(),
        cases::merge(),
        cases::merge_of_child(),
    ];
    let timed = [
        cases::takeover(size(4, 6)),
        cases::takeover_twice(size(3, 4)),
        cases::unequal(size(4, 7)),
        cases::orphan(size(3, 4)),
        cases::deleted(size(3, 4)),
        cases::reborn(size(2, 3)),
        cases::force(size(3, 5)),
        cases::slow_force(size(3, 4)),
        cases::force_twice(size(2, 3)),
        cases::force_or_grant(size(2, 4)),
        cases::unheard(size(3, 5)),
        cases::put_back(size(3, 4)),
        cases::ask(size(2, 4)),
    ];
    let mut states: usize =
        clockless.into_iter().chain(timed).map(|case: Case| explore(case.name, case)).sum();
    states += explore("outage of two", Fleet::outage(2, 9, 9, size(9, 14)));
    states += explore("outage of three", Fleet::outage(3, 6, 6, size(3, 6)));
    states += explore("unanswered", Fleet::unheard(3, 3));
    states += explore("latest", FirstSync { workers: 3, records: 3, rules: Rules::ALL });
    println!("| all | {states} | {:.1} s |", start.elapsed().as_secs_f64());
    assert!(is_quick() || states >= STATES, "only {states} states");
    // Times are for a machine that does nothing else.
    let is_timed = !is_quick() && std::env::var("KCL_GATES").is_ok_and(|on| on == "1");
    assert!(!is_timed || start.elapsed() < LONGEST, "it took {:?}", start.elapsed());
}

/// Clocks that run apart are in the model, and slack is what makes up for them: without it, a clock
/// that misses one tick lets two workers act on one lease, taken or forced.
#[test]
fn a_clock_that_misses_a_tick_breaks_p3_without_slack() {
    for case in [cases::takeover(4), cases::slow_force(4)] {
        let name = case.name;
        assert_eq!(breaks(&case, 0, 1), Some(P3), "{name}");
        assert_eq!(breaks(&case, 0, 0), None, "{name}: without slack, with true clocks");
        assert_eq!(breaks(&case, 1, 1), None, "{name}: with slack");
    }
}

/// The promise that breaks first with so much slack and so many ticks missed.
fn breaks(case: &Case, slack: u32, drifts: u8) -> Option<&'static str> {
    let mut case = case.clone();
    (case.slack, case.budget.drifts) = (slack, drifts);
    let done = case.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let found = done.discoveries().into_iter().filter(|(promise, _)| is_broken(&done, promise));
    found.map(|(promise, path)| (path.into_actions().len(), promise)).min().map(|it| it.1)
}

/// True if what was found breaks a promise; else it is an example of what must come about.
fn is_broken<M: Model>(done: &impl Checker<M>, found: &str) -> bool {
    matches!(done.discovery_classification(found), DiscoveryClassification::Counterexample)
}

/// How long the exploration itself takes; nothing in a model knows of it.
#[allow(clippy::disallowed_methods)]
fn stopwatch() -> Instant {
    Instant::now()
}

fn is_quick() -> bool {
    cfg!(debug_assertions) || std::env::var_os("MODEL_QUICK").is_some()
}

fn size(quick: u64, usual: u64) -> u64 {
    if is_quick() { quick } else { usual }
}

/// Depth first, which needs little memory. Gives the number of unique states. Nothing may be
/// broken, and what must come about for that to mean something has to be found.
fn explore<M>(name: &str, model: M) -> usize
where
    M: Model + Send + Sync + 'static,
    M::State: std::fmt::Debug + Clone + Hash + PartialEq + Send + Sync,
    M::Action: std::fmt::Debug + Clone + PartialEq + Send + Sync,
{
    let start = stopwatch();
    let done =
        model.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_dfs().join();
    let states = done.unique_state_count();
    println!("| {name} | {states} | {:.1} s |", start.elapsed().as_secs_f64());
    for property in done.model().properties() {
        let found = done.discovery(property.name);
        match property.expectation {
            // In so few ticks no lease can move in some cases, nor every validity run out.
            Expectation::Sometimes if is_quick() && [MOVES, AWAY].contains(&property.name) => {}
            Expectation::Sometimes => {
                assert!(found.is_some(), "{name}: never seen: {}", property.name)
            }
            _ => assert!(found.is_none(), "{name}: {}: {found:?}", property.name),
        }
    }
    states
}
