//! What a worker program and a drill agree on.
//!
//! **Environment**: `WORKER_ID`, `STREAM`, `APP`, `KINESIS_ENDPOINT`, `DYNAMODB_ENDPOINT`,
//! `START_POSITION` (`TRIM_HORIZON` or `LATEST`). Credentials are `local`/`local`, the region is
//! `us-east-1`. The name in `APP` is new in each run. Records are put with payloads that are
//! decimal numbers, each once.
//!
//! **Lease duration**: `DRILL_LEASE_MS` (1500 with `--profile fast`, the usual one; 3000 with
//! `default`); the scenarios' times follow from it. `DRILL_HANDLER_MS` (time a record takes, in
//! `slow` and in `zombie --blocking`; else 0), `DRILL_BLOCKING` (1 with `--blocking`: the handler
//! keeps its thread), `DRILL_HINTS` (0 with `--no-hints`: workers tell each other nothing beside
//! the table) and `DRILL_POLL_MS` (how often a shard is read): a program that ignores them is not
//! drilled in that. Of other programs `all` is therefore without `slow`, which can be asked for by
//! its name, and without `kill-reaped`, which writes into the built-in worker's lease table.
//!
//! **Standard output**: one JSON object a line, each with `ts` (Unix seconds with fraction),
//! `worker` (the `WORKER_ID`) and `event`:
//! - `ready`: the worker has joined the fleet and heeds SIGTERM; nothing is done to it before.
//!   Without it, it has joined when it begins a shard;
//! - `shard_start {shard, seq}`: a shard is processed from here on, behind `seq` (`number`, or
//!   `number/subsequence` within an aggregate; null where it begins);
//! - `records {shard, n, seq, ids}`: so many records are processed, up to `seq`; `ids` are their
//!   payloads as text. Written before the checkpoint that covers them;
//! - `shard_end {shard}`, `lease_lost {shard}`, `shutdown`.
//!
//! A program may add to `shard_start` its fencing token, `fence`, and to `records` the `fence`,
//! when the batch `started` and `valid_until`, when the right to process it would have run out as
//! it stood at the start (both Unix seconds), as the built-in worker does. With them overlaps are
//! judged by the moment; without, a worker overlaps that goes on with a shard after another one has
//! begun it. A batch ends with its line, or when it was last `polled`, if a program asks for its
//! right before each poll of its handler and tells when that was: one frozen in between goes on
//! when it wakes. The built-in worker also tells `overrun {shard, past_ms}`: a blocking handler
//! ended so long after its right did. Other members of an object are ignored; a line that is no
//! such object is reported, and the drill has failed.
//!
//! **Effects**, if the program has a fencing token: `DRILL_SINK` (`host:port`) is a database with a
//! fencing column. It takes lines over TCP, `{"shard": ..., "fence": ..., "ids": [...]}`, and
//! answers each with a line: `ok`, `stale` if it has taken one of the shard with a higher fence,
//! or `bad`. A batch that it finds stale must not be told of as processed. Without effects nothing
//! is known of stale ones, and the report says null.
//!
//! **Logs** go to standard error. **SIGTERM** means: hand everything over and exit with 0. A worker
//! runs in a process group of its own, and every signal goes to the group, so that a script may
//! stand before the program.
//!
//! **What is checked**: every number is processed, in the order in which it came to its shard (a
//! repetition may go back; nothing new is skipped), parents before children, each shard by one
//! worker at a time; with fences, that no two workers begin a shard under the same one, and that
//! nobody begins one behind a record, or a child of it before one, that nobody had told of until
//! then; whoever begins one goes on with the first record behind where it said.

use serde::{Deserialize, Serialize};

/// One line of a worker's standard output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// When (Unix seconds).
    pub ts: f64,
    /// Whose.
    pub worker: String,
    /// What.
    #[serde(flatten)]
    pub event: LineEvent,
}

