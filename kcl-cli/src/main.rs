//! The `kcl` command.

mod aws;
mod logs;
#[path = "../../examples/src/of_aws.rs"]
mod of_aws;
mod output;
mod serve;
mod stream;
mod table;

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

/// Streams, workers and lease tables, on this machine.
#[derive(Debug, Parser)]
#[command(name = "kcl", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    // The help of these is what stands at their arguments: a doc comment here would replace it.
    Serve(serve::Args),
    Drill(Box<kcl_drill::args::Args>),
    Stream(stream::Args),
    Table(table::Args),
    /// Print a script that completes this command in a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// The worker that `drill` starts; its settings are in the environment
    #[command(hide = true)]
    DrillWorker,
    /// Becomes a program that ends with the drill that started it
    #[command(hide = true)]
    DrillChild {
        /// The drill's process id, the program and its arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
}

fn main() -> ExitCode {
    logs::begin();
    let cli = Cli::parse();
    if let Command::DrillChild { words } = &cli.command {
        return fail(&kcl_drill::become_child(words).to_string());
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("no thread can be started: {error}")),
    };
    match cli.command {
        Command::Serve(args) => match runtime.block_on(serve::run(&args)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error.to_string()),
        },
        Command::Drill(args) => runtime.block_on(kcl_drill::run(*args)),
        Command::Stream(args) => match runtime.block_on(stream::run(&args)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error),
        },
        Command::Completions { shell } => complete(shell),
        Command::Table(args) => match runtime.block_on(table::run(&args)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error.to_string()),
        },
        // Became another program above.
        Command::DrillChild { .. } => ExitCode::FAILURE,
        Command::DrillWorker => match runtime.block_on(worker()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error.to_string()),
        },
    }
}

fn complete(shell: clap_complete::Shell) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "kcl", &mut script);
    match std::io::stdout().write_all(&script) {
        // Who reads no further, as `head`, has what it wanted.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            fail(&format!("the output: {error}"))
        }
        _ => ExitCode::SUCCESS,
    }
}

async fn worker() -> Result<(), Box<dyn std::error::Error>> {
    kcl_drill::worker::run(kcl_drill::worker::Settings::from_environment()?).await
}

fn fail(why: &str) -> ExitCode {
    eprintln!("kcl: {why}");
    ExitCode::FAILURE
}
