//! Many seeds, on several threads, and what they came to.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use super::application::{Application, run_application};
use super::failure::{Failure, SearchError};
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
    pub failed: Vec<Failed>,
    /// Seeds that were run twice, one in a hundred, and differed.
    pub not_reproducible: Vec<u64>,
    /// Folded over the outlines of all runs; see [`Report::outline_hash`].
    pub trace_hash: u64,
}

/// A run that broke a property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// Its seed.
    pub seed: u64,
    /// What it broke, for people.
    pub violations: Vec<String>,
}

/// One in so many seeds is run twice, and must give the same history.
const TWICE_EVERY: u64 = 100;

/// Simulates every seed; `progress` hears of each. No histories are kept, for memory's sake.
pub fn simulate(campaign: &Campaign, progress: impl FnMut(&Outcome)) -> Outcome {
    simulate_each(campaign, run, progress)
}

/// Simulates a user's application under seed after seed, a new one from `make` for each. The first
/// failing seed, with as few faults as can be found, is the error.
///
/// # Errors
/// [`SearchError::Fails`] if a seed fails, and [`SearchError::NotReproducible`] if one does not
/// come to the same when it is run again.
pub fn search<A: Application>(
    campaign: &Campaign,
    make: impl Fn() -> A + Sync,
) -> Result<Outcome, SearchError> {
    let one = |options: &Options| run_application(options, make());
    let outcome = simulate_each(campaign, one, |_| ());
    if let Some(failed) = outcome.failed.iter().min_by_key(|failed| failed.seed) {
        let options = Options { seed: failed.seed, ..campaign.options.clone() };
        let Failed { seed, violations } = failed.clone();
        return Err(match Failure::shrunk(&options, one) {
            Some(failure) => SearchError::Fails(Box::new(failure)),
            None => SearchError::NotReproducible { seed, violations },
        });
    }
    match outcome.not_reproducible.iter().min() {
        Some(&seed) => Err(SearchError::NotReproducible { seed, violations: Vec::new() }),
        None => Ok(outcome),
    }
}

fn simulate_each(
    campaign: &Campaign,
    run: impl Fn(&Options) -> Report + Sync,
    mut progress: impl FnMut(&Outcome),
) -> Outcome {
    let next = AtomicU64::new(campaign.first);
    let end = campaign.first + campaign.seeds;
    let (sender, receiver) = mpsc::sync_channel::<Finished>(campaign.threads);
    let mut outcome = Outcome::default();
    std::thread::scope(|scope| {
        for _ in 0..campaign.threads {
            let (sender, next, run) = (sender.clone(), &next, &run);
            scope.spawn(move || {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end || sender.send(one(campaign, run, seed)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        for finished in receiver {
            outcome.add(&finished);
            progress(&outcome);
        }
    });
    outcome
}

/// One seed's run, without its history.
struct Finished {
    report: Report,
    outline: u64,
    /// It was run twice, and its histories differ.
    differs: bool,
}

fn one(campaign: &Campaign, run: impl Fn(&Options) -> Report, seed: u64) -> Finished {
    let options = Options { seed, ..campaign.options.clone() };
    let mut report = run(&options);
    let outline = report.outline_hash();
    let is_run_twice = seed.is_multiple_of(TWICE_EVERY);
    let differs = is_run_twice && report.trace_hash() != run(&options).trace_hash();
    report.history = Vec::new();
    Finished { report, outline, differs }
}

impl Outcome {
    fn add(&mut self, finished: &Finished) {
        let Finished { report, outline, differs } = finished;
        self.seeds += 1;
        self.simulated += report.simulated;
        self.records += report.records;
        for (kind, count) in &report.faults {
            *self.faults.entry(*kind).or_default() += count;
        }
        // Order of arrival must not matter.
        self.trace_hash ^= outline;
        if *differs {
            self.not_reproducible.push(report.seed);
        }
        if !report.violations.is_empty() {
            let violations = report.violations.iter().map(ToString::to_string).collect();
            self.failed.push(Failed { seed: report.seed, violations });
        }
    }
    /// Takes in what came of other seeds.
    pub fn merge(&mut self, other: Self) {
        self.seeds += other.seeds;
        self.simulated += other.simulated;
        self.records += other.records;
        for (kind, count) in other.faults {
            *self.faults.entry(kind).or_default() += count;
        }
        self.failed.extend(other.failed);
        self.not_reproducible.extend(other.not_reproducible);
        self.trace_hash ^= other.trace_hash;
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
