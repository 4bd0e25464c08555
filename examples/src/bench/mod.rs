//! Measuring: each file takes one kind of number, and says how.

pub mod idle;
pub mod latency;
pub mod moves;
pub mod planning;
pub mod probe;
pub mod throughput;

use serde::Serialize;

/// One number.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Number {
    /// What was measured.
    pub what: String,
    /// The value.
    pub value: f64,
    /// Its unit.
    pub unit: &'static str,
    /// What it should be, if something was promised.
    pub goal: Option<&'static str>,
}

impl Number {
    /// A number without a goal.
    pub fn new(what: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { what: what.into(), value, unit, goal: None }
    }
    /// What it should be.
    pub fn goal(self, goal: &'static str) -> Self {
        Self { goal: Some(goal), ..self }
    }
}

/// The value below which this share of the samples lies; 0 without samples.
pub fn percentile(samples: &mut [f64], share: f64) -> f64 {
    samples.sort_by(f64::total_cmp);
    let last = samples.len().saturating_sub(1);
    samples.get((last as f64 * share).round() as usize).copied().unwrap_or(0.0)
}
