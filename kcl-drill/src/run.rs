//! The command, from arguments to an exit code.

use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use kcl_core::{Clock, SystemClock};

use crate::args::{Args, Scenario};
use crate::report::Report;
use crate::scenario::play;
use crate::stage::{Services, Stage, Trouble};

/// What a worker program must do, for `--contract`.
const CONTRACT: &str = include_str!("contract.rs");

/// Runs the drill.
pub async fn run(args: Args) -> ExitCode {
    if args.contract {
        let lines = CONTRACT.lines().map_while(|line| line.strip_prefix("//!"));
        lines.for_each(|line| println!("{}", line.strip_prefix(' ').unwrap_or(line)));
        return ExitCode::SUCCESS;
    }
    match drill(&args).await {
        Ok(reports) if reports.iter().all(Report::is_good) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("kcl drill: {error}");
            ExitCode::from(2)
        }
    }
}

async fn drill(args: &Args) -> Result<Vec<Report>, Trouble> {
    // Made at once: a path that cannot be written is known before the work, not after it.
    let json = args.json.as_deref().map(create).transpose()?;
    let plot = args.plot.as_deref().map(create).transpose()?;
    let scenarios = match args.scenario {
        Some(Scenario::All) | None => Scenario::EACH.to_vec(),
        Some(scenario) => vec![scenario],
    };
    let services = Services::start(args, false).await?;
    let mut reports = Vec::new();
    for scenario in scenarios {
        let args = Args { scenario: Some(scenario), ..args.clone() };
        let report = match scenario {
            Scenario::TableRestart => {
                one(&args, &Services::start(&args, true).await?, scenario).await
            }
            _ => one(&args, &services, scenario).await,
        };
        let report = report.map_err(|error| format!("{}: {error}", scenario.name()))?;
        report.print();
        reports.push(report);
    }
    if let Some(mut file) = json {
        let text = match reports.as_slice() {
            [report] => serde_json::to_string_pretty(report)?,
            reports => serde_json::to_string_pretty(reports)?,
        };
        writeln!(file, "{text}")?;
    }
    if let (Some(mut file), Some((title, histogram))) =
        (plot, reports.iter().find_map(Report::histogram))
    {
        file.write_all(histogram.in_svg(&title).as_bytes())?;
    }
    Ok(reports)
}

fn create(file: &Path) -> Result<File, String> {
    File::create(file).map_err(|error| format!("{}: {error}", file.display()))
}

async fn one(args: &Args, services: &Services, scenario: Scenario) -> Result<Report, Trouble> {
    let rounds = args.rounds.unwrap_or_else(|| scenario.usual_rounds());
    let started = SystemClock.monotonic();
    let mut stage = Stage::set(args, services, &scenario.name()).await?;
    let name = scenario.name();
    let is_terminal = std::io::stderr().is_terminal();
    let mut progress = |round: u32| {
        if is_terminal {
            eprint!("\r{name}: round {round} of {rounds}   ");
        } else if round.is_multiple_of(10) {
            eprintln!("{name}: round {round} of {rounds}");
        }
    };
    progress(0);
    let played = play(&mut stage, scenario, rounds, &mut progress).await;
    if is_terminal {
        eprint!("\r\x1b[K");
    }
    let played = match played {
        Ok(played) => played,
        Err(error) => {
            stage.fleet.clear().await;
            return Err(error);
        }
    };
    stage.end().await?;
    let wall = SystemClock.monotonic().since(started).as_secs_f64();
    Report::of(&stage, scenario, rounds, played, wall).await
}
