//! A failing seed, with as few faults as can be found.

use std::fmt;

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

/// A failing seed is shrunk with at most so many runs.
const MOST_RUNS: usize = 60;
/// So many violations and faults are named to people.
const NAMED: usize = 12;

impl Failure {
    /// Runs the options, and if they fail leaves out faults as long as they still do: halves
    /// first, then single ones.
    pub fn shrunk(options: &Options, run: impl Fn(&Options) -> Report) -> Option<Self> {
        let mut best = Self::of(options.clone(), run(options))?;
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
                // Without these other faults may strike: go on with what struck this time.
                match Self::of(fewer, tried) {
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

    /// The options with all faults, as code.
    pub fn whole(&self) -> String {
        let Options { seed, workers, shards, faults, .. } = &self.options;
        let usual = Options::seed(*seed);
        if (*workers, *shards, *faults) == (usual.workers, usual.shards, usual.faults) {
            return format!("Options::seed({seed})");
        }
        let faults = format!("Duration::from_secs({})", faults.as_secs());
        let fields = format!("workers: {workers}, shards: {shards}, faults: {faults}");
        format!("Options {{ {fields}, ..Options::seed({seed}) }}")
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
