//! P1: whoever says that a stream has dropped a shard is right.

use kcl_core::event::EventKind;

use super::{Entry, Violation, events};

/// Judges a history whose stream keeps its shards to the end: no worker says that one was dropped.
/// The other checkers take a worker's word for it, and ask nothing of such a shard.
pub fn no_shard_is_dropped(history: &[Entry]) -> Vec<Violation> {
    let dropped = events(history).filter_map(|(at, event)| match &event.kind {
        EventKind::ShardDropped { lease } => {
            let what = format!("{} says that {lease} was dropped, and it is there", event.worker);
            Some(Violation { property: "P1", at, what })
        }
        _ => None,
    });
    dropped.collect()
}
