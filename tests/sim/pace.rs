//! How slow this machine is beside the one that the gate's limit is for: maps, strings and small
//! allocations, as in a simulation, on two threads at once.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use kcl_core::protocol::hash::mix;

use crate::stopwatch;

/// What the work takes where the gate takes 250 s.
const REFERENCE: Duration = Duration::from_millis(290);

const TRIES: usize = 5;

/// 1 on a machine as fast as the reference or faster, 2 on one half as fast.
pub fn slowness() -> f64 {
    let mut took: Vec<_> = (0..TRIES).map(|_| try_once()).collect();
    took.sort();
    (took[TRIES / 2].as_secs_f64() / REFERENCE.as_secs_f64()).max(1.0)
}

fn try_once() -> Duration {
    let start = stopwatch();
    thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| std::hint::black_box(work()));
        }
    });
    start.elapsed()
}

fn work() -> usize {
    let mut map = BTreeMap::new();
    for number in 0..200_000_u64 {
        map.insert(format!("{:016x}", mix(number)), vec![0_u8; 64]);
        if number.is_multiple_of(3) {
            map.pop_first();
        }
    }
    map.len()
}
