//! Takes the numbers that the README states. Run it on a quiet machine.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use examples::bench::{Number, idle, latency, moves, planning, throughput};
use examples::say;

/// Measures throughput, latency, planning, idle cost, failover and planned moves, all in this
/// process on the bundled engine.
#[derive(Debug, Parser)]
#[command(name = "bench", version)]
struct Args {
    /// Measure only these
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<What>,
    /// How many workers to kill
    #[arg(long, default_value_t = 50)]
    kills: u32,
    /// Write the numbers as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    Throughput,
    Latency,
    Planning,
    Idle,
    Failover,
    Planned,
    Drained,
    Join,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let progress = |step: &str| eprintln!("... {step}");
    let mut numbers = Vec::new();
    for what in What::value_variants() {
        if !args.only.is_empty() && !args.only.contains(what) {
            continue;
        }
        progress(&format!("{what:?}").to_lowercase());
        let taken = match what {
            What::Throughput => throughput::measure(progress)?,
            What::Latency => latency::measure()?,
            What::Planning => planning::measure(),
            What::Idle => idle::measure()?,
            What::Failover => moves::failover(args.kills, progress)?,
            What::Planned => moves::planned(10, progress)?,
            What::Drained => moves::drained(5, progress)?,
            What::Join => moves::join(5, progress)?,
        };
        taken.iter().for_each(print);
        numbers.extend(taken);
    }
    if let Some(file) = &args.json {
        let json = serde_json::to_string_pretty(&numbers)?;
        std::fs::write(file, json).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(())
}

fn print(number: &Number) {
    let Number { what, value, unit, goal } = number;
    let digits = if *value < 100.0 { 2 } else { 0 };
    let goal = goal.map_or(String::new(), |goal| format!("   (goal: {goal})"));
    say(format!("{what}: {value:.digits$} {unit}{goal}"));
}
