//! Was anything lost, out of order, or done by two at once? By the checkers of the testkit.

use std::collections::{BTreeMap, BTreeSet};

use kcl_testkit::history::{
    Violation, checkpoints_only_rise, effects_apply_once_and_never_below_an_accepted_fence,
    every_record_is_delivered, no_checkpoint_passes_an_unacked_record, no_fence_has_two_holders,
    no_two_workers_deliver_one_shard, nobody_goes_on_past_an_open_record, nothing_moves,
    records_come_in_order,
};

use crate::contract::{Line, LineEvent};
use crate::history::{history, moment};
use crate::intervals::{batches_overlap, goes_on_after_another};
use crate::ledger::Puts;
use crate::limits::BLOCKING_GRACE;
use crate::proxy::Written;
use crate::sink::Accepted;

/// All that was heard and seen of a run.
#[derive(Clone, Copy)]
pub(crate) struct Evidence<'a> {
    pub lines: &'a [Line],
    pub puts: &'a Puts,
    pub lineage: &'a Lineage,
    /// As the table took them; none of a program whose requests the proxy does not understand.
    pub checkpoints: &'a [Written],
    /// As the sink accepted them; none of a program that does not write to it.
    pub effects: &'a [Accepted],
    /// From when to when (Unix seconds) no shard should move.
    pub still: &'a [(f64, f64)],
}

/// The parents of each shard.
pub(crate) type Lineage = BTreeMap<String, Vec<String>>;

/// What a run came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdict {
    pub lost: usize,
    pub duplicates: usize,
    pub out_of_order: usize,
    /// Batches of one shard at two workers at the same time; batches begun outside their worker's
    /// validity, or under a fence that had fallen.
    pub overlaps: usize,
    /// Calls of blocking handlers that ended after their worker's validity and grace.
    pub overruns: usize,
    pub stale_effects_accepted: usize,
    /// Checkpoints that fell, or that cover what was not processed; starts below one.
    pub bad_checkpoints: usize,
    /// Shards that somebody went on with past a record that nobody had told of under a fence.
    pub passed_open_records: usize,
    /// Shards begun by two workers under one fence.
    pub shared_fences: usize,
    /// What was wrong, for people.
    pub details: Vec<String>,
}

impl Verdict {
    fn note(&mut self, violations: Vec<Violation>) -> usize {
        self.details.extend(violations.iter().map(Violation::to_string));
        violations.len()
    }

    fn count_records(&mut self, lines: &[Line], puts: &Puts) {
        let mut delivered = BTreeSet::new();
        let mut unknown = BTreeSet::new();
        for line in lines {
            let LineEvent::Records { ids, .. } = &line.event else { continue };
            for text in ids {
                match text.parse::<u64>().ok().filter(|id| puts.contains_key(id)) {
                    Some(id) => self.duplicates += usize::from(!delivered.insert(id)),
                    None => drop(unknown.insert(text.as_str())),
                }
            }
        }
        if let Some(first) = unknown.first() {
            let count = unknown.len();
            self.details.push(format!("{count} ids were never put, as {first:?}"));
        }
        self.lost = puts.keys().filter(|id| !delivered.contains(id)).count();
    }
}

pub(crate) fn judge(evidence: &Evidence<'_>) -> Verdict {
    let (lines, history) = (evidence.lines, history(evidence));
    let mut verdict = Verdict::default();
    verdict.count_records(lines, evidence.puts);
    verdict.overruns = lines.iter().filter(|line| is_overrun(line)).count();
    // How many are lost is counted above.
    verdict.note(every_record_is_delivered(&history));
    verdict.out_of_order = verdict.note(records_come_in_order(&history));
    verdict.overlaps = verdict.note(no_two_workers_deliver_one_shard(&history));
    let at_once = batches_overlap(lines).into_iter().chain(goes_on_after_another(lines));
    for overlap in at_once {
        verdict.overlaps += 1;
        verdict.details.push(overlap);
    }
    verdict.stale_effects_accepted =
        verdict.note(effects_apply_once_and_never_below_an_accepted_fence(&history));
    verdict.bad_checkpoints = verdict.note(checkpoints_only_rise(&history))
        + verdict.note(no_checkpoint_passes_an_unacked_record(&history));
    verdict.passed_open_records = verdict.note(nobody_goes_on_past_an_open_record(&history));
    verdict.shared_fences = verdict.note(no_fence_has_two_holders(&history));
    for (from, to) in evidence.still {
        let (from, to) = (moment(*from), moment(*to));
        verdict.note(nothing_moves(&history, from, to));
    }
    verdict
}

