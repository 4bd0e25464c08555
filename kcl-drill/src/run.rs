//! The command, from arguments to an exit code.

use std::path::Path;
use std::process::ExitCode;

use kcl_core::{Clock, SystemClock};
use tokio::signal::unix::{SignalKind, signal};

use crate::args::Args;
use crate::kinds::Scenario;
use crate::report::Report;
use crate::scenario::{Played, play};
use crate::services::{Keeping, Services};
use crate::stage::{Stage, Trouble};
use crate::view::View;
use crate::{plot, print};

/// What a worker program must do, for `--contract`.
const CONTRACT: &str = include_str!("contract.rs");

/// The drill could not be played.
const TROUBLE: u8 = 2;
/// All is well, but of some scenario no round is valid.
const NOTHING_MEASURED: u8 = 3;
/// By SIGINT or SIGTERM, as shells say it.
const INTERRUPTED: u8 = 130;

/// Runs the drill. However it ends, no process that it started is left.
pub async fn run(args: Args) -> ExitCode {
    if args.contract {
        print!("{}", contract());
        return ExitCode::SUCCESS;
    }
    let ended = tokio::select! { biased;
        () = interrupted() => return ExitCode::from(INTERRUPTED),
        ended = drill(&args) => ended,
    };
    match ended {
        Ok(reports) if !reports.iter().all(Report::is_good) => ExitCode::FAILURE,
        Ok(reports) if !reports.iter().all(Report::has_measured) => {
            let without = reports.iter().filter(|report| !report.has_measured());
            let without: Vec<_> = without.map(|report| report.scenario.as_str()).collect();
            eprintln!("kcl drill: no valid round, so nothing was measured: {}", without.join(", "));
            ExitCode::from(NOTHING_MEASURED)
        }
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kcl drill: {error}");
            ExitCode::from(TROUBLE)
        }
    }
}

async fn interrupted() {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        // Without handlers the signals end the process, and the children with it.
        return std::future::pending().await;
    };
    tokio::select! { biased;
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

async fn drill(args: &Args) -> Result<Vec<Report>, Trouble> {
    // Made at once: a path that cannot be written is known before the work, not after it.
    let (json, plot) = (args.json.as_deref(), args.plot.as_deref());
    for path in [json, plot].into_iter().flatten() {
        write(path, "")?;
    }
    let scenarios = scenarios(args)?;
    let is_all = args.scenario == Some(Scenario::All);
    let services = Services::start(args, Keeping::InMemory).await?;
    let mut reports = Vec::new();
    for scenario in scenarios {
        let args = Args { scenario: Some(scenario), ..args.clone() };
        let report = match scenario {
            Scenario::TableRestart => {
                one(&args, &Services::start(&args, Keeping::InFolder).await?, scenario).await
            }
            _ => one(&args, &services, scenario).await,
        };
        let report = report.map_err(|error| format!("{}: {error}", scenario.name()))?;
        print::report(&report);
        reports.push(report);
        // After each, so that a late trouble costs no early report.
        if let Some(path) = json {
            write(path, &print::json(&reports, is_all)?)?;
        }
        if let Some(path) = plot {
            write(path, &plot::svg(&reports))?;
        }
    }
    print!("{}", print::summary(&reports));
    Ok(reports)
}

/// What `--contract` prints.
fn contract() -> String {
    let lines = CONTRACT.lines().map_while(|line| line.strip_prefix("//!"));
    lines.map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(line))).collect()
}

/// What is to be played.
fn scenarios(args: &Args) -> Result<Vec<Scenario>, Trouble> {
    let has_own_table = args.dynamodb.is_none();
    match args.scenario {
        Some(Scenario::TableRestart) if !has_own_table => {
            Err("table-restart needs a DynamoDB Local of the drill's own: leave --dynamodb out"
                .into())
        }
        Some(Scenario::KillReaped) if args.worker_cmd.is_some() => Err(
            "kill-reaped writes into the lease table of the built-in worker: leave --worker-cmd \
             out"
            .into(),
        ),
        Some(Scenario::All) | None => Ok(all(args)),
        Some(scenario) => Ok(vec![scenario]),
    }
}

