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

/// Where variables are looked up.
struct Variables<F>(F);

impl<F: Fn(&'static str) -> Option<String>> Variables<F> {
    fn find(&self, name: &'static str) -> Option<String> {
        self.0(name)
    }

    /// Milliseconds a variable holds, or a default.
    fn millis(&self, name: &'static str, usual: u64) -> Result<Duration, BadSetting> {
        self.number(name, usual).map(Duration::from_millis)
    }

    fn number(&self, name: &'static str, usual: u64) -> Result<u64, BadSetting> {
        let Some(text) = self.find(name) else { return Ok(usual) };
        text.parse().map_err(|_| BadSetting { name, what: format!("is {text:?}, not a number") })
    }

    fn text(&self, name: &'static str) -> Result<String, BadSetting> {
        let what = || "is not set; see `kcl drill --contract`".to_owned();
        let set = self.find(name).filter(|text| !text.is_empty());
        set.ok_or_else(|| BadSetting { name, what: what() })
    }
}

impl Settings {
    /// Reads the variables of the contract, and ours: `DRILL_LEASE_MS` (1500), `DRILL_POLL_MS`
    /// (250), `DRILL_CHECKPOINT_MS` (1000), `DRILL_HANDLER_MS` a record (0), `DRILL_BLOCKING` and
    /// `DRILL_HINTS` (0 or 1), `DRILL_SINK` (host:port).
    ///
    /// # Errors
    /// The first variable that is missing or wrong.
    pub fn from_environment() -> Result<Self, BadSetting> {
        Self::of(|name| std::env::var(name).ok())
    }

    fn of(find: impl Fn(&'static str) -> Option<String>) -> Result<Self, BadSetting> {
        let set = Variables(find);
        let start = set.find("START_POSITION").unwrap_or_default();
        let start_at_latest = match start.as_str() {
            "" | "TRIM_HORIZON" => false,
            "LATEST" => true,
            _ => {
                let what = format!("is {start:?}, neither TRIM_HORIZON nor LATEST");
                return Err(BadSetting { name: "START_POSITION", what });
            }
        };
        let handler = set.millis("DRILL_HANDLER_MS", 0)?;
        let is_blocking = set.number("DRILL_BLOCKING", 0)? == 1;
        Ok(Self {
            worker: set.text("WORKER_ID")?,
            stream: set.text("STREAM")?,
            application: set.text("APP")?,
            kinesis: set.text("KINESIS_ENDPOINT")?,
            dynamodb: set.text("DYNAMODB_ENDPOINT")?,
            start_at_latest,
            lease_duration: set.millis("DRILL_LEASE_MS", 1500)?,
            poll: set.millis("DRILL_POLL_MS", 250)?,
            checkpoint: set.millis("DRILL_CHECKPOINT_MS", 1000)?,
            work: if is_blocking { Work::Block(handler) } else { Work::Wait(handler) },
            // A slow handler in batches of a second, so that a stop does not wait for long.
            batch_records: if handler.is_zero() { 10_000 } else { 32 },
            kind: if is_blocking { ProcessorKind::Blocking } else { ProcessorKind::Async },
            grace: BLOCKING_GRACE,
            hints: set.number("DRILL_HINTS", 1)? == 1,
            sink: set.find("DRILL_SINK").filter(|sink| !sink.is_empty()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTRACT: [(&str, &str); 5] = [
        ("WORKER_ID", "w1"),
        ("STREAM", "s"),
        ("APP", "a"),
        ("KINESIS_ENDPOINT", "http://k"),
        ("DYNAMODB_ENDPOINT", "http://d"),
    ];

    fn with(more: &[(&'static str, &str)]) -> Result<Settings, BadSetting> {
        let found = |name: &str| {
            let all = more.iter().chain(&CONTRACT);
            all.copied().find(|pair| pair.0 == name).map(|pair| pair.1.to_owned())
        };
        Settings::of(found)
    }

    #[test]
    fn a_worker_starts_at_the_trim_horizon_unless_told_to_start_at_the_latest_record() {
        let start = |position| with(&[("START_POSITION", position)]).map(|set| set.start_at_latest);
        assert_eq!(
            [start("TRIM_HORIZON"), start("LATEST"), start("")],
            [Ok(false), Ok(true), Ok(false)]
        );
        assert!(!with(&[]).unwrap().start_at_latest);
        let error = start("AT_TIMESTAMP").unwrap_err().to_string();
        assert!(error.contains("START_POSITION") && error.contains("AT_TIMESTAMP"), "{error}");
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        for (name, _) in CONTRACT {
            let error = with(&[(name, "")]).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("is not set"), "{error}");
        }
        let error = with(&[("DRILL_LEASE_MS", "soon")]).unwrap_err().to_string();
        assert!(error.contains("DRILL_LEASE_MS") && error.contains("soon"), "{error}");
    }
}