/// What a line tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum LineEvent {
    /// The worker takes part from here on.
    Ready,
    /// A shard is processed from here on.
    ShardStart {
        /// Which shard.
        shard: String,
        /// After this sequence number; null at the start of the shard.
        #[serde(default)]
        seq: Option<String>,
        /// The fencing token.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fence: Option<u64>,
    },
    /// Records are processed.
    Records {
        /// Which shard.
        shard: String,
        /// How many.
        n: usize,
        /// The last one's sequence number.
        seq: String,
        /// Their payloads.
        ids: Vec<String>,
        /// The fencing token.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fence: Option<u64>,
        /// When the batch started (Unix seconds).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        started: Option<f64>,
        /// When the right to process it would have run out (Unix seconds).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        valid_until: Option<f64>,
        /// When its handler was polled last, after its right was asked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        polled: Option<f64>,
    },
    /// A shard is finished.
    ShardEnd {
        /// Which shard.
        shard: String,
    },
    /// A shard belongs to another worker.
    LeaseLost {
        /// Which shard.
        shard: String,
    },
    /// A blocking handler ended after its worker's right to the shard.
    Overrun {
        /// Which shard.
        shard: String,
        /// So much (milliseconds, with fraction).
        past_ms: f64,
    },
    /// The worker leaves.
    Shutdown,
}

impl LineEvent {
    /// Its name, as in the line.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::ShardStart { .. } => "shard_start",
            Self::Records { .. } => "records",
            Self::ShardEnd { .. } => "shard_end",
            Self::LeaseLost { .. } => "lease_lost",
            Self::Overrun { .. } => "overrun",
            Self::Shutdown => "shutdown",
        }
    }

    /// The shard it is about.
    pub fn shard(&self) -> Option<&str> {
        match self {
            Self::ShardStart { shard, .. }
            | Self::Records { shard, .. }
            | Self::ShardEnd { shard }
            | Self::LeaseLost { shard }
            | Self::Overrun { shard, .. } => Some(shard),
            Self::Ready | Self::Shutdown => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_another_language_is_read() {
        let line = r#"{"ts": 1700000000.25, "worker": "w1", "event": "records",
            "shard": "shardId-000000000000", "n": 2, "seq": "495", "ids": ["1", "2"]}"#;
        let line: Line = serde_json::from_str(line).unwrap();
        let LineEvent::Records { n, ids, fence, .. } = &line.event else { panic!("{line:?}") };
        assert_eq!((*n, ids.len(), *fence), (2, 2, None));
        let start = r#"{"ts":1,"worker":"w","event":"shard_start","shard":"s"}"#;
        assert!(serde_json::from_str::<Line>(start).is_ok());
    }

    #[test]
    fn ours_reads_back_as_it_was() {
        let line = Line {
            ts: 1.5,
            worker: "w".into(),
            event: LineEvent::ShardStart { shard: "s".into(), seq: None, fence: Some(3) },
        };
        let text = serde_json::to_string(&line).unwrap();
        assert!(text.contains("\"event\":\"shard_start\""), "{text}");
        assert_eq!(serde_json::from_str::<Line>(&text).unwrap(), line);
    }

    #[test]
    fn every_event_has_its_name_in_the_line() {
        let shard = || "s".to_owned();
        let events = [
            LineEvent::Ready,
            LineEvent::ShardStart { shard: shard(), seq: None, fence: None },
            LineEvent::Records {
                shard: shard(),
                n: 0,
                seq: "495".into(),
                ids: Vec::new(),
                fence: None,
                started: None,
                valid_until: None,
                polled: None,
            },
            LineEvent::ShardEnd { shard: shard() },
            LineEvent::LeaseLost { shard: shard() },
            LineEvent::Overrun { shard: shard(), past_ms: 0.5 },
            LineEvent::Shutdown,
        ];
        for event in events {
            assert_eq!(serde_json::to_value(&event).unwrap()["event"], event.name());
        }
    }
}
