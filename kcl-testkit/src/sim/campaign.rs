//! Many seeds, on several threads, and what they came to.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::Duration;

use super::faults::Kind;
use super::run::{Options, Report, run};

/// Seeds to simulate.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// The first seed.
    pub first: u64,
    /// How many.
    pub seeds: u64,
    /// Threads, each with one simulation at a time.
    pub threads: usize,
    /// What every run has in common; the seed is replaced.
    pub options: Options,
}

/// What a campaign came to.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Seeds simulated.
    pub seeds: u64,
    /// Simulated time of all.
    pub simulated: Duration,
    /// How often each kind of fault struck.
    pub faults: BTreeMap<Kind, usize>,
    /// Records put.
    pub records: usize,
    /// Runs that broke a property.
    pub failed: Vec<Report>,
    /// Seeds that were run twice, one in a hundred, and differed.
    pub not_reproducible: Vec<u64>,
    /// Folded over the seeds that were run twice.
    pub trace_hash: u64,
}

/// One in so many seeds is run twice, and must give the same history.
const TWICE_EVERY: u64 = 100;

/// Simulates every seed; `progress` hears of each. Reports keep no histories, for memory's sake.
pub fn simulate(campaign: &Campaign, mut progress: impl FnMut(&Outcome)) -> Outcome {
    let next = AtomicU64::new(campaign.first);
    let end = campaign.first + campaign.seeds;
    let (sender, receiver) = mpsc::sync_channel::<(Report, Option<(u64, u64)>)>(campaign.threads);
    let outcome = Mutex::new(Outcome::default());
    std::thread::scope(|scope| {
        for _ in 0..campaign.threads {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end || sender.send(one(campaign, seed)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        for (report, twice) in receiver {
            let mut outcome = outcome.lock().unwrap_or_else(PoisonError::into_inner);
            outcome.add(report, twice);
            progress(&outcome);
        }
    });
    outcome.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn one(campaign: &Campaign, seed: u64) -> (Report, Option<(u64, u64)>) {
    let options = Options { seed, ..campaign.options.clone() };
    let mut report = run(&options);
    let twice =
        seed.is_multiple_of(TWICE_EVERY).then(|| (report.trace_hash(), run(&options).trace_hash()));
    report.history = Vec::new();
    (report, twice)
}

impl Outcome {
    fn add(&mut self, report: Report, twice: Option<(u64, u64)>) {
        self.seeds += 1;
        self.simulated += report.simulated;
        self.records += report.records;
        for (kind, count) in &report.faults {
            *self.faults.entry(*kind).or_default() += count;
        }
        if let Some((first, second)) = twice {
            // Order of arrival must not matter.
            self.trace_hash ^= first;
            if first != second {
                self.not_reproducible.push(report.seed);
            }
        }
        if !report.violations.is_empty() {
            self.failed.push(report);
        }
    }
    /// How often this kind struck.
    pub fn count(&self, kind: Kind) -> usize {
        self.faults.get(&kind).copied().unwrap_or(0)
    }
    /// Nothing broke, and every run that was repeated came out the same.
    pub fn is_good(&self) -> bool {
        self.failed.is_empty() && self.not_reproducible.is_empty()
    }
}

/// Leaves out faults of a failing run as long as it still fails: halves first, then single ones,
/// with at most so many runs. The faults that are left.
pub fn shrink(options: &Options, report: &Report, most_runs: usize) -> Vec<(Kind, u64)> {
    let mut left = report.struck.clone();
    let mut without = options.without.clone();
    let mut runs = 0;
    let mut size = left.len().div_ceil(2);
    while size > 0 && runs < most_runs {
        let mut at = 0;
        let mut removed = false;
        while at < left.len() && runs < most_runs {
            let end = (at + size).min(left.len());
            let mut candidate = without.clone();
            candidate.extend(left[at..end].iter().map(|(_, id)| *id));
            let tried = run(&Options { without: candidate.clone(), ..options.clone() });
            runs += 1;
            if tried.violations.is_empty() {
                at = end;
            } else {
                // Without these other faults may strike: go on with what struck this time.
                left = tried.struck;
                without = candidate;
                removed = true;
            }
        }
        size = if removed { size.min(left.len().div_ceil(2)) } else { size / 2 };
        if size == 1 && !removed {
            break;
        }
    }
    left
}

/// Keeps the panics that simulations make on purpose from being printed.
pub fn silence_simulated_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let message = info.payload().downcast_ref::<&str>();
        if !message.is_some_and(|message| message.starts_with("simulated panic")) {
            usual(info);
        }
    }));
}
