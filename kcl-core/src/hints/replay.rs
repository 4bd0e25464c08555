//! Which hints were seen before: each costs a read, so a recorded one must not be played for ever.

use std::collections::BTreeMap;

use kcl_protocol::WorkerId;

use crate::limits::HINT_SENDERS;

/// A window over the sequence numbers of each sender. Hints come over connections of their own,
/// so they may overtake each other by up to 64.
#[derive(Debug, Default)]
pub(super) struct Seen {
    of: BTreeMap<WorkerId, Window>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Window {
    highest: u64,
    /// Bit n: `highest - n` was seen.
    seen: u64,
}

impl Seen {
    /// True the first time.
    pub fn is_new(&mut self, from: &WorkerId, sequence: u64) -> bool {
        if self.of.len() >= HINT_SENDERS && !self.of.contains_key(from) {
            self.of.clear();
        }
        let window = self.of.entry(from.clone()).or_default();
        if sequence > window.highest {
            let ahead = u32::try_from(sequence - window.highest).unwrap_or(u32::MAX);
            window.seen = window.seen.checked_shl(ahead).unwrap_or(0) | 1;
            window.highest = sequence;
            return true;
        }
        let Some(bit) = u32::try_from(window.highest - sequence)
            .ok()
            .and_then(|behind| 1u64.checked_shl(behind))
        else {
            return false;
        };
        let is_new = window.seen & bit == 0;
        window.seen |= bit;
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_hint_counts_once_in_whatever_order_they_come() {
        let (a, b) = (WorkerId::new("a"), WorkerId::new("b"));
        let mut seen = Seen::default();
        assert!(seen.is_new(&a, 3) && seen.is_new(&a, 1) && seen.is_new(&b, 3));
        assert!(seen.is_new(&a, 2) && !seen.is_new(&a, 2) && !seen.is_new(&a, 3));
        assert!(seen.is_new(&a, 70) && !seen.is_new(&a, 3), "too far behind to know");
        assert!(seen.is_new(&a, 69) && !seen.is_new(&a, 70));
        assert!(seen.is_new(&a, u64::MAX) && !seen.is_new(&a, u64::MAX));
    }

    #[test]
    fn senders_are_bounded() {
        let mut seen = Seen::default();
        for number in 0..3 * HINT_SENDERS {
            assert!(seen.is_new(&WorkerId::new(format!("w{number}")), 1));
        }
        assert!(seen.of.len() <= HINT_SENDERS);
    }
}
