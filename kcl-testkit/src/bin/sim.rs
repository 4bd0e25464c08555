//! Simulates fleets under faults, one seed after the other.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use kcl_core::{Clock, SystemClock};
use kcl_testkit::sim::{
    Campaign, Kind, Options, Outcome, Report, run, shrink, silence_simulated_panics, simulate,
};

/// Runs the real scheduler, consumers, stream engine and lease table on a paused clock, under
/// faults that follow from a seed: first faults, then a time in which the fleet must heal. Checks
/// every promise of the protocol on what happened.
#[derive(Debug, Parser)]
#[command(name = "sim", version)]
struct Args {
    /// How many seeds
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Workers of the fleet
    #[arg(long, default_value_t = 5)]
    workers: usize,
    /// Shards at the start
    #[arg(long, default_value_t = 20)]
    shards: u32,
    /// Simulated minutes of faults
    #[arg(long, default_value_t = 2)]
    minutes: u64,
    /// Threads
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Write the result as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Print everything that happens in one seed
    #[arg(long, value_name = "SEED", conflicts_with = "seeds")]
    timeline: Option<u64>,
}

/// A failing seed is shrunk with at most so many runs.
const SHRINK_RUNS: usize = 60;

fn main() -> ExitCode {
    let args = Args::parse();
    silence_simulated_panics();
    let options = Options {
        workers: args.workers.max(1),
        shards: args.shards.max(1),
        faults: Duration::from_secs(60 * args.minutes),
        ..Options::seed(args.seed)
    };
    if let Some(seed) = args.timeline {
        return timeline(&Options { seed, ..options });
    }
    let started = SystemClock.monotonic();
    let bar = ProgressBar::new(args.seeds).with_style(style());
    let campaign = Campaign {
        first: args.seed,
        seeds: args.seeds,
        threads: args.jobs.max(1),
        options: options.clone(),
    };
    let outcome = simulate(&campaign, |outcome| {
        bar.set_position(outcome.seeds);
        bar.set_message(format!("{} failed", outcome.failed.len()));
    });
    bar.finish_and_clear();
    let wall = SystemClock.monotonic().since(started);
    outcome.failed.iter().for_each(|report| explain(&options, report));
    for seed in &outcome.not_reproducible {
        println!("seed {seed} gave two different histories");
    }
    println!("{}", in_words(&outcome, wall));
    if let Some(file) = &args.json
        && let Err(error) = std::fs::write(file, json(&outcome, wall))
    {
        eprintln!("sim: {}: {error}", file.display());
        return ExitCode::FAILURE;
    }
    if outcome.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{bar:40} {pos}/{len} seeds, {eta} left, {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn in_words(outcome: &Outcome, wall: Duration) -> String {
    format!(
        "{} seeds, {:.1} simulated hours in {:.0} s ({:.0} times real time), {} faults, \
         {} records: {} seeds failed",
        outcome.seeds,
        hours(outcome),
        wall.as_secs_f64(),
        outcome.simulated.as_secs_f64() / wall.as_secs_f64().max(0.001),
        outcome.faults.values().sum::<usize>(),
        outcome.records,
        outcome.failed.len(),
    )
}

fn hours(outcome: &Outcome) -> f64 {
    outcome.simulated.as_secs_f64() / 3600.0
}

/// What broke, the fewest faults that break it, and a test to keep.
fn explain(options: &Options, report: &Report) {
    let options = Options { seed: report.seed, ..options.clone() };
    println!("seed {} fails:", report.seed);
    report.violations.iter().take(5).for_each(|violation| println!("  {violation}"));
    let left = shrink(&options, report, SHRINK_RUNS);
    let mut text = String::new();
    for (kind, id) in &left {
        let _ = write!(text, "\n  {kind:?} {id:#018x}");
    }
    println!("with these {} faults alone:{text}", left.len());
    println!(
        "#[test]\nfn seed_{0}() {{\n    assert_eq!(run(&Options::seed({0})).violations, []);\n}}",
        report.seed
    );
}

fn timeline(options: &Options) -> ExitCode {
    let report = run(options);
    for entry in &report.history {
        println!("{:>10.3} {:?}", entry.at.0.as_secs_f64(), entry.what);
    }
    report.violations.iter().for_each(|violation| println!("{violation}"));
    if report.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn json(outcome: &Outcome, wall: Duration) -> String {
    let faults: serde_json::Map<_, _> =
        outcome.faults.iter().map(|(kind, count)| (format!("{kind:?}"), (*count).into())).collect();
    let violations: Vec<_> = outcome
        .failed
        .iter()
        .flat_map(|report| report.violations.iter().map(|v| format!("seed {}: {v}", report.seed)))
        .collect();
    let value = serde_json::json!({
        "seeds": outcome.seeds,
        "simulated_hours": hours(outcome),
        "faults_by_kind": faults,
        "crashes": outcome.count(Kind::Crash),
        "reshards": outcome.count(Kind::Reshard),
        "records": outcome.records,
        "violations": violations,
        "wall_s": wall.as_secs_f64(),
        "trace_hash": format!("{:016x}", outcome.trace_hash),
    });
    format!("{value:#}\n")
}
