//! P7: nothing moves without cause.

use kcl_core::protocol::Moment;

use super::{Entry, Violation, moves};

/// No lease came to another worker between two moments in which nothing was the matter.
pub fn nothing_moves(history: &[Entry], from: Moment, to: Moment) -> Vec<Violation> {
    let moved = moves(history, from, to);
    let what = format!("{moved} leases changed hands in the last {:?}", to.since(from));
    let broken = (moved > 0).then_some(Violation { property: "P7", at: to, what });
    broken.into_iter().collect()
}
