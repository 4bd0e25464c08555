//! The command line.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

/// Drills a fleet of worker processes: they are killed, stopped, cut off and replaced while
/// records flow, and everything that was put is compared with everything that was processed.
///
/// The exit code is 1 if anything was lost, out of order, processed by two at once, or written
/// under an old fence.
#[derive(Clone, Debug, Parser)]
pub struct Args {
    /// What happens to the workers
    #[arg(value_enum, required_unless_present = "contract")]
    pub(crate) scenario: Option<Scenario>,

    /// How often it happens [default: what suits the scenario]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) rounds: Option<u32>,

    /// Workers of the fleet
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(2..=32))]
    pub(crate) workers: u32,

    /// Shards of the stream
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(2..=256))]
    pub(crate) shards: u32,

    /// Lease duration: fast is 1.5 s, default is 3 s
    #[arg(long, value_enum, default_value_t = Profile::Fast)]
    pub(crate) profile: Profile,

    /// Keep the service's limits: 5 reads a second and shard, so that workers poll every 250 ms
    /// instead of every 20 ms
    #[arg(long)]
    pub(crate) limits: bool,

    /// Workers send each other no hints
    #[arg(long)]
    pub(crate) no_hints: bool,

    /// The handler blocks its thread and cannot be cut off
    #[arg(long)]
    pub(crate) blocking: bool,

    /// A DynamoDB to use [default: DynamoDB Local is started]
    #[arg(long, value_name = "URL")]
    pub(crate) dynamodb: Option<String>,

    /// Drill this program instead of the built-in worker; words are split at spaces
    #[arg(long, value_name = "COMMAND")]
    pub(crate) worker_cmd: Option<String>,

    /// What is drawn follows from this number
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,

    /// Write the report as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Write a histogram as SVG
    #[arg(long, value_name = "FILE")]
    pub(crate) plot: Option<PathBuf>,

    /// Print what a worker program must do to be drilled, and nothing else
    #[arg(long)]
    pub(crate) contract: bool,
}

/// What happens to the workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Scenario {
    /// SIGKILL; the others find out by themselves
    Kill,
    /// SIGKILL; the supervisor reaps the worker and tells the table
    KillReaped,
    /// SIGSTOP for half a lease duration to ten, then SIGCONT
    Zombie,
    /// SIGTERM: the worker hands its shards over
    Stop,
    /// Every worker is replaced, each replacement started first
    Rolling,
    /// A worker loses its connection to the table
    Partition,
    /// The table refuses nine requests in ten for a minute
    Throttle,
    /// The table is gone for a while
    Outage,
    /// The table is stopped and started again
    TableRestart,
    /// Shards are split and merged while workers are killed
    Reshard,
    /// A handler that takes 30 ms a record, overloaded, while workers join and die
    Slow,
    /// All of them, one after the other
    All,
}

impl Scenario {
    /// Every single one, in the order of `all`.
    pub(crate) const EACH: [Self; 11] = [
        Self::Kill,
        Self::KillReaped,
        Self::Zombie,
        Self::Stop,
        Self::Rolling,
        Self::Partition,
        Self::Throttle,
        Self::Outage,
        Self::TableRestart,
        Self::Reshard,
        Self::Slow,
    ];
    /// Its name on the command line.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
    /// How often it happens if nobody says.
    pub(crate) fn usual_rounds(self) -> u32 {
        match self {
            Self::Kill | Self::KillReaped | Self::Stop => 10,
            Self::Zombie | Self::Partition | Self::Reshard => 4,
            Self::Slow => 3,
            _ => 1,
        }
    }
}

/// How quickly the fleet reacts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Profile {
    /// D = 1.5 s
    Fast,
    /// D = 3 s
    Default,
}

/// The worker of this program, and how it is called.
pub const WORKER_COMMAND: &str = "drill-worker";

impl Args {
    pub(crate) fn lease_duration(&self) -> Duration {
        match self.profile {
            Profile::Fast => Duration::from_millis(1500),
            Profile::Default => Duration::from_secs(3),
        }
    }

    pub(crate) fn worker_command(&self) -> Result<Vec<String>, Box<dyn std::error::Error>> {
        match &self.worker_cmd {
            Some(command) => {
                let words: Vec<_> = command.split_whitespace().map(str::to_owned).collect();
                if words.is_empty() {
                    return Err("--worker-cmd is empty: name a program".into());
                }
                Ok(words)
            }
            None => {
                let program = std::env::current_exe()?;
                Ok(vec![program.display().to_string(), WORKER_COMMAND.to_owned()])
            }
        }
    }

    /// What every worker finds in its environment.
    pub(crate) fn environment(
        &self,
        stream: &str,
        kinesis: &str,
        sink: SocketAddr,
    ) -> BTreeMap<String, String> {
        let poll = if self.limits { 250 } else { 20 };
        let flag = |is_on: bool| u32::from(is_on).to_string();
        let is_slow = self.scenario == Some(Scenario::Slow);
        [
            ("STREAM", stream.to_owned()),
            ("APP", stream.to_owned()),
            ("KINESIS_ENDPOINT", kinesis.to_owned()),
            ("START_POSITION", "TRIM_HORIZON".to_owned()),
            ("AWS_ACCESS_KEY_ID", "local".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "local".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("DRILL_LEASE_MS", self.lease_duration().as_millis().to_string()),
            ("DRILL_POLL_MS", poll.to_string()),
            ("DRILL_HANDLER_MS", if is_slow { "30" } else { "0" }.to_owned()),
            ("DRILL_BLOCKING", flag(self.blocking)),
            ("DRILL_HINTS", flag(!self.no_hints)),
            ("DRILL_SINK", sink.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }
}
