//! The end: the table, the check against a direct pass, and the report for machines.

use serde::Serialize;

use super::figures::Figure;
use super::tracker::Takeover;

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
        println!("\norigin  carrier  flights  mean departure delay (min)");
        for figure in &self.figures {
            let delay = figure.mean_dep_delay.map_or("-".to_owned(), |delay| format!("{delay:.2}"));
            println!(
                "{:<7} {:<8} {:>7}  {delay:>8}",
                figure.origin, figure.carrier, figure.flights
            );
        }
        let same = if self.matches_direct { "all equal" } else { "DIFFERENT" };
        println!(
            "\n{} figures, {same} to those of a direct pass over the file",
            self.figures.len()
        );
        println!(
            "put {}, processed {}, lost {}, redelivered {} (counted once), out of order per key {}",
            self.put, self.processed, self.lost, self.redelivered, self.out_of_order
        );
        println!(
            "{} changes of owner, {:.1} s",
            self.takeovers.len(),
            self.wall_ms as f64 / 1000.0
        );
    }
}
