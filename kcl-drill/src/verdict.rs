//! Was anything lost, out of order, or done by two at once? By the checkers of the testkit.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kcl_core::event::{Event, EventKind, Span};
use kcl_core::protocol::{Fence, LeaseKey, Moment, Position, ShardId, WorkerId};
use kcl_testkit::history::{
    Entry, What, every_record_is_delivered, no_two_workers_deliver_one_shard, records_come_in_order,
};

use crate::contract::{Line, LineEvent};
use crate::ledger::Put;

/// What a run came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdict {
    pub lost: usize,
    pub duplicates: usize,
    pub out_of_order: usize,
    /// Batches of one shard at two workers, inside the validity of both; or fences that fell.
    pub overlaps: usize,
    /// Batches that ended after their worker's validity.
    pub overruns: usize,
    /// What was wrong, for people.
    pub details: Vec<String>,
}

/// The parents of each shard.
pub(crate) type Lineage = BTreeMap<String, Vec<String>>;

pub(crate) fn judge(lines: &[Line], puts: &BTreeMap<u64, Put>, lineage: &Lineage) -> Verdict {
    let history = history(lines, puts, lineage);
    let mut verdict = Verdict::default();
    let mut delivered = BTreeSet::new();
    for line in lines {
        let LineEvent::Records { ids, valid_until, .. } = &line.event else { continue };
        for id in ids.iter().filter_map(|id| id.parse::<u64>().ok()) {
            verdict.duplicates += usize::from(!delivered.insert(id));
        }
        verdict.overruns += usize::from(valid_until.is_some_and(|until| line.ts > until));
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
    for overlap in intervals_overlap(lines) {
        verdict.overlaps += 1;
        verdict.details.push(overlap);
    }
    verdict
}

fn moment(seconds: f64) -> Moment {
    Moment(Duration::from_secs_f64(seconds.max(0.0)))
}

/// The lines as a history of the testkit.
fn history(lines: &[Line], puts: &BTreeMap<u64, Put>, lineage: &Lineage) -> Vec<Entry> {
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

#[cfg(test)]
mod tests {
    use super::*;
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
        assert_eq!(counts(&[first, batch("b", 2, 11.0, 12.5, &[2, 3])]).4, 1);
    }
}
