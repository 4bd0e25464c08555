//! Who processed a shard while another worker did, by the times that the lines tell.

use std::collections::BTreeMap;

use crate::contract::{Line, LineEvent};
use crate::limits::BLOCKING_GRACE;

/// One batch; times in Unix seconds.
#[derive(Clone, Copy)]
struct Batch<'a> {
    from: f64,
    to: f64,
    /// Until when its worker had the right to it, as it began.
    right: f64,
    worker: &'a str,
}

/// Batches of one shard at two workers at the same time. A batch is as long as it took, past its
/// worker's right too, or until it was last polled, where its worker tells: a process frozen within
/// a poll goes on with it when it wakes, and no library can help that. What a blocking handler said
/// to be an overrun is cut off, at the end of the right and the grace, as it is counted apart.
pub(crate) fn batches_overlap(lines: &[Line]) -> Vec<String> {
    let mut of_shard: BTreeMap<&str, Vec<Batch<'_>>> = BTreeMap::new();
    let mut latest: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for Line { ts, worker, event } in lines {
        match event {
            LineEvent::Records { shard, started, valid_until, polled, .. } => {
                let of_shard = of_shard.entry(shard).or_default();
                latest.insert((shard, worker), of_shard.len());
                let (from, right) = (started.unwrap_or(*ts), valid_until.unwrap_or(*ts));
                of_shard.push(Batch { from, to: polled.unwrap_or(*ts), right, worker });
            }
            // Told after the batch that it is about.
            LineEvent::Overrun { shard, past_ms } => {
                let last = latest.get(&(shard.as_str(), worker.as_str()));
                let batch = last.zip(of_shard.get_mut(shard.as_str()));
                if let Some(batch) = batch.and_then(|(at, batches)| batches.get_mut(*at)) {
                    // A worker that was declared dead tells of a right that it never had.
                    let right = batch.right.max(ts - past_ms / 1000.0);
                    batch.to = batch.to.min(right + BLOCKING_GRACE.as_secs_f64());
                }
            }
            _ => {}
        }
    }
    of_shard.into_iter().flat_map(|(shard, batches)| overlaps(shard, batches)).collect()
}

fn overlaps(shard: &str, mut batches: Vec<Batch<'_>>) -> Vec<String> {
    let mut found = Vec::new();
    batches.sort_by(|a, b| a.from.total_cmp(&b.from));
    let mut longest = batches.first().copied();
    for batch in batches {
        if let Some(before) = longest
            && batch.worker != before.worker
            && batch.from < before.to
        {
            found.push(format!(
                "{} and {} processed {shard} at {:.3}, until {:.3}",
                batch.worker, before.worker, batch.from, before.to
            ));
        }
        if longest.is_none_or(|before| batch.to >= before.to) {
            longest = Some(batch);
        }
    }
    found
}

/// Batches of a worker that does not tell its validity, of a shard that another worker has begun
/// after it, and that it has not begun again itself.
pub(crate) fn goes_on_after_another(lines: &[Line]) -> Vec<String> {
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

    fn batch(worker: &str, from: f64, to: f64) -> Line {
        let event = LineEvent::Records {
            shard: "s".into(),
            n: 1,
            seq: "0".into(),
            ids: vec!["0".into()],
            fence: Some(1),
            started: Some(from),
            valid_until: Some(from + 1.0),
            polled: None,
        };
        Line { ts: to, worker: worker.into(), event }
    }

    fn polled(mut line: Line, at: f64) -> Line {
        if let LineEvent::Records { polled, .. } = &mut line.event {
            *polled = Some(at);
        }
        line
    }

    fn overrun(worker: &str, ts: f64, past_ms: f64) -> Line {
        let event = LineEvent::Overrun { shard: "s".into(), past_ms };
        Line { ts, worker: worker.into(), event }
    }

    #[test]
    fn a_batch_that_goes_on_past_its_right_overlaps_the_next_owners() {
        let late = batch("a", 10.0, 12.0);
        let next = batch("b", 11.5, 11.6);
        assert_eq!(batches_overlap(&[late.clone(), next]).len(), 1);
        assert_eq!(batches_overlap(&[late, batch("b", 12.0, 12.1)]), [""; 0]);
    }

    #[test]
    fn what_a_blocking_handler_overran_is_cut_off_at_its_right_and_grace() {
        // The right ended at 11.0, the grace at 11.25.
        let late = [batch("a", 10.0, 12.0), overrun("a", 12.001, 1001.0)];
        let with = |next: Line| batches_overlap(&[late[0].clone(), next, late[1].clone()]).len();
        assert_eq!(with(batch("b", 11.5, 11.6)), 0);
        assert_eq!(with(batch("b", 11.2, 11.6)), 1, "within the grace nobody else may begin");
        let dead = [late[0].clone(), batch("b", 11.2, 11.6), overrun("a", 12.001, 9e6)];
        assert_eq!(batches_overlap(&dead).len(), 1, "its right ended at 11.0 at the earliest");
        let earlier = [batch("a", 10.0, 10.5), overrun("a", 14.0, 1000.0)];
        let told = [earlier[0].clone(), batch("b", 10.4, 10.6), earlier[1].clone()];
        assert_eq!(batches_overlap(&told).len(), 1, "the overrun was of a batch that told nothing");
    }

    #[test]
    fn a_batch_that_is_polled_ends_with_its_last_poll() {
        let frozen = |at| polled(batch("a", 10.0, 15.0), at);
        assert_eq!(batches_overlap(&[frozen(10.9), batch("b", 11.5, 11.6)]), [""; 0]);
        assert_eq!(batches_overlap(&[frozen(11.6), batch("b", 11.5, 11.6)]).len(), 1);
    }

    #[test]
    fn an_overrun_cuts_nobody_elses_batch() {
        let lines = [batch("a", 10.0, 12.0), batch("b", 11.5, 11.6), overrun("b", 11.7, 1000.0)];
        assert_eq!(batches_overlap(&lines).len(), 1);
    }
}
