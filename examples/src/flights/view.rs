//! What the program shows while it runs.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use kcl_core::protocol::Moment;
use kcl_core::{Clock, Status, SystemClock};

use super::tracker::Takeover;
use crate::say;

/// Without a live view a line is printed this often.
const PLAIN_EVERY: Duration = Duration::from_secs(2);
/// Columns of the progress bar.
const BAR: usize = 40;

/// A live view on a terminal, or a line now and then.
pub struct View {
    is_live: bool,
    /// Lines drawn last, to be drawn over.
    drawn: usize,
    last: Moment,
}

/// What the view shows.
pub struct Scene {
    /// Rows in all.
    pub rows: usize,
    /// Rows on the stream.
    pub put: usize,
    /// Rows processed.
    pub processed: usize,
    /// Each running worker's name and status.
    pub workers: Vec<(usize, String, Status)>,
}

impl View {
    /// Live if the output is a terminal and nobody asked for plain lines.
    pub fn new(plain: bool) -> Self {
        let is_live = !plain && std::io::stdout().is_terminal();
        Self { is_live, drawn: 0, last: SystemClock.monotonic() }
    }

    /// Prints a sentence that stays.
    pub fn say(&mut self, sentence: &str) {
        self.erase();
        say(sentence);
    }

    /// Prints a change of owner.
    pub fn takeover(&mut self, takeover: &Takeover) {
        let Takeover { shard, from, to, reason, ms } = takeover;
        self.say(&format!("  {shard}: {from} -> {to}, {reason}, {ms:.0} ms"));
    }

    /// Shows how things stand.
    pub fn draw(&mut self, scene: &Scene) {
        let now = SystemClock.monotonic();
        if self.is_live {
            self.erase();
            let lines = live_lines(scene);
            self.drawn = lines.len();
            say(lines.join("\n"));
            // A terminal that is gone shows nothing, and that is no reason to stop counting.
            let _ = std::io::stdout().flush();
        } else if now.since(self.last) >= PLAIN_EVERY {
            self.last = now;
            say(summary(scene));
        }
    }

    /// Takes the live part away.
    pub fn erase(&mut self) {
        if self.drawn > 0 {
            let _ = write!(std::io::stdout(), "\x1b[{}A\x1b[J", self.drawn);
            self.drawn = 0;
        }
    }
}

fn summary(scene: &Scene) -> String {
    let behind = scene.put.saturating_sub(scene.processed);
    format!(
        "{} of {} rows put, {} processed, {behind} behind, {} workers",
        scene.put,
        scene.rows,
        scene.processed,
        scene.workers.len()
    )
}

fn live_lines(scene: &Scene) -> Vec<String> {
    let done = scene.processed * BAR / scene.rows.max(1);
    let bar = format!("[{}{}]", "=".repeat(done), " ".repeat(BAR.saturating_sub(done)));
    let mut lines = vec![format!("{bar} {}", summary(scene))];
    for (_, name, status) in &scene.workers {
        let shard = |shard: &kcl_core::ShardStatus| {
            let number =
                shard.shard.as_str().trim_start_matches("shardId-").trim_start_matches('0');
            let number = if number.is_empty() { "0" } else { number };
            format!("{number} ({} ms behind)", shard.consumer.lag_millis)
        };
        let shards: Vec<_> = status.shards.iter().map(shard).collect();
        lines.push(format!("  {name:<10} {}", shards.join(", ")));
    }
    lines
}
