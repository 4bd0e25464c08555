//! The command line.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use crate::kinds::{Profile, Scenario};
use crate::limits::{FROZEN_HANDLER_MS, SLOW_HANDLER_MS};
use crate::proxy::Rule;

/// Kill, stop and cut off worker processes, and check that nothing is lost
///
/// Workers are killed, stopped, cut off and replaced while records flow, and everything that was
/// put is compared with everything that was processed.
///
/// Exit codes: 0, all is well; 1, something was lost, out of order, processed by two at once,
/// written under an old fence, or the fleet did not come back; 2, the drill could not be played;
/// 3, all is well but of some scenario no round is valid, so that nothing was measured; 130,
/// interrupted.
#[derive(Clone, Debug, Parser)]
#[command(verbatim_doc_comment)]
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

    /// A DynamoDB on this machine to use [default: DynamoDB Local is started]
    #[arg(long, value_name = "URL", value_parser = crate::doors::url)]
    pub(crate) dynamodb: Option<String>,

    /// Drill this program instead of the built-in worker; see --contract. Words are split at
    /// spaces, unless quoted
    #[arg(long, value_name = "COMMAND", value_parser = crate::doors::words)]
    pub(crate) worker_cmd: Option<Words>,

    /// Harm to requests to the table all along: [OPERATION:]KIND=PERCENT, where KIND is drop,
    /// drop-reply, duplicate, throttle or error, or delay=PERCENT@MILLISECONDS, as in
    /// UpdateItem:drop-reply=5,delay=20@300
    #[arg(long, value_name = "HARM", value_delimiter = ',', value_parser = Rule::parse)]
    pub(crate) harm: Vec<Rule>,

    /// How long the fleet may take to settle before the drill is given up (seconds)
    #[arg(long, value_name = "S", default_value_t = 120,
        value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) patience: u64,

    /// What is drawn follows from this number
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,

    /// Write the report as JSON; an array of reports for `all`
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Draw the report as SVG
    #[arg(long, value_name = "FILE")]
    pub(crate) plot: Option<PathBuf>,

    /// Print what a worker program must do to be drilled, and nothing else
    #[arg(long)]
    pub(crate) contract: bool,
}

/// A program and its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Words(pub(crate) Vec<String>);

/// The worker of this program, and how it is called.
pub const WORKER_COMMAND: &str = "drill-worker";

/// Runs a program that ends when its starter does, and how it is called.
pub const CHILD_COMMAND: &str = "drill-child";

impl Args {
    pub(crate) fn lease_duration(&self) -> Duration {
        self.profile.lease_duration()
    }
    /// `H`.
    pub(crate) fn heartbeat(&self) -> Duration {
        self.lease_duration() / 3
    }
    pub(crate) fn patience(&self) -> Duration {
        Duration::from_secs(self.patience)
    }

    /// Program and arguments of a worker.
    pub(crate) fn worker_command(&self) -> std::io::Result<Vec<String>> {
        match &self.worker_cmd {
            Some(Words(words)) => Ok(words.clone()),
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
        let usual = if self.limits { 250 } else { 20 };
        let poll = self.scenario.and_then(Scenario::poll_millis).unwrap_or(usual);
        let flag = |is_on: bool| u32::from(is_on).to_string();
        let handler = match self.scenario {
            Some(Scenario::Slow) => SLOW_HANDLER_MS,
            Some(Scenario::Zombie) if self.blocking => FROZEN_HANDLER_MS,
            _ => 0,
        };
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
            ("DRILL_HANDLER_MS", handler.to_string()),
            ("DRILL_BLOCKING", flag(self.blocking)),
            ("DRILL_HINTS", flag(!self.no_hints)),
            ("DRILL_SINK", sink.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }
}
