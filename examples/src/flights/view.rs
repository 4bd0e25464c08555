//! What the program shows while it runs.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use kcl_core::protocol::Moment;
use kcl_core::{Clock, ShardStatus, Status, SystemClock};

use super::tracker::Takeover;
use crate::say;

/// Without a live view a line is printed this often.
const PLAIN_EVERY: Duration = Duration::from_secs(2);
/// Columns of the progress bar: with the numbers beside it the line fits in 80.
const BAR: usize = 24;
/// Lines drawn at most, and where the terminal does not tell its height.
const MOST_LINES: usize = 22;
/// Where the terminal does not tell its width.
const COLUMNS: usize = 80;
/// Tells the terminal to clear the rest of the line, and all lines from here on. The screen is not
/// cleared as a whole: terminals that keep what was cleared would keep every picture.
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";

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
        if self.drawn == 0 {
            return say(sentence);
        }
        say(format!("{}{sentence}{CLEAR_LINE}", self.back()));
        self.clear_below();
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
            let (rows, columns) = terminal_size();
            let lines = live_lines(scene, rows);
            let lines: Vec<_> = lines.iter().map(|line| cut(line, columns)).collect();
            let back = self.back();
            self.drawn = lines.len();
            say(format!("{back}{}{CLEAR_LINE}", lines.join(&format!("{CLEAR_LINE}\n"))));
            self.clear_below();
        } else if now.since(self.last) >= PLAIN_EVERY {
            self.last = now;
            say(summary(scene));
        }
    }

    /// Takes the live part away.
    pub fn erase(&mut self) {
        if self.drawn > 0 {
            let _ = write!(std::io::stdout(), "{}", self.back());
            self.clear_below();
        }
    }

    /// What moves the cursor to where the live part begins, which is then drawn over.
    fn back(&mut self) -> String {
        match std::mem::take(&mut self.drawn) {
            0 => String::new(),
            lines => format!("\x1b[{lines}A"),
        }
    }

    /// Takes away what was drawn below before.
    fn clear_below(&self) {
        // A terminal that is gone shows nothing, and that is no reason to stop counting.
        let _ = write!(std::io::stdout(), "{CLEAR_BELOW}");
        let _ = std::io::stdout().flush();
    }
}

fn summary(scene: &Scene) -> String {
    let Scene { rows, put, processed, .. } = scene;
    // A row may be processed before the producer hears that it was put.
    let behind = put.saturating_sub(*processed);
    format!("{processed} of {rows} rows done, {behind} behind, {} workers", scene.workers.len())
}

/// The numbers of a worker's shards, and how far the last of them is behind.
fn held_in_words(status: &Status) -> String {
    let number = |shard: &ShardStatus| {
        let number = shard.shard.as_str().trim_start_matches("shardId-").trim_start_matches('0');
        if number.is_empty() { "0".to_owned() } else { number.to_owned() }
    };
    let numbers: Vec<_> = status.shards.iter().map(number).collect();
    let lags = status.shards.iter().map(|shard| shard.consumer.lag_millis);
    lags.max().map_or("no shard".to_owned(), |lag| {
        format!("shards {}; {lag} ms behind", numbers.join(", "))
    })
}

/// The lines of the terminal but the one the cursor stands in (it cannot go back to what has
/// scrolled away), and its columns.
fn terminal_size() -> (usize, usize) {
    let size = rustix::termios::tcgetwinsize(std::io::stdout());
    let (rows, columns) = size.map_or((0, 0), |size| (size.ws_row, size.ws_col));
    let rows = if rows == 0 { MOST_LINES } else { usize::from(rows - 1).clamp(1, MOST_LINES) };
    (rows, if columns == 0 { COLUMNS } else { usize::from(columns) })
}

/// A line that wrapped would be two to draw over. The last column stays free: with the cursor on
/// it, terminals differ in what they clear.
fn cut(line: &str, columns: usize) -> String {
    line.chars().take(columns.saturating_sub(1)).collect()
}

/// At most so many lines, at least one.
fn live_lines(scene: &Scene, most: usize) -> Vec<String> {
    let done = scene.processed * BAR / scene.rows.max(1);
    let bar = format!("[{}{}]", "=".repeat(done), " ".repeat(BAR.saturating_sub(done)));
    let mut lines = vec![format!("{bar} {}", summary(scene))];
    let (workers, room) = (&scene.workers, most.saturating_sub(1));
    let shown = if workers.len() <= room { workers.len() } else { room.saturating_sub(1) };
    for (_, name, status) in workers.iter().take(shown) {
        lines.push(format!("  {name:<10} {}", held_in_words(status)));
    }
    if shown < workers.len() && room > 0 {
        lines.push(format!("  and {} workers more", workers.len() - shown));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use kcl_core::WorkerPhase;

    fn scene(workers: usize) -> Scene {
        let status = Status {
            worker: None,
            phase: WorkerPhase::Running,
            shards: Vec::new(),
            workers_unreadable: None,
        };
        let worker = |index| (index, format!("worker-{index}"), status.clone());
        Scene { rows: 100, put: 50, processed: 25, workers: (0..workers).map(worker).collect() }
    }

    #[test]
    fn the_bar_shows_what_is_processed_and_the_line_what_is_behind() {
        let lines = live_lines(&scene(2), MOST_LINES);
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0].matches('=').count(), BAR / 4);
        assert!(lines[0].ends_with("25 of 100 rows done, 25 behind, 2 workers"), "{lines:?}");
        assert_eq!(lines[1], "  worker-0   no shard");
    }

    #[test]
    fn the_view_fits_on_a_terminal_however_many_workers_there_are() {
        for most in 1..=MOST_LINES {
            assert_eq!(live_lines(&scene(64), most).len(), most);
        }
        assert_eq!(live_lines(&scene(64), MOST_LINES)[21], "  and 44 workers more");
        assert_eq!(live_lines(&scene(3), 4)[3], "  worker-2   no shard");
        assert_eq!(live_lines(&scene(3), 3)[2], "  and 2 workers more");
    }
}
