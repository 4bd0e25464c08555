//! Histograms: in the terminal, and as SVG.

use std::fmt::Write;

use crate::print::known;
use crate::report::Report;

/// Columns of a bar in the terminal.
const BAR: usize = 50;
/// Bars of a histogram.
const BARS: usize = 20;

/// How many values fall into each of equally wide steps.
pub(crate) struct Histogram {
    /// Width of a step.
    pub step: f64,
    pub counts: Vec<usize>,
}

impl Histogram {
    pub fn of(values: &[f64]) -> Self {
        let top = values.iter().copied().fold(0.0, f64::max);
        let step = nice(top / BARS as f64);
        let mut counts = vec![0; (top / step) as usize + 1];
        for value in values {
            // Every value lies between zero and the top.
            counts[(value / step) as usize] += 1;
        }
        Self { step, counts }
    }

    /// A line for each step.
    pub fn in_text(&self) -> String {
        let most = self.counts.iter().copied().max().unwrap_or(0).max(1);
        let mut text = String::new();
        for (index, count) in self.counts.iter().enumerate() {
            let bar = "#".repeat((count * BAR).div_ceil(most));
            let _ = writeln!(text, "{:>8.0} ms {count:>5} {bar}", index as f64 * self.step);
        }
        text
    }

    /// Bars over an axis, with its upper left corner at a place in a picture.
    fn draw(&self, svg: &mut String, (left, top): (f64, f64), title: &str) {
        let (width, height) = (PANEL.0 - 40.0, PANEL.1 - 60.0);
        let most = self.counts.iter().copied().max().unwrap_or(0).max(1) as f64;
        let bar = width / self.counts.len().max(1) as f64;
        let _ = writeln!(svg, "<text x=\"{left}\" y=\"{}\">{}</text>", top + 12.0, escaped(title));
        let floor = top + 20.0 + height;
        for (index, count) in self.counts.iter().enumerate() {
            let tall = *count as f64 / most * height;
            let x = left + index as f64 * bar;
            let _ = writeln!(
                svg,
                "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{tall:.1}\" \
                 fill=\"#3b6ea5\"><title>{count}</title></rect>",
                floor - tall,
                (bar - 1.0).max(0.5)
            );
            if index % 5 == 0 {
                let label = index as f64 * self.step;
                let y = floor + 14.0;
                let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\">{label:.0} ms</text>");
            }
        }
    }
}

/// Width and height of one histogram in a picture.
const PANEL: (f64, f64) = (440.0, 200.0);
/// Height of the lines above the histograms of a scenario.
const HEAD: f64 = 44.0;

/// A picture of reports, one below the other: failovers, pauses, and what was counted.
pub(crate) fn svg(reports: &[Report]) -> String {
    let tall = HEAD + PANEL.1;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{:.0}\" height=\"{:.0}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        2.0 * PANEL.0 + 16.0,
        tall * reports.len() as f64 + 16.0
    );
    for (index, report) in reports.iter().enumerate() {
        let top = index as f64 * tall + 8.0;
        let head = format!(
            "{}: {} rounds, {} invalid, {} records",
            report.scenario, report.rounds, report.invalid_rounds, report.records
        );
        let counts = format!(
            "lost {}, out of order {}, overlaps {}, stale effects accepted {} and rejected {}, \
             duplicates {}, overruns {}",
            report.lost,
            report.out_of_order,
            report.overlaps,
            known(report.stale_effects_accepted),
            known(report.stale_effects_rejected),
            report.duplicates,
            report.overruns
        );
        let _ = writeln!(
            svg,
            "<text x=\"12\" y=\"{:.0}\" font-size=\"14\">{}</text>\n\
             <text x=\"12\" y=\"{:.0}\">{}</text>",
            top + 16.0,
            escaped(&head),
            top + 34.0,
            escaped(&counts)
        );
        let panels = [
            ("from the loss of a worker to each shard's next record", &report.failovers),
            ("pauses at changes of owner", &report.pauses),
        ];
        let drawn = panels.iter().filter(|(_, values)| !values.is_empty());
        for (column, (title, values)) in drawn.enumerate() {
            let place = (12.0 + column as f64 * PANEL.0, top + HEAD);
            Histogram::of(values).draw(&mut svg, place, title);
        }
    }
    svg.push_str("</svg>\n");
    svg
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

/// The next of 1, 2, 5, 10, ... that is not below.
fn nice(step: f64) -> f64 {
    let mut size = 1.0;
    loop {
        for factor in [1.0, 2.0, 5.0] {
            if size * factor >= step {
                return size * factor;
            }
        }
        size *= 10.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_in_one_step() {
        let values = [0.0, 3.0, 999.0, 1000.0, 17.5];
        let histogram = Histogram::of(&values);
        assert_eq!(histogram.counts.iter().sum::<usize>(), values.len());
        assert_eq!(histogram.step, 50.0);
        assert!(histogram.in_text().lines().count() >= BARS);
        assert_eq!(Histogram::of(&[]).counts, [0]);
    }

    #[test]
    fn a_picture_shows_every_scenario_with_its_counts() {
        let report = |scenario: &str, failovers: &[f64]| Report {
            scenario: scenario.into(),
            failovers: failovers.to_vec(),
            lost: 3,
            ..Report::default()
        };
        let mut kill = report("kill", &[1500.0, 1600.0]);
        (kill.pauses, kill.duplicates) = (vec![20.0], 7);
        let svg = svg(&[kill, report("a < b", &[])]);
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
        assert!(svg.contains("kill: ") && svg.contains("a &lt; b: ") && svg.contains("lost 3"));
        assert!(svg.contains("duplicates 7") && svg.contains("duplicates 0"), "{svg}");
        for title in ["from the loss", "pauses at changes"] {
            assert_eq!(svg.matches(title).count(), 1, "nothing is drawn of nothing: {title}");
        }
    }
}
