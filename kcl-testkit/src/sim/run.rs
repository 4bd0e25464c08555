//! One run of one seed, from a value to a value.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kcl_core::protocol::{Rules, hash};

use super::alone::Alone;
use super::clock::SimClock;
use super::faults::{Kind, Struck};
use super::work::Work;
use super::world::World;
use crate::history::{Entry, Violation, What};

/// What to simulate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Everything follows from it.
    pub seed: u64,
    /// Places in the fleet.
    pub workers: usize,
    /// Shards at the start.
    pub shards: u32,
    /// Records put a second and shard.
    pub rate: u32,
    /// How long faults strike.
    pub faults: Duration,
    /// How long the fleet has to heal.
    pub healing: Duration,
    /// Faults to leave out, by number.
    pub without: Vec<u64>,
    /// The rules that every worker follows; one is broken only to prove that the checks notice.
    pub rules: Rules,
}

impl Options {
    /// The usual run: 5 workers, 20 shards, 5 records a second and shard, 120 s of faults and
    /// 150 s of healing.
    pub fn seed(seed: u64) -> Self {
        Self {
            seed,
            workers: 5,
            shards: 20,
            rate: 5,
            faults: Duration::from_secs(120),
            healing: Duration::from_secs(150),
            without: Vec::new(),
            rules: Rules::ALL,
        }
    }
}

/// What became of it.
#[derive(Clone, Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Broken properties; none is what we want.
    pub violations: Vec<Violation>,
    /// How often each kind of fault struck.
    pub faults: BTreeMap<Kind, usize>,
    /// What struck, in order.
    pub struck: Vec<Struck>,
    /// Records put.
    pub records: usize,
    /// Simulated time.
    pub simulated: Duration,
    /// Everything that happened.
    pub history: Vec<Entry>,
}

impl Report {
    /// Everything that happened, and the faults among it: one line each, in order. What was put
    /// into the stream is left out, for its length.
    pub fn timeline(&self) -> Vec<String> {
        let happened = self.history.iter().filter(|entry| !matches!(entry.what, What::Put { .. }));
        let happened = happened.map(|entry| (entry.at, entry.to_string()));
        let struck = self.struck.iter().map(|struck| (struck.at, struck.to_string()));
        let mut lines: Vec<_> = struck.chain(happened).collect();
        lines.sort_by_key(|(at, _)| *at);
        lines.into_iter().map(|(_, line)| line).collect()
    }
    /// A number that is the same for runs in which the same kinds of things happened at the same
    /// times. Fast: it leaves out their words.
    pub fn outline_hash(&self) -> u64 {
        let fold = |outline: u64, entry: &Entry| {
            let kind = entry.what.kind();
            hash::mix(outline ^ entry.at.as_nanos().rotate_left(8) ^ kind)
        };
        self.history.iter().fold(self.seed, fold)
    }
    /// A number that is the same for equal histories. Slow: it looks at every entry.
    pub fn trace_hash(&self) -> u64 {
        let fold = |trace, entry: &Entry| hash::of_bytes(trace, format!("{entry:?}").as_bytes());
        self.history.iter().fold(0, fold)
    }
}

/// Runs a simulation to its end, on this thread.
///
/// # Panics
/// If no runtime can be made.
pub fn run(options: &Options) -> Report {
    run_work(options, None)
}

/// Runs a simulation of this work, or of the harness's own.
pub(super) fn run_work(options: &Options, work: Option<Arc<dyn Work>>) -> Report {
    let _alone = Alone::with(options.seed);
    let clock = SimClock::default();
    runtime(&clock).block_on(async { World::new(options, work, clock).await.run().await })
}

/// One that refreshes this clock.
pub(super) fn runtime(clock: &SimClock) -> tokio::runtime::Runtime {
    let woken = clock.clone();
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .on_thread_unpark(move || woken.refresh())
        .build()
        .unwrap_or_else(|error| panic!("a runtime needs memory and no more: {error}"))
}

#[cfg(test)]
mod tests {
    use kcl_core::Event;
    use kcl_core::event::EventKind;
    use kcl_core::protocol::{Moment, WorkerId};

    use super::*;

    fn outline(kind: EventKind, at: u64) -> u64 {
        let at = Moment(Duration::from_secs(at));
        let what = What::Event(Event { worker: WorkerId::new("w"), at, kind });
        let history = vec![Entry { at, what }];
        let (seed, records, simulated) = (1, 0, Duration::ZERO);
        let (violations, faults, struck) = Default::default();
        Report { seed, violations, faults, struck, records, simulated, history }.outline_hash()
    }

    #[test]
    fn an_outline_tells_what_happened_and_when() {
        let registered = outline(EventKind::Registered, 1);
        assert_eq!(registered, outline(EventKind::Registered, 1));
        assert_ne!(registered, outline(EventKind::Deregistered, 1));
        assert_ne!(registered, outline(EventKind::Registered, 2));
    }
}
