//! Histograms: in the terminal, and as SVG.

use std::fmt::Write;

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

    /// A picture with an axis.
    pub fn in_svg(&self, title: &str) -> String {
        let (width, height, foot) = (640.0, 240.0, 40.0);
        let most = self.counts.iter().copied().max().unwrap_or(0).max(1) as f64;
        let bar = width / self.counts.len().max(1) as f64;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{:.0}\" height=\"{:.0}\" \
             font-family=\"sans-serif\" font-size=\"11\">\n<text x=\"8\" y=\"16\" \
             font-size=\"14\">{}</text>\n",
            width + 16.0,
            height + foot + 24.0,
            escaped(title)
        );
        for (index, count) in self.counts.iter().enumerate() {
            let tall = *count as f64 / most * (height - 20.0);
            let x = 8.0 + index as f64 * bar;
            let _ = writeln!(
                svg,
                "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{tall:.1}\" \
                 fill=\"#3b6ea5\"><title>{count}</title></rect>",
                24.0 + height - tall,
                (bar - 1.0).max(0.5)
            );
            if index % 4 == 0 {
                let label = index as f64 * self.step;
                let y = 24.0 + height + 14.0;
                let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\">{label:.0} ms</text>");
            }
        }
        svg.push_str("</svg>\n");
        svg
    }
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
        assert!(histogram.in_svg("a < b").contains("a &lt; b"));
        assert_eq!(Histogram::of(&[]).counts, [0]);
    }
}