fn is_overrun(line: &Line) -> bool {
    let grace_ms = BLOCKING_GRACE.as_secs_f64() * 1000.0;
    matches!(line.event, LineEvent::Overrun { past_ms, .. } if past_ms > grace_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Put;
    use kcl_core::protocol::{Checkpoint, Position, SequenceNumber};

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
            polled: None,
        };
        Line { ts: to, worker: worker.into(), event }
    }

    fn verdict_of(lines: &[Line], puts: &Puts, checkpoints: &[Written]) -> Verdict {
        let lineage = Lineage::new();
        let (lineage, effects, still) = (&lineage, &[], &[]);
        judge(&Evidence { lines, puts, lineage, checkpoints, effects, still })
    }

    fn counts(lines: &[Line]) -> (usize, usize, usize, usize, usize) {
        let v = verdict_of(lines, &puts(4), &[]);
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
                polled: None,
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
        let verdict = verdict_of(&[records(1.0, "a", 77)], &puts(0), &[]);
        assert!(verdict.details[0].contains("never put"), "{:?}", verdict.details);
    }

    fn begins(ts: f64, worker: &str, fence: u64, seq: Option<u64>) -> Line {
        let seq = seq.map(|id| puts(9)[&id].position.to_string());
        let event = LineEvent::ShardStart { shard: "s".into(), seq, fence: Some(fence) };
        Line { ts, worker: worker.into(), event }
    }

    fn written(at: f64, fence: u64, ordinal: u64, id: u64) -> Written {
        let checkpoint = Checkpoint::At(puts(9)[&id].position);
        let (worker, lease) = ("a".into(), "s".into());
        Written { at, worker, lease, fence, ordinal, checkpoint }
    }

    #[test]
    fn checkpoints_are_judged_by_what_was_processed_and_by_where_the_next_owner_begins() {
        let lines = [
            begins(9.0, "a", 1, None),
            batch("a", 1, 10.0, 10.1, &[0, 1]),
            begins(11.0, "b", 2, Some(1)),
            batch("b", 2, 11.5, 11.6, &[2, 3]),
        ];
        let bad =
            |checkpoints: &[Written]| verdict_of(&lines, &puts(4), checkpoints).bad_checkpoints;
        assert_eq!(bad(&[written(10.2, 1, 1, 1), written(11.7, 2, 1, 3)]), 0);
        assert!(bad(&[written(10.05, 1, 1, 1)]) > 0, "before the batch was processed");
        assert!(bad(&[written(10.2, 1, 1, 2)]) > 0, "what nobody had been given");
        assert!(bad(&[written(11.7, 2, 1, 3), written(11.8, 2, 2, 2)]) > 0, "it fell");
        let mut far_back = lines.clone();
        far_back[2] = begins(11.0, "b", 2, None);
        let of = verdict_of(&far_back, &puts(4), &[written(10.2, 1, 1, 1)]);
        assert_eq!(of.bad_checkpoints, 1, "the next owner began below it");
    }

    #[test]
    fn who_goes_on_past_a_record_that_nobody_told_of_is_found() {
        let passed = |lines: &[Line]| verdict_of(lines, &puts(4), &[]).passed_open_records;
        let [first, second] = [begins(9.0, "a", 1, None), batch("a", 1, 10.0, 10.1, &[0, 1])];
        let after = |id| begins(11.0, "b", 2, Some(id));
        assert_eq!(passed(&[first.clone(), second.clone(), after(1)]), 0);
        assert_eq!(passed(&[first.clone(), second.clone(), after(0)]), 0, "it goes back");
        assert_eq!(passed(&[first.clone(), second.clone(), after(2)]), 1);
        let late = batch("a", 1, 10.0, 11.5, &[0, 1]);
        assert_eq!(passed(&[first, late, after(1)]), 1, "they were told of when b had begun");
        // A worker that was killed told of nothing: the next one begins before it.
        assert_eq!(passed(&[begins(9.0, "a", 1, None), begins(11.0, "b", 2, None), second]), 0);
    }

    #[test]
    fn a_child_that_is_begun_before_its_parent_is_done_is_found() {
        let mut puts = puts(3);
        for put in puts.values_mut().skip(2) {
            put.shard = "child".into();
        }
        let mut of_child = batch("b", 2, 11.0, 11.1, &[2]);
        if let LineEvent::Records { shard, .. } = &mut of_child.event {
            "child".clone_into(shard);
        }
        let lineage = Lineage::from([("child".to_owned(), vec!["s".to_owned()])]);
        let passed = |of_parent| {
            let (lines, puts, lineage) = (&[of_parent, of_child.clone()], &puts, &lineage);
            let (checkpoints, effects, still) = (&[], &[], &[]);
            let evidence = Evidence { lines, puts, lineage, checkpoints, effects, still };
            judge(&evidence).passed_open_records
        };
        assert_eq!(passed(batch("a", 1, 10.0, 10.1, &[0, 1])), 0);
        assert_eq!(passed(batch("a", 1, 10.0, 10.1, &[0])), 1);
    }

    #[test]
    fn two_workers_at_one_fence_and_an_effect_below_an_accepted_fence_are_found() {
        let lines = [begins(9.0, "a", 1, None), begins(11.0, "b", 1, None)];
        assert_eq!(verdict_of(&lines, &puts(0), &[]).shared_fences, 1);
        let effect = |at, fence| Accepted { at, shard: "s".into(), fence };
        let lineage = Lineage::new();
        let stale = |effects: &[Accepted]| {
            let (puts, lineage) = (&puts(0), &lineage);
            let (lines, checkpoints, still) = (&[], &[], &[]);
            let evidence = Evidence { lines, puts, lineage, checkpoints, effects, still };
            judge(&evidence).stale_effects_accepted
        };
        assert_eq!(stale(&[effect(1.0, 1), effect(2.0, 1), effect(3.0, 2)]), 0);
        assert_eq!(stale(&[effect(1.0, 2), effect(2.0, 1)]), 1);
    }

    #[test]
    fn a_shard_that_is_begun_while_nothing_should_move_is_found() {
        let lines = [begins(9.0, "a", 1, None), begins(11.0, "b", 2, None)];
        let moved = |still: &[(f64, f64)]| {
            let (lines, puts, lineage) = (&lines, &puts(0), &Lineage::new());
            let (checkpoints, effects) = (&[], &[]);
            let verdict = judge(&Evidence { lines, puts, lineage, checkpoints, effects, still });
            verdict.details.len()
        };
        assert_eq!(moved(&[(9.5, 10.5)]), 0);
        assert_eq!(moved(&[(9.5, 10.5), (10.5, 11.5)]), 1);
    }
}
