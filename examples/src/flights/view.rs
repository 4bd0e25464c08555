//! What the program shows while it runs.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use kcl_core::protocol::Moment;
use kcl_core::{Clock, ShardStatus, Status, SystemClock};

use super::tracker::Takeover;
use crate::say;

/// Without a live view a line is printed this often.
const PLAIN_EVERY: Duration = Duration::from_secs(2);
/// Columns of the progress bar.
const BAR: usize = 40;
/// Workers shown at once, so that the view fits on a terminal of 24 lines: the cursor cannot go
/// back to what has scrolled away.
const WORKERS_SHOWN: usize = 20;
/// Tells the terminal to cut long lines, so that a line drawn is a line to draw over; and not to.
const CUT_LINES: &str = "\x1b[?7l";
const WRAP_LINES: &str = "\x1b[?7h";

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
    /// Live if the output is a terminal that can be drawn on and nobody asked for plain lines.
    pub fn new(plain: bool) -> Self {
        let can_draw = std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let is_live = !plain && can_draw && std::io::stdout().is_terminal();
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
        self.say(&format!("  {shard}: {from} -> {to}, {reason}, {ms:.1} ms"));
    }

    /// Shows how things stand.
    pub fn draw(&mut self, scene: &Scene) {
        let now = SystemClock.monotonic();
        if self.is_live {
            self.erase();
            let lines = live_lines(scene);
            self.drawn = lines.len();
            say(format!("{CUT_LINES}{}{WRAP_LINES}", lines.join("\n")));
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

/// The numbers of a worker's shards, and how far the last of them is behind.
fn held_in_words(status: &Status) -> String {
    let number = |shard: &ShardStatus| {
        let number = shard.shard.as_str().trim_start_matches("shardId-").trim_start_matches('0');
        if number.is_empty() { "0".to_owned() } else { number.to_owned() }
    };
    let numbers: Vec<_> = status.shards.iter().map(number).collect();
    let lags = status.shards.iter().map(|shard| shard.consumer.lag_millis);
    lags.max()
        .map_or("no shard".to_owned(), |lag| format!("{} ({lag} ms behind)", numbers.join(" ")))
}

fn live_lines(scene: &Scene) -> Vec<String> {
    let done = scene.processed * BAR / scene.rows.max(1);
    let bar = format!("[{}{}]", "=".repeat(done), " ".repeat(BAR.saturating_sub(done)));
    let mut lines = vec![format!("{bar} {}", summary(scene))];
    for (_, name, status) in scene.workers.iter().take(WORKERS_SHOWN) {
        lines.push(format!("  {name:<10} {}", held_in_words(status)));
    }
    if scene.workers.len() > WORKERS_SHOWN {
        lines.push(format!("  and {} workers more", scene.workers.len() - WORKERS_SHOWN));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use kcl_core::WorkerPhase;

    fn scene(workers: usize) -> Scene {
        let status = Status { worker: None, phase: WorkerPhase::Running, shards: Vec::new() };
        let worker = |index| (index, format!("worker-{index}"), status.clone());
        Scene { rows: 100, put: 50, processed: 25, workers: (0..workers).map(worker).collect() }
    }

    #[test]
    fn the_bar_shows_what_is_processed_and_the_line_what_is_behind() {
        let lines = live_lines(&scene(2));
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0].matches('=').count(), BAR / 4);
        assert!(lines[0].ends_with("50 of 100 rows put, 25 processed, 25 behind, 2 workers"));
        assert_eq!(lines[1], "  worker-0   no shard");
    }

    #[test]
    fn the_view_fits_on_a_terminal_however_many_workers_there_are() {
        let lines = live_lines(&scene(64));
        assert_eq!(lines.len(), WORKERS_SHOWN + 2);
        assert_eq!(lines[WORKERS_SHOWN + 1], "  and 44 workers more");
    }
}
