//! A worker that stands still, how long, and what becomes of its connections.

use super::*;
use crate::sim::clock::SimClock;
use crate::sim::run::{Options, runtime};
use crate::sim::world::World;

/// Seconds for which the worker stands still after this has befallen it, and how often its
/// connections were cut meanwhile.
fn stands_still(befalls: impl Fn(&mut Place)) -> (u64, u64) {
    let options = Options { workers: 1, shards: 1, faults: Duration::ZERO, ..Options::seed(0) };
    let clock = SimClock::default();
    runtime(&clock).block_on(async {
        let World { yard, mut places, .. } = World::new(&options, None, clock).await;
        let place = &mut places[0];
        assert_eq!(place.tend(&yard, false).await, Vec::<String>::new());
        yard.clock.sleep(Duration::from_secs(1)).await;
        let gate = place.worker.as_ref().unwrap().gate.clone();
        befalls(place);
        let mut seconds = 0;
        place.tend(&yard, false).await;
        while !gate.is_open() {
            yard.clock.sleep(Duration::from_secs(1)).await;
            seconds += 1;
            place.tend(&yard, false).await;
        }
        (seconds, gate.connections())
    })
}

#[test]
fn a_worker_stands_still_for_as_long_as_is_drawn_and_one_that_sleeps_is_cut_off() {
    assert_eq!(stands_still(|_| ()), (0, 0));
    for seconds in [1, 7] {
        assert_eq!(stands_still(|place| place.pause(seconds)), (seconds, 0));
        assert_eq!(stands_still(|place| place.suspend(seconds)), (seconds, 1));
    }
}