/// Every scenario that can be played, and says something, with these arguments.
fn all(args: &Args) -> Vec<Scenario> {
    let is_another_program = args.worker_cmd.is_some();
    let left_out = [
        (Scenario::TableRestart, args.dynamodb.is_some(), "--dynamodb is given"),
        (Scenario::KillReaped, is_another_program, "--worker-cmd is given"),
        // Nobody knows whether it makes its handler slow.
        (Scenario::Slow, is_another_program, "--worker-cmd is given; it can be asked for by name"),
    ];
    let mut each = Scenario::EACH.to_vec();
    for (scenario, _, why) in left_out.into_iter().filter(|(_, is_left_out, _)| *is_left_out) {
        eprintln!("kcl drill: without {}, for {why}", scenario.name());
        each.retain(|other| *other != scenario);
    }
    each
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

async fn one(args: &Args, services: &Services, scenario: Scenario) -> Result<Report, Trouble> {
    let rounds = args.rounds.unwrap_or_else(|| scenario.usual_rounds());
    let started = SystemClock.monotonic();
    let mut stage = Stage::set(args, services, &scenario.name()).await?;
    {
        let mut notes = stage.board.notes();
        (notes.scenario, notes.rounds) = (scenario.name(), rounds);
    }
    let view = View::of(&stage);
    let mut played = Played::default();
    let went = tokio::select! { biased;
        went = async {
            play(&mut stage, scenario, rounds, &mut played).await?;
            stage.end().await
        } => went,
        () = view.show() => Ok(()),
    };
    view.clear();
    if let Err(error) = went {
        stage.fleet.clear().await;
        if stage.rounds.is_empty() {
            return Err(error);
        }
        // What was played until then is still judged.
        stage.broken.push(error.to_string());
    }
    let wall = SystemClock.monotonic().since(started).as_secs_f64();
    let report = Report::of(&stage, scenario, &played, wall).await?;
    match report.is_good() {
        true => stage.forget_log(),
        false => eprintln!("kcl drill: the workers' log is {}", stage.fleet.recipe.log.display()),
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn played(words: &[&str]) -> Vec<Scenario> {
        let args = Args::try_parse_from(["drill"].iter().chain(words)).unwrap();
        scenarios(&args).unwrap()
    }

    fn left_out(words: &[&str]) -> Vec<Scenario> {
        let played = played(words);
        Scenario::EACH.into_iter().filter(|scenario| !played.contains(scenario)).collect()
    }

    #[test]
    fn all_leaves_out_what_cannot_be_played_or_would_say_nothing() {
        assert_eq!(left_out(&["all"]), []);
        let of_another_program = ["all", "--worker-cmd", "java"];
        assert_eq!(left_out(&of_another_program), [Scenario::KillReaped, Scenario::Slow]);
        let elsewhere = ["all", "--dynamodb", "http://127.0.0.1:1"];
        assert_eq!(left_out(&elsewhere), [Scenario::TableRestart]);
        assert_eq!(played(&["slow", "--worker-cmd", "java"]), [Scenario::Slow]);
    }

    #[test]
    fn the_documentation_has_the_contract_as_it_is_printed() {
        let page = include_str!("../../docs/drills.md");
        assert!(page.contains(&contract()), "docs/drills.md is to have:\n{}", contract());
    }

    #[test]
    fn the_contract_names_everything_that_a_worker_finds_in_its_environment() {
        let args = Args::try_parse_from(["drill", "kill"]).unwrap();
        let environment = args.environment("s", "http://k", ([127, 0, 0, 1], 1).into());
        let given = environment.keys().filter(|name| !name.starts_with("AWS_"));
        for name in given.map(String::as_str).chain(["WORKER_ID", "DYNAMODB_ENDPOINT"]) {
            assert!(contract().contains(&format!("`{name}`")), "{name}");
        }
    }
}
