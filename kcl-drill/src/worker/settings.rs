//! What the environment says.

use std::time::Duration;

use kcl_core::ProcessorKind;

use super::processor::Work;
use crate::limits::BLOCKING_GRACE;

/// The settings of one worker, from its environment.
#[derive(Clone, Debug)]
pub struct Settings {
    pub(crate) worker: String,
    pub(crate) stream: String,
    pub(crate) application: String,
    pub(crate) kinesis: String,
    pub(crate) dynamodb: String,
    pub(crate) start_at_latest: bool,
    pub(crate) lease_duration: Duration,
    pub(crate) poll: Duration,
    pub(crate) checkpoint: Duration,
    pub(crate) work: Work,
    pub(crate) batch_records: usize,
    pub(crate) kind: ProcessorKind,
    pub(crate) grace: Duration,
    pub(crate) hints: bool,
    pub(crate) sink: Option<String>,
}

/// A variable that is missing or wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the environment variable {name} {what}")]
pub struct BadSetting {
    name: &'static str,
    what: String,
}

/// Milliseconds a variable holds, or a default.
fn millis(name: &'static str, usual: u64) -> Result<Duration, BadSetting> {
    number(name, usual).map(Duration::from_millis)
}

fn number(name: &'static str, usual: u64) -> Result<u64, BadSetting> {
    let Ok(text) = std::env::var(name) else { return Ok(usual) };
    text.parse().map_err(|_| BadSetting { name, what: format!("is {text:?}, not a number") })
}

fn text(name: &'static str) -> Result<String, BadSetting> {
    let set = std::env::var(name).ok().filter(|text| !text.is_empty());
    set.ok_or_else(|| BadSetting { name, what: "is not set; see `kcl drill --contract`".into() })
}

impl Settings {
    /// Reads the variables of the contract, and ours: `DRILL_LEASE_MS` (1500), `DRILL_POLL_MS`
    /// (250), `DRILL_CHECKPOINT_MS` (1000), `DRILL_HANDLER_MS` a record (0), `DRILL_BLOCKING` and
    /// `DRILL_HINTS` (0 or 1), `DRILL_SINK` (host:port).
    ///
    /// # Errors
    /// The first variable that is missing or wrong.
    pub fn from_environment() -> Result<Self, BadSetting> {
        let start = std::env::var("START_POSITION").unwrap_or_default();
        let start_at_latest = match start.as_str() {
            "" | "TRIM_HORIZON" => false,
            "LATEST" => true,
            _ => {
                let what = format!("is {start:?}, neither TRIM_HORIZON nor LATEST");
                return Err(BadSetting { name: "START_POSITION", what });
            }
        };
        let handler = millis("DRILL_HANDLER_MS", 0)?;
        let is_blocking = number("DRILL_BLOCKING", 0)? == 1;
        Ok(Self {
            worker: text("WORKER_ID")?,
            stream: text("STREAM")?,
            application: text("APP")?,
            kinesis: text("KINESIS_ENDPOINT")?,
            dynamodb: text("DYNAMODB_ENDPOINT")?,
            start_at_latest,
            lease_duration: millis("DRILL_LEASE_MS", 1500)?,
            poll: millis("DRILL_POLL_MS", 250)?,
            checkpoint: millis("DRILL_CHECKPOINT_MS", 1000)?,
            work: if is_blocking { Work::Block(handler) } else { Work::Wait(handler) },
            // A slow handler in batches of a second, so that a stop does not wait for long.
            batch_records: if handler.is_zero() { 10_000 } else { 32 },
            kind: if is_blocking { ProcessorKind::Blocking } else { ProcessorKind::Async },
            grace: BLOCKING_GRACE,
            hints: number("DRILL_HINTS", 1)? == 1,
            sink: std::env::var("DRILL_SINK").ok().filter(|sink| !sink.is_empty()),
        })
    }
}
