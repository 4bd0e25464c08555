//! Simulates fleets under faults, one seed after the other.

mod explain;
mod file;
mod progress;
#[cfg(test)]
mod tests;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use explain::explain;
use file::State;
use kcl_core::{Clock, SystemClock};
use kcl_testkit::sim::{Campaign, Kind, Options, Outcome, run, silence_simulated_panics, simulate};
use progress::Progress;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
    let (mut outcome, wall) =
        campaign_in_blocks(&campaign, args.state.as_deref(), |line| eprintln!("{line}"))?;
    outcome.failed.sort_by_key(|failed| failed.seed);
    for failed in outcome.failed.iter().take(EXPLAINED) {
        let options = Options { seed: failed.seed, ..campaign.options.clone() };
        explain(&options, &args.failures, &mut std::io::stdout())?;
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

/// Simulates what is not done yet, and keeps the state after each block. Tells of seeds that fail,
/// and where there is no terminal how far it has come, line by line.
fn campaign_in_blocks(
    campaign: &Campaign,
    file: Option<&Path>,
    mut tell: impl FnMut(String),
) -> Result<(Outcome, Duration), String> {
    let state = file.map(|file| State::new(file, campaign));
    let (mut done, before) = state.as_ref().map_or(Ok(Default::default()), State::read)?;
    let started = SystemClock.monotonic();
    let wall = || before + SystemClock.monotonic().since(started);
    let mut progress = Progress::new(campaign.seeds, done.seeds, started);
    while done.seeds < campaign.seeds {
        let left = campaign.seeds - done.seeds;
        let seeds = if state.is_some() { left.min(BLOCK) } else { left };
        let block = Campaign { first: campaign.first + done.seeds, seeds, ..campaign.clone() };
        let mut named = 0;
        let outcome = simulate(&block, |outcome| {
            outcome.failed[named..].iter().filter_map(|it| progress.failed(it)).for_each(&mut tell);
            named = outcome.failed.len();
            let failed = done.failed.len() + outcome.failed.len();
            let now = SystemClock.monotonic();
            if let Some(line) = progress.show(done.seeds + outcome.seeds, failed, now) {
                tell(line);
            }
        });
        done.merge(outcome);
        if let Some(state) = &state {
            state.write(&done, wall())?;
        }
    }
    progress.finish();
    Ok((done, wall()))
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
