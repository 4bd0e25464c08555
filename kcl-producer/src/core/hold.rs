//! How long nothing is sent after refusals.

use kcl_core::protocol::Moment;

use super::FlightId;

/// A wait, and what it was counted from.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Hold {
    /// Refusals in a row, as far as they count.
    attempt: u32,
    due: Moment,
    /// The first request that left after the wait began. What became of earlier ones does not say
    /// whether the wait was long enough: eight that were under way together are one refusal.
    first: FlightId,
}

/// What became of the records of the stream that one request had for one lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub taken: usize,
    /// Refused for now, or lost.
    pub refused: usize,
}

/// Refusals after which a wait of the usual growth is at its longest, and more change nothing.
const LONG: u32 = 8;

impl Hold {
    /// Until when nothing is sent.
    pub(crate) fn due(&self) -> Moment {
        self.due
    }

    /// A request failed as a whole: the number of the wait that follows, unless it does not count.
    pub(crate) fn failed(&mut self, flight: FlightId) -> Option<u32> {
        if flight < self.first {
            return None;
        }
        self.attempt = self.attempt.saturating_add(1);
        Some(self.attempt)
    }

    /// Nothing stands in the way: the next failure is the first.
    pub(crate) fn is_well(&mut self) {
        self.attempt = 0;
    }

    /// A request was answered: the number of the wait that follows, if one does.
    ///
    /// The wait doubles while a request brings in no more than half of what it carries. Once it
    /// brings in more, the wait is long enough and shrinks by a step, or after a long outage by
    /// half of the refusals: it is short again within a few requests. So it comes to rest where
    /// about half of a request is taken, and a shard's credit does not lie idle.
    pub(crate) fn answered(&mut self, flight: FlightId, tally: Tally) -> Option<u32> {
        if flight < self.first {
            return None;
        }
        match tally {
            Tally { taken: 0, refused: 0 } => return None,
            Tally { refused: 0, .. } => {
                self.attempt = 0;
                return None;
            }
            Tally { taken, refused } if taken > refused => {
                let step = if self.attempt > LONG { self.attempt / 2 } else { 1 };
                self.attempt = self.attempt.saturating_sub(step).max(1);
            }
            Tally { .. } => self.attempt = self.attempt.saturating_add(1),
        }
        Some(self.attempt)
    }

    /// Nothing is sent before `due`; `next` is the first request after that.
    pub(crate) fn begin(&mut self, due: Moment, next: FlightId) {
        self.due = due;
        self.first = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(hold: &mut Hold, tallies: &[(usize, usize)]) -> Vec<Option<u32>> {
        let answers = (0..).zip(tallies).map(|(flight, (taken, refused))| {
            let (taken, refused) = (*taken, *refused);
            let attempt = hold.answered(flight, Tally { taken, refused });
            if attempt.is_some() {
                hold.begin(Moment::default(), flight + 1);
            }
            attempt
        });
        answers.collect()
    }

    #[test]
    fn waits_grow_while_at_most_half_is_taken_and_shrink_while_more_is() {
        let mut hold = Hold::default();
        let tallies = [(1, 9), (5, 5), (0, 9), (6, 4), (9, 1), (9, 1), (0, 0), (0, 1), (3, 0)];
        let expected = [Some(1), Some(2), Some(3), Some(2), Some(1), Some(1), None, Some(2), None];
        assert_eq!(answers(&mut hold, &tallies), expected);
        assert_eq!(hold.failed(9), Some(1), "the last one was taken whole");
    }

    #[test]
    fn a_long_outage_is_forgotten_within_a_few_requests_that_get_through() {
        let mut hold = Hold::default();
        let tallies: Vec<_> = [(0, 9); 100].into_iter().chain([(9, 1); 5]).collect();
        assert_eq!(answers(&mut hold, &tallies)[99..].to_vec(), [100, 50, 25, 13, 7, 6].map(Some));
    }

    #[test]
    fn what_left_before_the_wait_began_counts_for_nothing() {
        let mut hold = Hold::default();
        let (all, none) = (Tally { taken: 1, refused: 0 }, Tally { taken: 0, refused: 1 });
        assert_eq!(hold.answered(3, none), Some(1));
        hold.begin(Moment::default(), 8);
        assert_eq!((hold.answered(7, none), hold.failed(4)), (None, None));
        assert_eq!(hold.answered(5, all), None);
        assert_eq!(hold.answered(8, none), Some(2), "a success from before did not end it");
    }
}
