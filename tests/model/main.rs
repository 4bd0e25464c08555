//! The coordination protocol, explored exhaustively within the bounds of `docs/model.md`.

use std::time::Instant;

use kcl_testkit::model::{Case, cases};
use stateright::{Checker, Model};

#[test]
fn takeover() {
    explore(cases::takeover(ticks(5)));
}
#[test]
fn unequal() {
    explore(cases::unequal(ticks(5)));
}
#[test]
fn orphan() {
    explore(cases::orphan(ticks(5)));
}
#[test]
fn deleted() {
    explore(cases::deleted(ticks(4)));
}
#[test]
fn reborn() {
    explore(cases::reborn(ticks(4)));
}
#[test]
fn force() {
    explore(cases::force(ticks(4)));
}
#[test]
fn unheard() {
    explore(cases::unheard(ticks(4)));
}
#[test]
fn put_back() {
    explore(cases::put_back(ticks(4)));
}
#[test]
fn ask() {
    explore(cases::ask(ticks(3)));
}
#[test]
fn hand_over() {
    explore(cases::hand_over());
}
#[test]
fn data() {
    explore(cases::data());
}
#[test]
fn split() {
    explore(cases::split());
}
#[test]
fn merge() {
    explore(cases::merge());
}

fn ticks(usual: u64) -> u64 {
    std::env::var("T").ok().and_then(|t| t.parse().ok()).unwrap_or(usual)
}

fn explore(case: Case) {
    let name = case.name;
    let start = Instant::now();
    let done = case.checker().threads(2).spawn_dfs().join();
    eprintln!("{name}: {} unique states, {:?}", done.unique_state_count(), start.elapsed());
    for (promise, path) in done.discoveries() {
        eprintln!("{promise}: {:#?}", path.into_actions());
    }
    done.assert_properties();
}
