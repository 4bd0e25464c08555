//! How far a campaign has come.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use kcl_core::protocol::Moment;
use kcl_testkit::sim::Failed;

/// Where there is no terminal, progress is a line, so often.
pub const LINE_EVERY: Duration = Duration::from_secs(10);

/// A bar on a terminal, a line now and then elsewhere.
pub struct Progress {
    bar: ProgressBar,
    is_terminal: bool,
    started: Moment,
    told: Moment,
    /// Done in sittings before.
    before: u64,
    seeds: u64,
}

impl Progress {
    /// On standard error, for so many seeds, of which these are done already.
    pub fn new(seeds: u64, done: u64, now: Moment) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        Self::on(ProgressDrawTarget::stderr(), is_terminal, seeds, done, now)
    }

    /// The same elsewhere.
    pub fn on(
        target: ProgressDrawTarget,
        is_terminal: bool,
        seeds: u64,
        done: u64,
        now: Moment,
    ) -> Self {
        let style = "{bar:40} {pos}/{len} seeds, {eta} left, {msg}";
        let style = ProgressStyle::with_template(style);
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::with_draw_target(Some(seeds), target);
        let bar = bar.with_style(style).with_position(done);
        bar.reset_eta();
        Self { bar, is_terminal, started: now, told: now, before: done, seeds }
    }

    /// So many are done now, and of these so many failed. Gives the line to print where there is
    /// no terminal, if it is time for one.
    pub fn show(&mut self, done: u64, failed: usize, now: Moment) -> Option<String> {
        self.bar.set_position(done);
        self.bar.set_message(format!("{failed} failed"));
        if self.is_terminal || now.since(self.told) < LINE_EVERY {
            return None;
        }
        self.told = now;
        // Seeds take about the same time each.
        let each = now.since(self.started).as_secs_f64() / (done - self.before).max(1) as f64;
        let left = each * (self.seeds - done) as f64;
        Some(format!("{done}/{} seeds, {left:.0} s left, {failed} failed", self.seeds))
    }

    /// A seed has failed: above the bar, at once, for a campaign may be stopped before it can tell
    /// its result. Gives the line to print where there is no terminal.
    pub fn failed(&self, failed: &Failed) -> Option<String> {
        let line = format!("seed {} fails: {}", failed.seed, failed.violations.join("; "));
        if self.is_terminal {
            self.bar.println(line);
            return None;
        }
        Some(line)
    }

    /// Takes the bar away: the result follows.
    pub fn finish(self) {
        self.bar.finish_and_clear();
    }
}
