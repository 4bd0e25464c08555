//! How long a plan takes.

use std::time::Duration;

use kcl_core::protocol::assign::{Load, Member, plan};
use kcl_core::protocol::{LeaseKey, WorkerId};
use kcl_core::{Clock, SystemClock};

use super::{Number, percentile};

const SHARDS: usize = 10_000;
const WORKERS: usize = 200;
const RUNS: usize = 15;

/// Plans 10,000 shards over 200 workers: from nothing, and after one worker has joined.
pub fn measure() -> Vec<Number> {
    let member = |number: usize| Member {
        id: WorkerId::from(format!("worker-{number:032x}")),
        draining: false,
        capacity: u32::MAX,
    };
    let members: Vec<_> = (0..WORKERS).map(member).collect();
    let load = |number: usize, owner: Option<usize>| Load {
        key: LeaseKey::from(format!("shardId-{number:012}")),
        owner: owner.map(|owner| members[owner].id.clone()),
        weight: 1,
    };
    let new: Vec<_> = (0..SHARDS).map(|number| load(number, None)).collect();
    // The last worker has just joined.
    let joined: Vec<_> =
        (0..SHARDS).map(|number| load(number, Some(number % (WORKERS - 1)))).collect();
    let mut numbers = Vec::new();
    for (what, loads) in [("all unowned", new), ("one worker joined", joined)] {
        let mut millis: Vec<f64> = (0..RUNS).map(|_| time(&members, &loads)).collect();
        let median = percentile(&mut millis, 0.5);
        let what = format!("plan {SHARDS} shards over {WORKERS} workers, {what} (median)");
        numbers.push(Number::new(what, median, "ms").goal("under 5 ms"));
    }
    numbers
}

fn time(members: &[Member], loads: &[Load]) -> f64 {
    let started = SystemClock.monotonic();
    let moves = plan(members, loads).moves.len();
    let took: Duration = SystemClock.monotonic().since(started);
    assert!(moves > 0, "there is something to plan");
    took.as_secs_f64() * 1000.0
}
