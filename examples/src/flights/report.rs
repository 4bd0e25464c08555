//! The end: the table, the check against a direct pass, and the report for machines.

use serde::Serialize;

use super::audit::KeyCounts;
use super::figures::Figure;
use super::tracker::Takeover;
use crate::say;

/// Keys named in the text; all of them are in the JSON report.
const KEYS_SHOWN: usize = 5;

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
    /// Every key of which anything was lost, redelivered or out of order, the worst first.
    pub keys: Vec<KeyCounts>,
    /// Every figure equals that of a direct pass over the file.
    pub matches_direct: bool,
    /// The figures.
    pub figures: Vec<Figure>,
    /// Every change of owner.
    pub takeovers: Vec<Takeover>,
    /// Every event of the script happened and settled.
    pub script_settled: bool,
    /// How long it took (milliseconds).
    pub wall_ms: u64,
}

impl Report {
    /// What is wrong with the run, if anything is.
    pub fn fault(&self) -> Option<&'static str> {
        let faults = [
            (self.lost > 0, "rows were lost"),
            (self.out_of_order > 0, "rows of one key came out of order"),
            (!self.matches_direct, "the figures are not those of a direct pass"),
            (!self.script_settled, "not every event happened and settled"),
        ];
        faults.into_iter().find_map(|(is_so, what)| is_so.then_some(what))
    }

    /// The keys of which not every row came once and in order, and what it means if there are none.
    fn keys_in_words(&self) -> Vec<String> {
        let line = |counts: &KeyCounts| {
            let KeyCounts { key, lost, redelivered, out_of_order } = counts;
            format!("  {key}: lost {lost}, redelivered {redelivered}, out of order {out_of_order}")
        };
        let mut lines: Vec<_> = self.keys.iter().take(KEYS_SHOWN).map(line).collect();
        let more = self.keys.len().saturating_sub(lines.len());
        if more > 0 {
            lines.push(format!("  and {more} keys more; --json names them all"));
        }
        if self.redelivered == 0 {
            let why = "  nothing came twice: the killed worker had nothing delivered since its \
                       last checkpoint, which depends on the moment";
            lines.push(why.to_owned());
        }
        lines
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
        say(format!("\n{count} lines, {same} to those of a direct pass over the file"));
        say(format!(
            "put {}, processed {}, lost {}, redelivered {} (counted once), out of order {}",
            self.put, self.processed, self.lost, self.redelivered, self.out_of_order
        ));
        self.keys_in_words().iter().for_each(say);
        let seconds = self.wall_ms as f64 / 1000.0;
        say(format!("{} changes of owner, {seconds:.1} s", self.takeovers.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Report {
        Report {
            put: 1,
            processed: 1,
            lost: 0,
            redelivered: 0,
            out_of_order: 0,
            keys: Vec::new(),
            matches_direct: true,
            figures: Vec::new(),
            takeovers: Vec::new(),
            script_settled: true,
            wall_ms: 1,
        }
    }

    #[test]
    fn a_run_is_good_only_if_nothing_is_wrong() {
        assert_eq!(good().fault(), None);
        assert_eq!(Report { redelivered: 9, ..good() }.fault(), None, "counted once");
        assert!(Report { lost: 1, ..good() }.fault().is_some());
        assert!(Report { out_of_order: 1, ..good() }.fault().is_some());
        assert!(Report { matches_direct: false, ..good() }.fault().is_some());
        assert!(Report { script_settled: false, ..good() }.fault().is_some());
    }

    #[test]
    fn the_worst_keys_are_named_and_the_others_counted() {
        let key = |number| KeyCounts { key: format!("N{number}"), ..KeyCounts::default() };
        let keys: Vec<_> = (0..300).map(key).collect();
        let report = Report { keys, redelivered: 300, ..good() };
        let lines = report.keys_in_words();
        assert_eq!(lines.len(), KEYS_SHOWN + 1);
        assert_eq!(lines[0], "  N0: lost 0, redelivered 0, out of order 0");
        assert_eq!(lines[5], "  and 295 keys more; --json names them all");
        let json = serde_json::to_value(report).unwrap();
        assert_eq!(json["keys"].as_array().map(Vec::len), Some(300));
        assert_eq!(json["keys"][299]["key"], "N299");
        let none = good().keys_in_words();
        assert!(none[0].contains("nothing came twice"), "{none:?}");
    }

    #[test]
    fn a_mean_over_no_rows_is_null() {
        let figure = Figure {
            origin: "JFK".to_owned(),
            carrier: "B6".to_owned(),
            flights: 2,
            mean_dep_delay: None,
        };
        let json = serde_json::to_value(Report { figures: vec![figure], ..good() }).unwrap();
        assert!(json["figures"][0]["mean_dep_delay"].is_null());
        assert_eq!(json["figures"][0]["flights"], 2);
    }
}
