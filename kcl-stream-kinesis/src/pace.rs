//! When the next read of a shard is due.
//!
//! The service gives each shard five reads and 2 MiB a second, to all applications together, and
//! tells nobody how many they are. Each reader finds its share alone: a refused read makes it
//! smaller by a factor, time makes it larger by a constant. Whoever has more gives up more and all
//! gain the same, so that shares become even (the rule by which TCP shares a line).

use std::time::Duration;

use kcl_protocol::Moment;
use kcl_protocol::retry::spread;

use crate::limits::{
    BYTES_PER_READ, BYTES_PER_SECOND, SHARE_KEPT, SHARE_REGAINED, SMALLEST_SHARE, UNKNOWN_RECORD,
};

/// How far apart reads are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Intervals {
    /// At the tip.
    pub idle: Duration,
    /// While there is more.
    pub read: Duration,
    /// Are the bytes read limited too?
    pub has_byte_rate: bool,
}

/// The pace of one reader.
#[derive(Debug)]
pub(crate) struct Pace {
    intervals: Intervals,
    /// Of the shard's limits: above 0, at most 1.
    share: f64,
    /// When `share` was last set.
    set_at: Moment,
    due: Moment,
    /// Bytes of the last answer, and of one of its records on average.
    last_bytes: usize,
    record_bytes: usize,
}

impl Pace {
    pub fn new(intervals: Intervals) -> Self {
        let zero = Moment::default();
        Self {
            intervals,
            share: 1.0,
            set_at: zero,
            due: zero,
            last_bytes: 0,
            record_bytes: UNKNOWN_RECORD,
        }
    }

    /// No read before.
    pub fn due(&self) -> Moment {
        self.due
    }

    /// True while others read the shard too, as far as this reader can tell.
    pub fn is_shared(&self) -> bool {
        self.share < 1.0
    }

    /// A read is sent. It counts also if its answer never comes.
    pub fn sent(&mut self, at: Moment) {
        self.due = at + self.apart(0);
    }

    /// A read sent at this moment was answered. Counted from its sending: the service counts calls,
    /// and a slow answer must not make the reader slower still.
    pub fn answered(&mut self, sent_at: Moment, records: usize, bytes: usize, behind_millis: u64) {
        let regained = sent_at.since(self.set_at).as_secs_f64() * SHARE_REGAINED;
        self.share = (self.share + regained).min(1.0);
        self.set_at = self.set_at.max(sent_at);
        self.last_bytes = bytes;
        if let Some(average) = bytes.checked_div(records) {
            self.record_bytes = average.max(1);
        }
        let apart = self.apart(bytes);
        let wait = if behind_millis == 0 { self.intervals.idle.max(apart) } else { apart };
        self.due = sent_at + wait;
    }

    /// A read was refused for the rate; how long to wait. `roll` may be any number: it keeps
    /// readers that were refused together from coming back together.
    pub fn refused(&mut self, now: Moment, roll: u64) -> Duration {
        self.share = (self.share * SHARE_KEPT).max(SMALLEST_SHARE);
        self.set_at = now;
        let wait = spread(self.apart(self.last_bytes).mul_f64(1.5), roll);
        self.due = now + wait;
        wait
    }

    /// How many records to ask for, with room for so many bytes; before the first record, as if
    /// each were as large as the service takes by default. A read of ten seconds' worth of
    /// bytes would shut everybody out for as long, so a reader takes a part at a time.
    pub fn records(&self, most: usize, room_bytes: usize) -> usize {
        let bytes = match self.intervals.has_byte_rate {
            true => BYTES_PER_READ.min(room_bytes),
            false => room_bytes,
        };
        (bytes / self.record_bytes).clamp(1, most)
    }

    fn apart(&self, bytes: usize) -> Duration {
        let by_bytes = match self.intervals.has_byte_rate {
            true => Duration::from_secs_f64(bytes as f64 / BYTES_PER_SECOND),
            false => Duration::ZERO,
        };
        self.intervals.read.max(by_bytes).div_f64(self.share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLIS: fn(u64) -> Duration = Duration::from_millis;
    const NOW: Moment = Moment(Duration::from_secs(9));

    fn pace() -> Pace {
        Pace::new(Intervals { idle: MILLIS(250), read: MILLIS(200), has_byte_rate: true })
    }

    #[test]
    fn a_reader_behind_reads_as_fast_as_allowed_and_one_at_the_tip_idles() {
        let mut pace = pace();
        pace.answered(NOW, 10, 1000, 1);
        assert_eq!(pace.due(), NOW + MILLIS(200));
        pace.answered(NOW, 10, 1000, 0);
        assert_eq!(pace.due(), NOW + MILLIS(250));
        pace.answered(NOW, 10, 4 << 20, 1);
        assert_eq!(pace.due(), NOW + MILLIS(2000), "4 MiB are two seconds' worth");
    }

    #[test]
    fn a_refused_reader_slows_down_with_jitter_and_recovers_with_time() {
        let mut pace = pace();
        let waits = [0, u64::MAX / 2, u64::MAX].map(|roll| {
            pace.share = 1.0;
            pace.refused(NOW, roll).as_millis()
        });
        assert!(waits.is_sorted_by(|a, b| a < b), "{waits:?}");
        let slowed = 200.0 / SHARE_KEPT;
        assert!(waits[0] as f64 >= slowed * 0.74 && waits[2] as f64 <= slowed * 1.5, "{waits:?}");
        assert!(pace.is_shared());
        let later = NOW + Duration::from_secs_f64((1.0 - SHARE_KEPT) / SHARE_REGAINED);
        pace.answered(later + MILLIS(1), 10, 1000, 1);
        assert!(!pace.is_shared());
        for _ in 0..1000 {
            pace.refused(NOW, u64::MAX);
        }
        assert!(pace.due().since(NOW) < Duration::from_secs(30), "never for good");
    }

    #[test]
    fn a_read_asks_for_what_there_is_room_for_by_the_size_of_records_so_far() {
        let mut pace = pace();
        assert_eq!(pace.records(10_000, 1 << 20), 1, "sizes are not known yet");
        pace.answered(NOW, 10, 10 << 10, 1);
        assert_eq!(pace.records(10_000, 64 << 10), 64);
        assert_eq!(pace.records(10_000, 64 << 20), BYTES_PER_READ / 1024);
        assert_eq!(pace.records(10_000, 1), 1);
        assert_eq!(pace.records(5, 64 << 20), 5);
    }
}
