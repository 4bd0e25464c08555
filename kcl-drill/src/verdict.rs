//! Was anything lost, out of order, or done by two at once? By the checkers of the testkit.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kcl_core::event::{Event, EventKind, Span};
use kcl_core::protocol::{Fence, LeaseKey, Moment, Position, ShardId, WorkerId};
use kcl_testkit::history::{
    Entry, What, every_record_is_delivered, no_two_workers_deliver_one_shard, records_come_in_order,
};

use crate::contract::{Line, LineEvent};
use crate::ledger::Puts;
use crate::limits::BLOCKING_GRACE;

/// What a run came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdict {
    pub lost: usize,
    pub duplicates: usize,
    pub out_of_order: usize,
    /// Batches of one shard at two workers, inside the validity of both; or fences that fell.
    pub overlaps: usize,
    /// Calls of blocking handlers that ended after their worker's validity and grace.
    pub overruns: usize,
    /// What was wrong, for people.
    pub details: Vec<String>,
}

/// The parents of each shard.
pub(crate) type Lineage = BTreeMap<String, Vec<String>>;

pub(crate) fn judge(lines: &[Line], puts: &Puts, lineage: &Lineage) -> Verdict {
    let history = history(lines, puts, lineage);
    let mut verdict = Verdict::default();
    let mut delivered = BTreeSet::new();
    let mut unknown = BTreeSet::new();
    for line in lines {
        if let LineEvent::Overrun { past_ms, .. } = &line.event {
            verdict.overruns += usize::from(*past_ms > BLOCKING_GRACE.as_secs_f64() * 1000.0);
        }
        let LineEvent::Records { ids, .. } = &line.event else { continue };
        for text in ids {
            match text.parse::<u64>().ok().filter(|id| puts.contains_key(id)) {
                Some(id) => verdict.duplicates += usize::from(!delivered.insert(id)),
                None => drop(unknown.insert(text.as_str())),
            }
        }
    }
    if let Some(first) = unknown.first() {
        let count = unknown.len();
        verdict.details.push(format!("{count} ids were never put, as {first:?}"));
    }
    verdict.lost = puts.keys().filter(|id| !delivered.contains(id)).count();
    for violation in every_record_is_delivered(&history) {
        verdict.details.push(violation.to_string());
    }
    for violation in records_come_in_order(&history) {
        verdict.out_of_order += 1;
        verdict.details.push(violation.to_string());
    }
    for violation in no_two_workers_deliver_one_shard(&history) {
        verdict.overlaps += 1;
        verdict.details.push(violation.to_string());
    }
    for overlap in intervals_overlap(lines).into_iter().chain(goes_on_after_another(lines)) {
        verdict.overlaps += 1;
        verdict.details.push(overlap);
    }
    verdict
}

fn moment(seconds: f64) -> Moment {
    Moment(Duration::from_secs_f64(seconds.max(0.0)))
}

/// The lines as a history of the testkit.
fn history(lines: &[Line], puts: &Puts, lineage: &Lineage) -> Vec<Entry> {
    let mut entries = Vec::new();
    let made = |shard: &str| What::ShardMade {
        shard: ShardId::new(shard),
        parents: lineage.get(shard).into_iter().flatten().map(ShardId::new).collect(),
    };
    let shards: BTreeSet<_> = puts.values().map(|put| put.shard.as_str()).collect();
    entries.extend(shards.iter().map(|shard| Entry { at: moment(0.0), what: made(shard) }));
    // Known before it was read, whatever the clock of the producer says.
    entries.extend(puts.values().map(|put| Entry {
        at: moment(0.0),
        what: What::Put { shard: ShardId::new(&put.shard), positions: vec![put.position] },
    }));
    let mut timed = Vec::new();
    for line in lines {
        let LineEvent::Records { shard, ids, fence, started, valid_until, .. } = &line.event else {
            continue;
        };
        let numbers = ids.iter().filter_map(|id| puts.get(&id.parse().ok()?));
        let positions: Vec<Position> = numbers.map(|put| put.position).collect();
        let (Some(first), Some(last)) = (positions.first(), positions.last()) else { continue };
        let at = moment(started.unwrap_or(line.ts));
        let lease = LeaseKey::new(shard);
        if let (Some(fence), Some(until)) = (fence, valid_until) {
            let span = Span { first: *first, last: *last, count: positions.len() };
            let kind = EventKind::BatchStarted {
                lease: lease.clone(),
                fence: Fence(*fence),
                span,
                valid_until: moment(*until),
            };
            let worker = WorkerId::new(&line.worker);
            timed.push(Entry { at, what: What::Event(Event { at, worker, kind }) });
        }
        timed.push(Entry { at, what: What::Given { lease, positions } });
    }
    timed.sort_by_key(|entry| entry.at);
    entries.extend(timed);
    entries
}

