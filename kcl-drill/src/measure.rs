//! How long things took, from what was said.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::contract::{Line, LineEvent};
use crate::ledger::Puts;
use crate::limits::{REQUEST_TYPICAL, STALL_SHARE, TABLE_SHARE};
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

/// The time of one round.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RoundSpan {
    /// Unix seconds.
    pub from: f64,
    pub to: f64,
    /// Why it says nothing of the workers, if so.
    pub invalid: Option<String>,
}

/// Why a round says nothing of the workers, if so: what was slow was a request of any client of the
/// table (its median, where it counts), the table (its own p99, where that counts), or the machine,
/// which stood still for so long.
pub(crate) fn invalid(
    request_p50: Option<Duration>,
    table_p99: Option<Duration>,
    stalled: Duration,
    heartbeat: Duration,
) -> Option<String> {
    let bounds = [
        ("half of the drill's requests to the table took", request_p50, REQUEST_TYPICAL),
        ("the table's own p99 was", table_p99, heartbeat.mul_f64(TABLE_SHARE)),
    ];
    for (what, took, bound) in bounds {
        if let Some(took) = took.filter(|took| *took > bound) {
            return Some(format!("{what} {took:.1?}, above {bound:.1?}"));
        }
    }
    (stalled > heartbeat.mul_f64(STALL_SHARE))
        .then(|| format!("the machine stood still for {stalled:.0?}"))
}

/// The round that something happened in.
pub(crate) fn round_of(rounds: &[RoundSpan], at: f64) -> Option<usize> {
    let after = rounds.partition_point(|round| round.from <= at);
    let last = after.checked_sub(1)?;
    (at <= rounds[last].to).then_some(last)
}

/// When a batch began; lines that do not tell were written when it ended.
fn begin(line: &Line) -> f64 {
    match &line.event {
        LineEvent::Records { started, .. } => started.unwrap_or(line.ts),
        _ => line.ts,
    }
}

/// Lines about records, in the order of their times.
fn batches(entries: &Entries) -> Vec<&Line> {
    let is_batch = |line: &&Line| matches!(line.event, LineEvent::Records { .. });
    let mut lines: Vec<_> = entries.lines.iter().filter(is_batch).collect();
    lines.sort_by(|a, b| a.ts.total_cmp(&b.ts));
    lines
}

/// From each loss to the first record by another worker, for each shard lost, in milliseconds.
/// Rounds that say nothing are left out.
pub(crate) fn failovers(entries: &Entries, rounds: &[RoundSpan]) -> Vec<f64> {
    let batches = batches(entries);
    let mut all = Vec::new();
    let is_valid = |round: usize| rounds.get(round).is_some_and(|span| span.invalid.is_none());
    for loss in entries.losses.iter().filter(|loss| is_valid(loss.round)) {
        let later = batches.partition_point(|line| line.ts <= loss.at);
        for shard in &loss.shards {
            let next = batches[later..]
                .iter()
                .find(|line| line.worker != loss.worker && line.event.shard() == Some(shard));
            all.extend(next.map(|line| (begin(line) - loss.at).max(0.0) * 1000.0));
        }
    }
    all
}

/// A change of owner, and how long nothing was processed although there was something.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Move {
    pub shard: String,
    /// When the new owner began (Unix seconds).
    pub at: f64,
    /// Milliseconds.
    pub pause: f64,
}

/// Every change of owner. A pause runs from the end of the last batch at the old owner to the
/// start of the first at the new one; time in which nothing waited in the stream does not count.
pub(crate) fn changes(entries: &Entries, puts: &Puts) -> Vec<Move> {
    let mut last: BTreeMap<&str, &Line> = BTreeMap::new();
    let mut moves = Vec::new();
    for line in batches(entries) {
        let LineEvent::Records { shard, ids, .. } = &line.event else { continue };
        let Some(former) = last.insert(shard, line) else { continue };
        if former.worker == line.worker {
            continue;
        }
        // The oldest record of the batch waited longest.
        let came = ids.iter().filter_map(|id| puts.get(&id.parse().ok()?)).map(|put| put.at);
        let since = came.fold(f64::INFINITY, f64::min).max(former.ts);
        let pause = (begin(line) - since).max(0.0) * 1000.0;
        moves.push(Move { shard: shard.clone(), at: begin(line), pause });
    }
    moves
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Put;
    use crate::record::Loss;
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
            polled: None,
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
        let both = changes(&entries(records(11.1, 11.0, "b", &["3", "2"])), &puts);
        assert!((both[0].pause - 1000.0).abs() < 1.0, "the oldest counts: {both:?}");
        let again = changes(&entries(records(11.1, 11.0, "b", &["1", "2"])), &puts);
        assert!((again[0].pause - 1000.0).abs() < 1.0, "{again:?}");
        assert!(changes(&entries(records(11.1, 11.0, "a", &["2"])), &puts).is_empty());
    }

    #[test]
    fn a_round_of_a_slow_table_or_of_a_machine_that_stood_still_is_invalid() {
        let [none, half, more] = [0, 250, 251].map(Duration::from_millis);
        let heartbeat = half * 2;
        let why = |p99, stalled| invalid(None, p99, stalled, heartbeat).unwrap_or_default();
        assert_eq!((why(Some(half), half), why(None, half)), (String::new(), String::new()));
        assert!(why(Some(more), none).contains("own p99 was 251.0ms, above 250.0ms"));
        assert!(why(Some(half), more).contains("stood still for 251ms"));
        assert!(why(None, more).contains("stood still"));
        let [typical, slower] = [10_000, 10_100].map(Duration::from_micros);
        let why = |p50| invalid(Some(p50), Some(half), none, heartbeat).unwrap_or_default();
        assert_eq!(why(typical), "");
        assert!(why(slower).contains("table took 10.1ms, above 10.0ms"), "{}", why(slower));
    }

    #[test]
    fn a_spread_is_of_all_values() {
        let values: Vec<f64> = (1..=100).map(f64::from).collect();
        let spread = Spread::of(&values);
        assert_eq!((spread.p50, spread.p99, spread.max, spread.n), (50.0, 99.0, 100.0, 100));
        assert_eq!(Spread::of(&[]), Spread::default());
    }

    #[test]
    fn a_failover_is_measured_for_each_lost_shard_in_rounds_that_count() {
        let loss =
            |round| Loss { worker: "a".into(), at: 10.2, shards: ["s".to_owned()].into(), round };
        let lines = vec![
            records(10.0, 9.9, "a", &["1"]),
            records(10.3, 10.25, "a", &["2"]),
            records(11.8, 11.7, "b", &["2"]),
        ];
        let entries = Entries { lines, losses: vec![loss(0), loss(1)], ..Entries::default() };
        let span = |from: f64, invalid: Option<&str>| RoundSpan {
            from,
            to: from + 1.0,
            invalid: invalid.map(str::to_owned),
        };
        let rounds = [span(10.0, None), span(12.0, Some("slow"))];
        let found = failovers(&entries, &rounds);
        assert!(found.len() == 1 && (found[0] - 1500.0).abs() < 1.0, "{found:?}");
        assert_eq!(round_of(&rounds, 10.5), Some(0));
        assert_eq!(round_of(&rounds, 11.5), None);
        assert_eq!(round_of(&rounds, 9.0), None);
    }
}
