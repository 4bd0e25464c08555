//! How many requests may be under way at once.

use super::FlightId;

/// Falls to one with a lost reply, and grows again with the answers.
///
/// All requests share one way to the stream. Where that is too narrow for as many as the options
/// allow, they run out of time together; put again as many at once they would for ever, and
/// nothing would ever get through.
#[derive(Debug)]
pub(crate) struct Width {
    most: usize,
    now: usize,
    /// Answers since it last changed.
    answers: usize,
    /// The first request that left after it last fell. Those from before say nothing of what it is
    /// now: eight that were lost together are one loss.
    first: FlightId,
}

impl Width {
    pub(crate) fn new(most: usize) -> Self {
        let most = most.max(1);
        Self { most, now: most, answers: 0, first: 0 }
    }

    /// Whether one more may go besides so many.
    pub(crate) fn has_room(&self, under_way: usize) -> bool {
        under_way < self.now
    }

    /// True of a request that goes, or went, while no other may: what became of it is all that is
    /// known.
    pub(crate) fn is_alone(&self, flight: FlightId) -> bool {
        self.now == 1 && flight >= self.first
    }

    /// The reply to a request was lost; `next` is the first that leaves after this.
    pub(crate) fn lost(&mut self, flight: FlightId, next: FlightId) {
        if flight >= self.first {
            *self = Self { most: self.most, now: 1, answers: 0, first: next };
        }
    }

    /// A request was answered. As many answers as it is wide, a round, make it wider by one: where
    /// the way is narrow it is found anew only after many requests that got through.
    pub(crate) fn answered(&mut self, flight: FlightId) {
        if flight < self.first || self.now >= self.most {
            return;
        }
        self.answers += 1;
        if self.answers >= self.now {
            self.now += 1;
            self.answers = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_reply_leaves_room_for_one_and_each_round_of_answers_for_one_more() {
        let mut width = Width::new(4);
        assert!(width.has_room(3) && !width.has_room(4) && !width.is_alone(0));
        width.lost(2, 4);
        assert!(width.has_room(0) && !width.has_room(1));
        width.answered(0);
        width.lost(3, 9);
        assert!(!width.has_room(1), "they left before it fell");
        assert!(width.is_alone(4) && !width.is_alone(3));
        for (flight, wide) in (4..).zip([2, 2, 3, 3, 3, 4, 4, 4, 4, 4]) {
            width.answered(flight);
            assert!(width.has_room(wide - 1) && !width.has_room(wide), "{flight}: {width:?}");
        }
        width.lost(14, 18);
        assert!(!width.has_room(1));
    }

    #[test]
    fn there_is_room_for_one_at_least() {
        let mut width = Width::new(0);
        assert!(width.has_room(0) && !width.has_room(1));
        width.lost(0, 1);
        width.answered(1);
        assert!(width.has_room(0) && !width.has_room(1));
    }
}
