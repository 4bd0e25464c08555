//! How long things took, from what was said.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::contract::{Line, LineEvent};
use crate::ledger::Put;
use crate::record::Entries;

/// A distribution in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub p50: f64,
    pub p99: f64,
    pub max: f64,
    pub n: usize,
}

impl Spread {
    pub fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        // The value that so many in a hundred do not exceed.
        let at = |share: f64| {
            let rank = (share * sorted.len() as f64).ceil() as usize;
            sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
        };
        Self { p50: at(0.5), p99: at(0.99), max: at(1.0), n: sorted.len() }
    }
}

/// When a batch began; lines that do not tell were written when it ended.
fn begin(line: &Line) -> f64 {
    match &line.event {
        LineEvent::Records { started, .. } => started.unwrap_or(line.ts),
        _ => line.ts,
    }
}

/// From each loss to the first record by another worker, for each shard lost, in milliseconds.
/// Rounds that say nothing are left out.
pub(crate) fn failovers(entries: &Entries, invalid: &[usize]) -> Vec<f64> {
    let mut all = Vec::new();
    for loss in entries.losses.iter().filter(|loss| !invalid.contains(&loss.round)) {
        for shard in &loss.shards {
            let next = entries.lines.iter().find(|line| {
                let is_records = matches!(&line.event, LineEvent::Records { .. });
                let is_other = line.ts > loss.at && line.worker != loss.worker;
                is_records && is_other && line.event.shard() == Some(shard)
            });
            all.extend(next.map(|line| (begin(line) - loss.at).max(0.0) * 1000.0));
        }
    }
    all
}

/// A change of owner, and how long nothing was processed although there was something.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Move {
    pub shard: String,
    pub at: f64,
    /// Milliseconds.
    pub pause: f64,
}

/// Every change of owner. A pause runs from the end of the last batch at the old owner to the
/// start of the first at the new one; time in which nothing new was in the stream does not count.
pub(crate) fn changes(entries: &Entries, puts: &BTreeMap<u64, Put>) -> Vec<Move> {
    let mut last: BTreeMap<&str, &Line> = BTreeMap::new();
    let mut moves = Vec::new();
    let mut lines: Vec<_> = entries.lines.iter().collect();
    lines.sort_by(|a, b| a.ts.total_cmp(&b.ts));
    for line in lines {
        let LineEvent::Records { shard, ids, .. } = &line.event else { continue };
        if let Some(former) = last.insert(shard, line)
            && former.worker != line.worker
        {
            let came = ids.iter().filter_map(|id| puts.get(&id.parse().ok()?));
            let came = came.map(|put| put.at).find(|at| *at > former.ts);
            let since = came.filter(|_| came_first(ids, former)).unwrap_or(former.ts);
            let pause = (begin(line) - since.max(former.ts)).max(0.0) * 1000.0;
            moves.push(Move { shard: shard.clone(), at: line.ts, pause });
        }
    }
    moves
}

/// True if the new owner had nothing of the old one's to do again.
fn came_first(ids: &[String], former: &Line) -> bool {
    let LineEvent::Records { ids: before, .. } = &former.event else { return true };
    ids.first().is_none_or(|first| !before.contains(first))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kcl_core::protocol::{Position, SequenceNumber};

    fn records(ts: f64, started: f64, worker: &str, ids: &[&str]) -> Line {
        let event = LineEvent::Records {
            shard: "s".into(),
            n: ids.len(),
            seq: "1".into(),
            ids: ids.iter().map(|id| (*id).to_owned()).collect(),
            fence: None,
            started: Some(started),
            valid_until: None,
        };
        Line { ts, worker: worker.into(), event }
    }

    fn put(at: f64) -> Put {
        let position = Position::from(SequenceNumber::from_parts(0, 1));
        Put { shard: "s".into(), position, at }
    }

    #[test]
    fn a_pause_counts_only_while_something_waits() {
        let entries = |second| Entries {
            lines: vec![records(10.0, 9.9, "a", &["1"]), second],
            ..Entries::default()
        };
        let puts = BTreeMap::from([(1, put(9.8)), (2, put(10.5)), (3, put(9.95))]);
        let late = changes(&entries(records(11.1, 11.0, "b", &["2"])), &puts);
        assert!((late[0].pause - 500.0).abs() < 1.0, "{late:?}");
        let waited = changes(&entries(records(11.1, 11.0, "b", &["3"])), &puts);
        assert!((waited[0].pause - 1000.0).abs() < 1.0, "{waited:?}");
        let again = changes(&entries(records(11.1, 11.0, "b", &["1", "2"])), &puts);
        assert!((again[0].pause - 1000.0).abs() < 1.0, "{again:?}");
        assert!(changes(&entries(records(11.1, 11.0, "a", &["2"])), &puts).is_empty());
    }

    #[test]
    fn a_spread_is_of_all_values() {
        let values: Vec<f64> = (1..=100).map(f64::from).collect();
        let spread = Spread::of(&values);
        assert_eq!((spread.p50, spread.p99, spread.max, spread.n), (50.0, 99.0, 100.0, 100));
        assert_eq!(Spread::of(&[]), Spread::default());
    }
}
