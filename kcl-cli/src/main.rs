//! The `kcl` command.

mod aws;
mod logs;
mod serve;
mod stream;
mod table;

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
    /// Serve the bundled stream engine over the Kinesis protocol
    Serve(serve::Args),
    /// Kill, stop and cut off worker processes, and check that nothing is lost
    Drill(Box<kcl_drill::args::Args>),
    /// Make, show, write and follow streams
    Stream(stream::Args),
    /// Look at a lease table on DynamoDB; accept one that was restored
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
        Command::Completions { shell } => {
            let (mut command, mut output) = (Cli::command(), std::io::stdout());
            clap_complete::generate(shell, &mut command, "kcl", &mut output);
            ExitCode::SUCCESS
        }
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

async fn worker() -> Result<(), Box<dyn std::error::Error>> {
    kcl_drill::worker::run(kcl_drill::worker::Settings::from_environment()?).await
}

fn fail(why: &str) -> ExitCode {
    eprintln!("kcl: {why}");
    ExitCode::FAILURE
}
