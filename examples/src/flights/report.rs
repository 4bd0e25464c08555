//! The end: the table, the check against a direct pass, and the report for machines.

use serde::Serialize;

use super::figures::Figure;
use super::tracker::Takeover;
use crate::say;

/// What `--json` writes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Rows put on the stream.
    pub put: usize,
    /// Rows processed at least once.
    pub processed: usize,
    /// Rows put and never processed.
    pub lost: usize,
    /// Deliveries beyond the first of a row.
    pub redelivered: usize,
    /// Rows that came after a later row of the same key.
    pub out_of_order: usize,
    /// Every figure equals that of a direct pass over the file.
    pub matches_direct: bool,
    /// The figures.
    pub figures: Vec<Figure>,
    /// Every change of owner.
    pub takeovers: Vec<Takeover>,
    /// How long it took (milliseconds).
    pub wall_ms: u64,
}

impl Report {
    /// True if nothing is lost, out of order, or different.
    pub fn is_good(&self) -> bool {
        self.lost == 0 && self.out_of_order == 0 && self.matches_direct
    }

    /// The table and the verdict, for people.
    pub fn print(&self) {
        say("\norigin  carrier  flights  mean departure delay (min)");
        for figure in &self.figures {
            let Figure { origin, carrier, flights, mean_dep_delay } = figure;
            let delay = mean_dep_delay.map_or("-".to_owned(), |delay| format!("{delay:.2}"));
            say(format!("{origin:<7} {carrier:<8} {flights:>7}  {delay:>8}"));
        }
        let same = if self.matches_direct { "all equal" } else { "DIFFERENT" };
        let count = self.figures.len();
        say(format!("\n{count} figures, {same} to those of a direct pass over the file"));
        say(format!(
            "put {}, processed {}, lost {}, redelivered {} (counted once), out of order per key {}",
            self.put, self.processed, self.lost, self.redelivered, self.out_of_order
        ));
        let seconds = self.wall_ms as f64 / 1000.0;
        say(format!("{} changes of owner, {seconds:.1} s", self.takeovers.len()));
    }
}
