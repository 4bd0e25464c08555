//! Simulates fleets, one seed after the other.
use kcl_testkit::sim::{Options, run};
use std::time::Duration;

fn main() {
    std::panic::set_hook(Box::new(|_| ()));
    let args: Vec<u64> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let (from, count) = (args.first().copied().unwrap_or(0), args.get(1).copied().unwrap_or(1));
    for seed in from..from + count {
        let mut options = Options::seed(seed);
        if args.get(2) == Some(&0) {
            options.faults = Duration::ZERO;
            options.healing = Duration::from_secs(90);
        }
        let report = run(&options);
        println!(
            "seed {seed}: {} records, {} entries, {:?}",
            report.records,
            report.history.len(),
            report.faults
        );
        for v in report.violations.iter().take(6) {
            println!("   {v}");
        }
        if !report.violations.is_empty() {
            println!("   {} violations", report.violations.len());
        }
    }
}
