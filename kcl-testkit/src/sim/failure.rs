//! A failing seed, with as few faults as can be found.

use std::fmt;
use std::time::Duration;

use super::faults::Struck;
use super::run::{Options, Report};
use crate::history::Violation;

/// A run that breaks a property.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What to run again; it leaves out all faults that are not needed.
    pub options: Options,
    /// What breaks then.
    pub violations: Vec<Violation>,
    /// The faults that are left, in order.
    pub faults: Vec<Struck>,
}

/// Why a search for a failing seed did not find all well.
#[derive(Clone, Debug)]
pub enum SearchError {
    /// A seed fails.
    Fails(Box<Failure>),
    /// A seed came to something else when it was run again: the application goes by something that
    /// is not simulated (a clock, a thread, a socket, a random number of its own, or what another
    /// run left behind).
    NotReproducible {
        /// Which.
        seed: u64,
        /// What it broke the first time, for people.
        violations: Vec<String>,
    },
}

impl fmt::Display for SearchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fails(failure) => failure.fmt(f),
            Self::NotReproducible { seed, violations } => {
                write!(f, "seed {seed} came to something else when it was run again")?;
                violations.iter().try_for_each(|violation| write!(f, "\n  first: {violation}"))
            }
        }
    }
}

impl std::error::Error for SearchError {}

/// A failing seed is shrunk with at most so many runs.
const MOST_RUNS: usize = 60;
/// So many violations and faults are named to people.
const NAMED: usize = 12;

impl Failure {
    /// Runs the options, and if they fail leaves out faults as long as the property that broke
    /// first still does: halves first, then single ones.
    pub fn shrunk(options: &Options, run: impl Fn(&Options) -> Report) -> Option<Self> {
        let mut best = Self::of(options.clone(), run(options))?;
        let property = best.property();
        let mut runs = 0;
        let mut size = best.faults.len().div_ceil(2);
        while size > 0 && runs < MOST_RUNS {
            let mut at = 0;
            let mut removed = false;
            while at < best.faults.len() && runs < MOST_RUNS {
                let end = (at + size).min(best.faults.len());
                let mut fewer = best.options.clone();
                fewer.without.extend(best.faults[at..end].iter().map(|struck| struck.id));
                let tried = run(&fewer);
                runs += 1;
                // Without these the same is drawn, but for requests that may be others: go on with
                // what struck this time.
                match Self::of(fewer, tried).filter(|failure| failure.breaks(property)) {
                    Some(failure) => (best, removed) = (failure, true),
                    None => at = end,
                }
            }
            if size == 1 && !removed {
                break;
            }
            size = if removed { size.min(best.faults.len().div_ceil(2)) } else { size / 2 };
        }
        Some(best)
    }

    /// The property that broke first.
    pub fn property(&self) -> &'static str {
        self.violations.first().map_or("", |violation| violation.property)
    }

    /// The options with all faults, as code; what a seed has anyway is left out.
    pub fn whole(&self) -> String {
        let Options { seed, workers, shards, rate, faults, healing, .. } = &self.options;
        let usual = Options::seed(*seed);
        let seconds = |time: &Duration| format!("Duration::from_secs({})", time.as_secs());
        let fields = [
            (*workers != usual.workers).then(|| format!("workers: {workers}")),
            (*shards != usual.shards).then(|| format!("shards: {shards}")),
            (*rate != usual.rate).then(|| format!("rate: {rate}")),
            (*faults != usual.faults).then(|| format!("faults: {}", seconds(faults))),
            (*healing != usual.healing).then(|| format!("healing: {}", seconds(healing))),
        ];
        let fields: Vec<_> = fields.into_iter().flatten().collect();
        if fields.is_empty() {
            return format!("Options::seed({seed})");
        }
        format!("Options {{ {}, ..Options::seed({seed}) }}", fields.join(", "))
    }

    /// A test to keep: it fails as long as the seed does.
    pub fn test(&self) -> String {
        let (seed, whole) = (self.options.seed, self.whole());
        format!("#[test]\nfn seed_{seed}() {{\n    assert_eq!(run(&{whole}).violations, []);\n}}")
    }

    fn breaks(&self, property: &str) -> bool {
        self.violations.iter().any(|violation| violation.property == property)
    }

    fn of(options: Options, report: Report) -> Option<Self> {
        let (violations, faults) = (report.violations, report.struck);
        (!violations.is_empty()).then_some(Self { options, violations, faults })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {} fails:", self.options.seed)?;
        for violation in self.violations.iter().take(NAMED) {
            writeln!(f, "  {violation}")?;
        }
        more(f, self.violations.len())?;
        writeln!(f, "with these {} faults alone:", self.faults.len())?;
        for struck in self.faults.iter().take(NAMED) {
            writeln!(f, "{struck}")?;
        }
        more(f, self.faults.len())?;
        write!(f, "to run it again with all its faults: {}", self.whole())
    }
}

fn more(f: &mut fmt::Formatter<'_>, all: usize) -> fmt::Result {
    match all.checked_sub(NAMED) {
        None | Some(0) => Ok(()),
        Some(more) => writeln!(f, "  and {more} more"),
    }
}
