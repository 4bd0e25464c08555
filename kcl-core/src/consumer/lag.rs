//! How far a shard's work is behind the tip: what a read said, and the time since.

use kcl_protocol::Moment;

/// The lag of records that were read, or of the place where reading stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lag {
    millis: u64,
    at: Moment,
    grows: bool,
}

impl Lag {
    /// Of records that a read brought at this moment. They wait from then on.
    pub fn of_records(behind_millis: u64, now: Moment) -> Self {
        Self { millis: behind_millis, at: now, grows: true }
    }

    /// Of a shard with nothing left to read.
    pub fn none(now: Moment) -> Self {
        Self { millis: 0, at: now, grows: false }
    }

    /// Of a shard all of whose records so far were taken, by what the last read said.
    pub fn beyond(behind_millis: u64, now: Moment) -> Self {
        Self { millis: behind_millis, at: now, grows: behind_millis > 0 }
    }

    /// Of a shard that no read has told anything of.
    pub fn unread(now: Moment) -> Self {
        Self { millis: 0, at: now, grows: true }
    }

    /// Its value at a moment.
    pub fn millis(&self, now: Moment) -> u64 {
        aged(self.millis, self.since(), now)
    }

    /// Its value when it was measured.
    pub fn measured(&self) -> u64 {
        self.millis
    }

    /// Since when time has to be added to the measured value, if at all.
    pub fn since(&self) -> Option<Moment> {
        self.grows.then_some(self.at)
    }
}

/// A lag of so many milliseconds that has grown since.
pub(super) fn aged(millis: u64, since: Option<Moment>, now: Moment) -> u64 {
    let waited = since.map_or(0, |since| now.since(since).as_millis());
    millis.saturating_add(u64::try_from(waited).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn s(seconds: u64) -> Moment {
        Moment(Duration::from_secs(seconds))
    }

    #[test]
    fn records_that_wait_fall_behind() {
        assert_eq!(Lag::of_records(500, s(10)).millis(s(12)), 2_500);
        assert_eq!(Lag::of_records(0, s(10)).millis(s(12)), 2_000);
    }

    #[test]
    fn a_shard_that_was_read_to_its_tip_is_not_behind_however_long_ago() {
        assert_eq!(Lag::beyond(0, s(10)).millis(s(90)), 0);
        assert_eq!(Lag::none(s(10)).millis(s(90)), 0);
        assert_eq!(Lag::beyond(1, s(10)).millis(s(11)), 1_001, "there is more to read");
    }
}
