//! The time within which P6 promises a healed fleet is judged too, not the end of a run alone.

use std::time::Duration;

use kcl_core::protocol::Moment;
use kcl_core::{Config, ShardStart};
use kcl_testkit::sim::{
    Application, End, Host, Options, run_application, silence_simulated_panics,
};

use crate::application::Takes;

/// Takes whatever comes, in a fleet whose rounds are this far apart.
struct Rounds(Duration);

impl Application for Rounds {
    type Processor = Takes;

    fn config(&self, config: Config) -> Config {
        config.reconcile_every(self.0).max_leases_per_worker(8)
    }
    fn processor(&self, _: &ShardStart, _: &Host) -> Takes {
        Takes
    }
    fn check(&self, _: &End<'_>) -> Vec<String> {
        Vec::new()
    }
}

/// Every seed in which something was amiss once P6's time was up, a minute before the end.
fn late(rounds_apart: Duration) -> Vec<u64> {
    let is_late = |seed: &u64| {
        let report = run_application(&Options::seed(*seed), Rounds(rounds_apart));
        let start = report.history.first().map_or(Moment::default(), |entry| entry.at);
        let end = start + report.simulated;
        report.violations.iter().any(|found| found.property == "P6" && found.at < end)
    };
    (0..12).filter(is_late).collect()
}

#[test]
fn a_fleet_whose_rounds_are_too_rare_is_found_not_healed_in_time() {
    silence_simulated_panics();
    assert_eq!(late(Duration::from_secs(60)), Vec::<u64>::new());
    assert_ne!(late(Duration::from_secs(100)), Vec::<u64>::new());
}
