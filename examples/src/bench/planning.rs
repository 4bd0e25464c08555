//! How long a plan takes.

use std::time::Duration;

use kcl_core::protocol::assign::{Load, Member, Readiness, plan};
use kcl_core::protocol::{LeaseKey, Reads, WorkerId, hash};
use kcl_core::{Clock, SystemClock};

use super::{Number, percentile};

const SHARDS: usize = 10_000;
const WORKERS: usize = 200;
const RUNS: usize = 15;
/// In the fleets with weights, each lease weighs from 1 to this.
const HEAVIEST: u64 = 1_000;
/// In the fleets with little room, each worker holds at most its share.
const ROOM: u32 = 50;

/// Plans 10,000 shards over 200 workers: from nothing, after one worker has joined, and with all
/// of them held by 1, 10 and 100; the same with weights, and with little room.
pub fn measure() -> Vec<Number> {
    let fleets = [
        ("all unowned", 0),
        ("one worker joined", WORKERS - 1),
        ("1 owner", 1),
        ("10 owners", 10),
        ("100 owners", 100),
    ];
    let kinds =
        [("", 1, u32::MAX), (", weights", HEAVIEST, u32::MAX), (", room for its share", 1, ROOM)];
    let mut numbers = Vec::new();
    for (kind, heaviest, capacity) in kinds {
        for (fleet, owners) in fleets {
            let members = members(capacity);
            let loads = loads(&members, owners, heaviest);
            let mut millis: Vec<f64> = (0..RUNS).map(|_| time(&members, &loads)).collect();
            let median = percentile(&mut millis, 0.5);
            let what =
                format!("plan {SHARDS} shards over {WORKERS} workers, {fleet}{kind} (median)");
            numbers.push(Number::new(what, median, "ms").goal("under 5 ms"));
        }
    }
    numbers
}

fn members(capacity: u32) -> Vec<Member> {
    let member = |number: usize| Member {
        id: WorkerId::from(format!("worker-{number:032x}")),
        draining: false,
        capacity,
        reads: Reads::TheOne,
    };
    (0..WORKERS).map(member).collect()
}

/// Leases held evenly by the first `owners` workers; by nobody if that is 0.
fn loads(members: &[Member], owners: usize, heaviest: u64) -> Vec<Load> {
    let load = |number: usize| Load {
        key: LeaseKey::from(format!("shardId-{number:012}")),
        owner: (owners > 0).then(|| members[number % owners].id.clone()),
        weight: 1 + hash::mix(number as u64) % heaviest,
        readiness: Readiness::Ready,
    };
    (0..SHARDS).map(load).collect()
}

fn time(members: &[Member], loads: &[Load]) -> f64 {
    let started = SystemClock.monotonic();
    let moves = plan(members, loads).moves.len();
    let took: Duration = SystemClock.monotonic().since(started);
    assert!(moves > 0, "there is something to plan");
    took.as_secs_f64() * 1000.0
}
