//! Simulates fleets under faults, one seed after the other.

mod file;
#[cfg(test)]
mod tests;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use file::State;
use indicatif::{ProgressBar, ProgressStyle};
use kcl_core::{Clock, SystemClock};
use kcl_testkit::sim::{
    Campaign, Failure, Kind, Options, Outcome, run, silence_simulated_panics, simulate,
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
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=200))]
    workers: u32,
    /// Shards at the start
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    shards: u32,
    /// Simulated minutes of faults
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=1440))]
    minutes: u64,
    /// Threads [default: one for each processor]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: Option<u16>,
    /// Keep here how far the run has come, and go on from there when started again
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Write the result as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a file for --replay for each failing seed into this directory
    #[arg(long, value_name = "DIR", default_value = ".")]
    failures: PathBuf,
    /// Run a failing seed again from its file, and tell what happens in it
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seeds", "seed", "timeline", "state"])]
    replay: Option<PathBuf>,
    /// Tell what happens in one seed
    #[arg(long, value_name = "SEED", conflicts_with_all = ["seeds", "seed", "state"])]
    timeline: Option<u64>,
}

/// The state is written after so many seeds.
const BLOCK: u64 = 200;
/// So many failing seeds are shrunk and explained; the others are named in the result.
const EXPLAINED: usize = 10;
/// Where there is no terminal, progress is a line, so often.
const LINE_EVERY: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let args = Args::parse();
    silence_simulated_panics();
    match go(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("sim: {error}");
            ExitCode::from(2)
        }
    }
}

/// True if no promise was broken.
fn go(args: &Args) -> Result<bool, String> {
    if let Some(file) = &args.replay {
        return Ok(timeline(&file::read_run(file)?));
    }
    let options = Options {
        workers: args.workers as usize,
        shards: args.shards,
        faults: Duration::from_secs(60 * args.minutes),
        ..Options::seed(args.timeline.unwrap_or(args.seed))
    };
    if args.timeline.is_some() {
        return Ok(timeline(&options));
    }
    if args.seed.checked_add(args.seeds).is_none() {
        return Err("--seed and --seeds together go beyond the largest number".to_owned());
    }
    let processors = || std::thread::available_parallelism().map_or(1, usize::from);
    let threads = args.jobs.map_or_else(processors, usize::from);
    let campaign = Campaign { first: args.seed, seeds: args.seeds, threads, options };
    let (mut outcome, wall) = campaign_in_blocks(&campaign, args.state.as_deref())?;
    outcome.failed.sort_by_key(|failed| failed.seed);
    for failed in outcome.failed.iter().take(EXPLAINED) {
        let options = Options { seed: failed.seed, ..campaign.options.clone() };
        explain(&options, &args.failures)?;
    }
    for failed in outcome.failed.iter().skip(EXPLAINED) {
        println!("seed {} fails too: {}", failed.seed, failed.violations.join("; "));
    }
    for seed in &outcome.not_reproducible {
        println!("seed {seed} gave two different histories");
    }
    println!("{}", in_words(&outcome, wall));
    if let Some(file) = &args.json {
        std::fs::write(file, json(&outcome, wall))
            .map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(outcome.is_good())
}

/// Simulates what is not done yet, and keeps the state after each block.
fn campaign_in_blocks(
    campaign: &Campaign,
    file: Option<&Path>,
) -> Result<(Outcome, Duration), String> {
    let state = file.map(|file| State::new(file, campaign));
    let (mut done, before) = state.as_ref().map_or(Ok(Default::default()), State::read)?;
    let started = SystemClock.monotonic();
    let wall = || before + SystemClock.monotonic().since(started);
    let mut progress = Progress::new(campaign.seeds, done.seeds);
    while done.seeds < campaign.seeds {
        let left = campaign.seeds - done.seeds;
        let seeds = if state.is_some() { left.min(BLOCK) } else { left };
        let block = Campaign { first: campaign.first + done.seeds, seeds, ..campaign.clone() };
        let outcome = simulate(&block, |outcome| {
            progress.show(done.seeds + outcome.seeds, done.failed.len() + outcome.failed.len());
        });
        done.merge(outcome);
        if let Some(state) = &state {
            state.write(&done, wall())?;
        }
    }
    progress.bar.finish_and_clear();
    Ok((done, wall()))
}

/// A bar on a terminal, a line now and then elsewhere.
struct Progress {
    bar: ProgressBar,
    is_terminal: bool,
    told: kcl_core::protocol::Moment,
    seeds: u64,
}

impl Progress {
    fn new(seeds: u64, done: u64) -> Self {
        let style = "{bar:40} {pos}/{len} seeds, {eta} left, {msg}";
        let style = ProgressStyle::with_template(style);
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::new(seeds).with_style(style).with_position(done);
        bar.reset_eta();
        let is_terminal = std::io::stderr().is_terminal();
        Self { bar, is_terminal, told: SystemClock.monotonic(), seeds }
    }
    fn show(&mut self, done: u64, failed: usize) {
        self.bar.set_position(done);
        self.bar.set_message(format!("{failed} failed"));
        let now = SystemClock.monotonic();
        if !self.is_terminal && now.since(self.told) >= LINE_EVERY {
            self.told = now;
            let left = self.bar.eta().as_secs();
            eprintln!("{done}/{} seeds, {left} s left, {failed} failed", self.seeds);
        }
    }
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

/// What broke, the fewest faults that break it, a test to keep, and a file to replay.
fn explain(options: &Options, directory: &Path) -> Result<(), String> {
    eprintln!("seed {} fails; looking for the fewest faults that make it fail", options.seed);
    let Some(failure) = Failure::shrunk(options, run) else {
        println!("seed {} failed, and does not now: it is not reproducible", options.seed);
        return Ok(());
    };
    println!("{failure}\na test to keep:\n{}", failure.test());
    let file = directory.join(format!("sim-seed-{}.json", options.seed));
    file::write_run(&file, &failure.options)?;
    println!("to see what happens: sim --replay {}", file.display());
    Ok(())
}

/// True if no promise was broken.
fn timeline(options: &Options) -> bool {
    let report = run(options);
    let mut out = std::io::stdout().lock();
    for line in report.timeline() {
        if writeln!(out, "{line}").is_err() {
            // Whoever read along has read enough.
            break;
        }
    }
    drop(out);
    if report.violations.is_empty() {
        eprintln!("seed {}: every promise was kept", options.seed);
    }
    report.violations.iter().for_each(|violation| eprintln!("{violation}"));
    report.violations.is_empty()
}

fn json(outcome: &Outcome, wall: Duration) -> String {
    let broken = outcome
        .failed
        .iter()
        .flat_map(|failed| failed.violations.iter().map(|v| format!("seed {}: {v}", failed.seed)));
    let two = |seed: &u64| format!("seed {seed}: two different histories");
    let violations: Vec<_> = broken.chain(outcome.not_reproducible.iter().map(two)).collect();
    let value = serde_json::json!({
        "seeds": outcome.seeds,
        "simulated_hours": hours(outcome),
        "faults_by_kind": file::faults_by_kind(outcome),
        "crashes": outcome.count(Kind::Crash),
        "reshards": outcome.count(Kind::Reshard),
        "records": outcome.records,
        "violations": violations,
        "wall_s": wall.as_secs_f64(),
        "trace_hash": format!("{:016x}", outcome.trace_hash),
    });
    format!("{value:#}\n")
}
