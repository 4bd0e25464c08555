//! The result: flights and average departure delay per origin and carrier.

use std::collections::BTreeMap;

use serde::Serialize;

use super::rows::{Flight, KeyedFlight};

/// Sums per origin and carrier. Delays are summed in thousandths of a minute, so that the order in
/// which shards are added changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures(BTreeMap<(String, String), Sum>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    flights: u64,
    delayed: u64,
    delay_thousandths: i64,
}

/// One line of the result.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// Airport.
    pub origin: String,
    /// Airline.
    pub carrier: String,
    /// Flights.
    pub flights: u64,
    /// Minutes, over the rows that have one.
    pub mean_dep_delay: Option<f64>,
}

impl Figures {
    /// Counts one flight.
    pub fn add(&mut self, flight: &Flight) {
        let sum = self.0.entry((flight.origin.clone(), flight.carrier.clone())).or_default();
        sum.flights += 1;
        if let Some(delay) = flight.dep_delay {
            sum.delayed += 1;
            sum.delay_thousandths += (delay * 1000.0).round() as i64;
        }
    }
    /// Adds another shard's.
    pub fn merge(&mut self, other: &Self) {
        for (key, sum) in &other.0 {
            let mine = self.0.entry(key.clone()).or_default();
            mine.flights += sum.flights;
            mine.delayed += sum.delayed;
            mine.delay_thousandths += sum.delay_thousandths;
        }
    }
    /// A direct pass over the rows: what the fleet must come to.
    pub fn direct(rows: &[KeyedFlight]) -> Self {
        let mut figures = Self::default();
        rows.iter().for_each(|row| figures.add(&row.flight));
        figures
    }
    /// The lines, by origin, then carrier.
    pub fn lines(&self) -> Vec<Figure> {
        let line = |((origin, carrier), sum): (&(String, String), &Sum)| Figure {
            origin: origin.clone(),
            carrier: carrier.clone(),
            flights: sum.flights,
            mean_dep_delay: (sum.delayed > 0)
                .then(|| sum.delay_thousandths as f64 / 1000.0 / sum.delayed as f64),
        };
        self.0.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flight(origin: &str, dep_delay: Option<f64>) -> Flight {
        Flight { origin: origin.into(), carrier: "B6".into(), dep_delay }
    }

    #[test]
    fn the_mean_is_over_the_rows_that_have_a_delay() {
        let mut figures = Figures::default();
        for delay in [Some(3.0), None, Some(-1.0)] {
            figures.add(&flight("JFK", delay));
        }
        figures.add(&flight("EWR", None));
        let lines = figures.lines();
        assert_eq!((lines[0].origin.as_str(), lines[0].mean_dep_delay), ("EWR", None));
        assert_eq!((lines[1].flights, lines[1].mean_dep_delay), (3, Some(1.0)));
    }

    #[test]
    fn shards_add_up_to_the_same_in_any_order() {
        let parts: Vec<Figures> = [0.1, 0.2, 1e6]
            .iter()
            .map(|delay| {
                let mut figures = Figures::default();
                figures.add(&flight("JFK", Some(*delay)));
                figures
            })
            .collect();
        let sum = |order: [usize; 3]| {
            let mut total = Figures::default();
            order.iter().for_each(|part| total.merge(&parts[*part]));
            total
        };
        assert_eq!(sum([0, 1, 2]), sum([2, 1, 0]));
        assert_ne!(sum([0, 1, 2]), sum([0, 1, 1]));
    }
}
