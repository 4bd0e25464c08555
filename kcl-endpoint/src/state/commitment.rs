//! The account's one setting: the commitment to a minimum of billed throughput.

use serde::{Deserialize, Serialize};

use crate::limits::DAY_MILLIS;

/// Whether the account is committed. Once enabled it stays so for a day at least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Commitment {
    pub started_at: Option<u64>,
    /// When it ended or will end.
    pub ended_at: Option<u64>,
}

impl Commitment {
    pub fn enable(&mut self, now_millis: u64) {
        if !self.is_enabled(now_millis) {
            self.started_at = Some(now_millis);
        }
        self.ended_at = None;
    }
    pub fn disable(&mut self, now_millis: u64) {
        if self.is_enabled(now_millis) {
            self.ended_at = self.earliest_end().map(|earliest| earliest.max(now_millis));
        }
    }
    pub fn earliest_end(self) -> Option<u64> {
        self.started_at.map(|started| started + DAY_MILLIS)
    }
    pub fn is_enabled(self, now_millis: u64) -> bool {
        self.started_at.is_some() && self.ended_at.is_none_or(|end| end > now_millis)
    }
    pub fn status(self, now_millis: u64) -> &'static str {
        match (self.is_enabled(now_millis), self.ended_at) {
            (false, _) => "DISABLED",
            (true, None) => "ENABLED",
            (true, Some(_)) => "ENABLED_UNTIL_EARLIEST_ALLOWED_END",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commitment_lasts_a_day_at_least() {
        let mut commitment = Commitment::default();
        assert_eq!(commitment.status(5), "DISABLED");
        commitment.enable(10);
        commitment.disable(20);
        assert_eq!(commitment.status(20), "ENABLED_UNTIL_EARLIEST_ALLOWED_END");
        assert_eq!(commitment.status(10 + DAY_MILLIS), "DISABLED");
        commitment.enable(2 * DAY_MILLIS);
        commitment.disable(4 * DAY_MILLIS);
        assert_eq!(commitment.status(4 * DAY_MILLIS), "DISABLED");
        assert_eq!(commitment.ended_at, Some(4 * DAY_MILLIS));
    }
}
