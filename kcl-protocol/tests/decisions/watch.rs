//! Whose heartbeat stood still for how long.

use std::time::Duration;

use kcl_protocol::watch::{fence, fence_reaped, put_missing};
use kcl_protocol::{
    ConditionalWrite, Holdings, LeaseTiming, Liveness, Row, Watch, WorkerRow, WorkerState,
    WorkerWrite,
};

use super::{TIMING, id, ms, row, told};

/// A worker whose own heartbeats are answered at this moment.
fn judge(now: u64) -> Liveness {
    let mut life = Liveness::registered(TIMING, ms(0), ms(0));
    for (count, at) in (1..).map(|beat| (beat + 1, beat * 1000)).take_while(|(_, at)| *at <= now) {
        life.beat_answered(&row("me", count), ms(at), ms(at), &mut Holdings::default());
    }
    life
}

fn fences(watch: &mut Watch, now: u64) -> Vec<WorkerWrite> {
    watch.fences(&id("me"), &judge(now), ms(now))
}

#[test]
fn a_heartbeat_that_stood_still_for_its_owners_own_time_is_fenced() {
    let mut watch = Watch::default();
    watch.observe(&row("p", 5), ms(100));
    watch.observe(&row("p", 5), ms(900));
    let slow = LeaseTiming::new(Duration::from_secs(30), Duration::ZERO);
    watch.observe(&WorkerRow::live(id("slow"), slow), ms(100));
    assert_eq!(watch.next_check(&id("me")), Some(ms(3103)));
    assert_eq!(fences(&mut watch, 3102), []);
    assert_eq!(fences(&mut watch, 3103), [fence(&id("p"), 5)]);
}

#[test]
fn a_new_heartbeat_starts_a_new_window() {
    let mut watch = Watch::default();
    watch.observe(&row("p", 5), ms(100));
    watch.observe(&row("p", 6), ms(1100));
    assert_eq!(fences(&mut watch, 4102), []);
    assert_eq!(fences(&mut watch, 4103), [fence(&id("p"), 6)]);
}

#[test]
fn nobody_judges_itself_or_the_dead_or_the_forgotten() {
    let mut watch = Watch::default();
    for name in ["me", "dead", "gone"] {
        watch.observe(&row(name, 1), ms(0));
    }
    watch.observe(&WorkerRow { state: WorkerState::Fenced, ..row("dead", 1) }, ms(100));
    watch.forget(&id("gone"));
    assert_eq!(watch.next_check(&id("me")), None);
    assert_eq!(fences(&mut watch, 9000), []);
}

#[test]
fn an_interrupted_judge_starts_all_windows_anew() {
    let mut watch = Watch::default();
    watch.observe(&row("p", 5), ms(0));
    let life = judge(1000);
    assert_eq!(watch.fences(&id("me"), &life, ms(2999)), []);
    assert!(watch.next_check(&id("me")).is_some());
    assert_eq!(watch.fences(&id("me"), &life, ms(3000)), []);
    assert_eq!(watch.next_check(&id("me")), None, "what it saw before counts no more");
    watch.observe(&row("p", 5), ms(3500));
    assert_eq!(fences(&mut watch, 6000), []);
    watch.restart();
    assert_eq!(fences(&mut watch, 9000), []);
}

#[test]
fn a_fence_applies_only_while_the_heartbeat_stands_and_the_worker_is_not_dead() {
    let write = fence(&id("p"), 5);
    assert_eq!(told(&write, &row("p", 5)).unwrap().state, WorkerState::Fenced);
    assert_eq!(told(&write, &row("p", 6)), None);
    let missing = WorkerRow { state: WorkerState::Missing, ..row("p", 5) };
    assert_eq!(told(&write, &missing).unwrap().state, WorkerState::Fenced);
    assert_eq!(told(&write, &WorkerRow { state: WorkerState::Gone, ..row("p", 5) }), None);
}

#[test]
fn a_reaped_worker_is_fenced_at_once_but_one_that_left_stays_gone() {
    let write = fence_reaped(&id("p"));
    assert_eq!(told(&write, &row("p", 77)).unwrap().state, WorkerState::Fenced);
    assert_eq!(told(&write, &WorkerRow { state: WorkerState::Gone, ..row("p", 5) }), None);
}

#[test]
fn a_row_put_for_a_missing_worker_is_watched_by_the_longest_times_known() {
    let longest = (Duration::from_secs(9), Duration::from_millis(250));
    let put = ConditionalWrite::Worker(put_missing(&id("p"), 99, longest.0, longest.1));
    let made = put.apply(None).unwrap().and_then(Row::into_worker).unwrap();
    assert_eq!((made.state, made.heartbeat), (WorkerState::Missing, 99));
    assert_eq!(made.timing().take(), Duration::from_millis(9009 + 250));
    assert!(put.apply(Some(&Row::Worker(made))).is_err(), "a row that exists stays");
}
