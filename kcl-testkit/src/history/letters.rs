//! P1: what is given up on is kept.

use std::collections::BTreeSet;

use kcl_core::DeadLetter;
use kcl_core::event::EventKind;

use super::{Entry, Violation, events};

/// Judges what the sink holds in the end: each record that a worker says is in the dead letters,
/// and that the other checkers therefore ask nothing of, is there.
pub fn every_record_given_up_on_is_kept(
    history: &[Entry],
    letters: &[DeadLetter],
) -> Vec<Violation> {
    let kept: BTreeSet<_> =
        letters.iter().map(|letter| (letter.shard.clone(), letter.record.position)).collect();
    let missing = events(history).filter_map(|(at, event)| match &event.kind {
        EventKind::DeadLettered { lease, at: position, .. } => {
            let what = format!("{position} of {lease} is in no dead letter");
            let is_kept = kept.contains(&(lease.shard(), *position));
            (!is_kept).then_some(Violation { property: "P1", at, what })
        }
        _ => None,
    });
    missing.collect()
}