/// Batches of one shard at two workers at the same time, each as far as its worker was valid.
fn intervals_overlap(lines: &[Line]) -> Vec<String> {
    let mut of_shard: BTreeMap<&str, Vec<(f64, f64, &str)>> = BTreeMap::new();
    for line in lines {
        let LineEvent::Records { shard, started, valid_until, .. } = &line.event else { continue };
        let end = valid_until.map_or(line.ts, |until| until.min(line.ts));
        let start = started.unwrap_or(line.ts);
        of_shard.entry(shard).or_default().push((start, end, &line.worker));
    }
    let mut found = Vec::new();
    for (shard, mut batches) in of_shard {
        batches.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut longest = batches.first().copied();
        for batch in batches {
            if let Some((_, end, worker)) = longest
                && batch.2 != worker
                && batch.0 < end
            {
                found.push(format!(
                    "{} and {worker} processed {shard} at {:.3}, until {end:.3}",
                    batch.2, batch.0
                ));
            }
            if longest.is_none_or(|(_, end, _)| batch.1 >= end) {
                longest = Some(batch);
            }
        }
    }
    found
}

/// Batches of a worker that does not tell its validity, of a shard that another worker has begun
/// after it, and that it has not begun again itself.
fn goes_on_after_another(lines: &[Line]) -> Vec<String> {
    let mut sorted: Vec<&Line> = lines.iter().collect();
    sorted.sort_by(|a, b| a.ts.total_cmp(&b.ts));
    let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
    let mut found = Vec::new();
    for line in sorted {
        match &line.event {
            LineEvent::ShardStart { shard, .. } => {
                owners.insert(shard, &line.worker);
            }
            LineEvent::Records { shard, valid_until: None, .. } => {
                let owner = *owners.entry(shard).or_insert(&line.worker);
                if owner != line.worker {
                    let (worker, at) = (&line.worker, line.ts);
                    found.push(format!("{worker} processed {shard} at {at:.3}, which {owner} had"));
                }
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Put;
    use kcl_core::protocol::SequenceNumber;

    fn puts(count: u64) -> BTreeMap<u64, Put> {
        let position = |id| Position::from(SequenceNumber::from_parts(0, u128::from(id)));
        (0..count)
            .map(|id| (id, Put { shard: "s".into(), position: position(id), at: 1.0 }))
            .collect()
    }

    fn batch(worker: &str, fence: u64, from: f64, to: f64, ids: &[u64]) -> Line {
        let event = LineEvent::Records {
            shard: "s".into(),
            n: ids.len(),
            seq: "0".into(),
            ids: ids.iter().map(u64::to_string).collect(),
            fence: Some(fence),
            started: Some(from),
            valid_until: Some(from + 1.0),
        };
        Line { ts: to, worker: worker.into(), event }
    }

    fn counts(lines: &[Line]) -> (usize, usize, usize, usize, usize) {
        let v = judge(lines, &puts(4), &Lineage::new());
        (v.lost, v.duplicates, v.out_of_order, v.overlaps, v.overruns)
    }

    #[test]
    fn a_clean_run_has_nothing_and_each_fault_is_found() {
        let first = batch("a", 1, 10.0, 10.1, &[0, 1]);
        assert_eq!(counts(&[first.clone(), batch("b", 2, 11.0, 11.1, &[2, 3])]), (0, 0, 0, 0, 0));
        assert_eq!(counts(&[first.clone(), batch("b", 2, 11.0, 11.1, &[1, 2, 3])]).1, 1);
        let skips = counts(&[first.clone(), batch("b", 2, 11.0, 11.1, &[3])]);
        assert_eq!((skips.0, skips.2), (1, 1));
        let both = counts(&[first.clone(), batch("b", 2, 10.05, 10.2, &[2, 3])]);
        assert_eq!(both.3, 1);
        let stale = counts(&[
            first.clone(),
            batch("b", 2, 11.0, 11.1, &[2]),
            batch("a", 1, 11.2, 11.3, &[3]),
        ]);
        assert_eq!(stale.3, 1);
        let event = LineEvent::Overrun { shard: "s".into(), past_ms: 260.0 };
        let overrun = Line { ts: 12.0, worker: "a".into(), event };
        assert_eq!(counts(&[first, batch("b", 2, 11.0, 12.5, &[2, 3]), overrun]).4, 1);
    }

    #[test]
    fn a_worker_that_tells_little_is_judged_by_who_began_last() {
        let line = |ts, worker: &str, event| Line { ts, worker: worker.into(), event };
        let start = |ts, worker: &str| {
            line(ts, worker, LineEvent::ShardStart { shard: "s".into(), seq: None, fence: None })
        };
        let records = |ts, worker: &str, id: u64| {
            let event = LineEvent::Records {
                shard: "s".into(),
                n: 1,
                seq: "0".into(),
                ids: vec![id.to_string()],
                fence: None,
                started: None,
                valid_until: None,
            };
            line(ts, worker, event)
        };
        let fair = [
            start(1.0, "a"),
            records(2.0, "a", 0),
            start(3.0, "b"),
            records(4.0, "b", 1),
            start(5.0, "a"),
            records(6.0, "a", 2),
            records(7.0, "a", 3),
        ];
        assert_eq!(counts(&fair), (0, 0, 0, 0, 0));
        let mut both = fair.to_vec();
        both.insert(4, records(4.5, "a", 1));
        assert_eq!(counts(&both).3, 1);
        let verdict = judge(&[records(1.0, "a", 77)], &puts(0), &Lineage::new());
        assert!(verdict.details[0].contains("never put"), "{:?}", verdict.details);
    }
}
