//! When the next read of a shard is due.

use std::time::Duration;

use kcl_protocol::Moment;

/// How far apart reads are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Intervals {
    /// At the tip.
    pub idle: Duration,
    /// While there is more.
    pub read: Duration,
}

impl Intervals {
    /// When to read again after a read that was sent at this moment. Counted from its sending: the
    /// service counts calls, and a slow answer must not make the reader slower still.
    pub fn next(self, sent_at: Moment, behind_millis: u64) -> Moment {
        let wait = if behind_millis == 0 { self.idle.max(self.read) } else { self.read };
        sent_at + wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_behind_reads_as_fast_as_allowed_and_one_at_the_tip_idles() {
        let millis = Duration::from_millis;
        let pace = Intervals { idle: millis(250), read: millis(200) };
        let now = Moment(Duration::from_secs(9));
        assert_eq!(pace.next(now, 1), now + millis(200));
        assert_eq!(pace.next(now, 0), now + millis(250));
        let shared = Intervals { idle: millis(250), read: millis(600) };
        assert_eq!(shared.next(now, 0), now + millis(600), "fairness holds at the tip too");
    }
}
