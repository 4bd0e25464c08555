//! The acked watermark: everything up to it is done, whatever the order of the acks.

use std::collections::VecDeque;

use crate::rules::{Mutant, Rules};
use crate::sequence::{Checkpoint, Position};

/// Which records of one shard were delivered, and which of them are done.
///
/// Deliveries cost per batch, and so do acks of whole batches; only single acks cost per record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Acks {
    watermark: Checkpoint,
    /// Delivered and not all acked, in order.
    spans: VecDeque<Span>,
    unacked: usize,
}

/// One delivery.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Span {
    last: Position,
    records: Records,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Records {
    /// Acked as a whole.
    Whole { count: usize },
    /// Acked one by one: `done[i]` belongs to `positions[i]`, and all before `head` are done.
    Each { positions: Vec<Position>, done: Vec<bool>, head: usize },
}

/// What an ack came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acked {
    /// The record was open and is done now.
    Now,
    /// It was done before.
    Before,
    /// No such record is out: it was never delivered, or will be delivered again.
    NotDelivered,
}

impl Acks {
    /// Of a shard that is done up to this checkpoint.
    pub fn new(start: Checkpoint) -> Self {
        Self { watermark: start, spans: VecDeque::new(), unacked: 0 }
    }
    /// Everything up to here is done. Only rises.
    pub fn watermark(&self) -> Checkpoint {
        self.watermark
    }
    /// What a checkpoint may say: the watermark, if the rules hold.
    pub fn checkpoint(&self, rules: Rules) -> Checkpoint {
        self.unless(rules.breaks(Mutant::CheckpointPastUnacked))
    }
    /// What the write that lets the lease go may say: the watermark too, if the rules hold.
    pub fn last_checkpoint(&self, rules: Rules) -> Checkpoint {
        self.unless(rules.breaks(Mutant::HandOverPastUnacked))
    }
    fn unless(&self, is_broken: bool) -> Checkpoint {
        let last = self.last_delivered().filter(|_| is_broken);
        last.map_or(self.watermark, Checkpoint::At)
    }
    /// Records delivered and not acked.
    pub fn unacked(&self) -> usize {
        self.unacked
    }

    /// Notes a delivery whose records are acked together.
    pub fn deliver_whole(&mut self, last: Position, count: usize) {
        self.unacked += count;
        self.spans.push_back(Span { last, records: Records::Whole { count } });
    }

    /// Notes a delivery whose records are acked one by one. Positions rise.
    pub fn deliver_each(&mut self, positions: Vec<Position>) {
        let Some(last) = positions.last().copied() else { return };
        self.unacked += positions.len();
        let done = vec![false; positions.len()];
        self.spans.push_back(Span { last, records: Records::Each { positions, done, head: 0 } });
    }

    /// Acks one record of a delivery made with [`Acks::deliver_each`].
    pub fn ack(&mut self, position: Position) -> Acked {
        if Checkpoint::At(position) <= self.watermark {
            return Acked::Before;
        }
        let at = self.spans.partition_point(|span| span.last < position);
        let Some(Span { records: Records::Each { positions, done, .. }, .. }) =
            self.spans.get_mut(at)
        else {
            return Acked::NotDelivered;
        };
        let Ok(index) = positions.binary_search(&position) else { return Acked::NotDelivered };
        if std::mem::replace(&mut done[index], true) {
            return Acked::Before;
        }
        self.unacked -= 1;
        self.advance();
        Acked::Now
    }

    /// True if the record is done.
    pub fn is_acked(&self, position: Position) -> bool {
        if Checkpoint::At(position) <= self.watermark {
            return true;
        }
        let at = self.spans.partition_point(|span| span.last < position);
        match self.spans.get(at).map(|span| &span.records) {
            Some(Records::Each { positions, done, .. }) => {
                positions.binary_search(&position).is_ok_and(|index| done[index])
            }
            Some(Records::Whole { .. }) | None => false,
        }
    }

    /// Acks everything delivered up to and including this record, which was delivered.
    pub fn ack_through(&mut self, position: Position) {
        while self.spans.front().is_some_and(|span| span.last <= position) {
            if let Some(span) = self.spans.pop_front() {
                self.unacked -= span.open();
            }
        }
        if let Some(span) = self.spans.front_mut()
            && let Records::Each { positions, done, .. } = &mut span.records
        {
            let through = positions.partition_point(|each| *each <= position);
            let fresh = done[..through].iter().filter(|done| !**done).count();
            done[..through].fill(true);
            self.unacked -= fresh;
        }
        self.raise(position);
        self.advance();
    }

    /// Forgets what was delivered above the watermark, since all of it will be delivered again.
    pub fn rewind(&mut self) {
        self.spans.clear();
        self.unacked = 0;
    }

    /// The first record delivered one by one that is not acked.
    pub fn first_open(&self) -> Option<Position> {
        match &self.spans.front()?.records {
            Records::Each { positions, head, .. } => positions.get(*head).copied(),
            Records::Whole { .. } => None,
        }
    }

    /// The last record delivered; `None` if none is out.
    pub fn last_delivered(&self) -> Option<Position> {
        self.spans.back().map(|span| span.last)
    }

    fn raise(&mut self, position: Position) {
        self.watermark = self.watermark.max(Checkpoint::At(position));
    }

    /// Moves the watermark over what is done at the front.
    fn advance(&mut self) {
        while let Some(span) = self.spans.front_mut() {
            let Records::Each { positions, done, head } = &mut span.records else { return };
            let from = *head;
            *head += done[from..].iter().take_while(|done| **done).count();
            let (moved, ended) = (*head > from, *head == done.len());
            let reached = if moved { Some(positions[*head - 1]) } else { None };
            if let Some(position) = reached {
                self.watermark = self.watermark.max(Checkpoint::At(position));
            }
            if !ended {
                return;
            }
            self.spans.pop_front();
        }
    }
}

impl Span {
    fn open(&self) -> usize {
        match &self.records {
            Records::Whole { count } => *count,
            Records::Each { done, .. } => done.iter().filter(|done| !**done).count(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sequence::SequenceNumber;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn p(number: u128) -> Position {
        SequenceNumber::from_parts(0, number).into()
    }

    #[test]
    fn acks_of_whole_batches_move_the_watermark_to_the_last_record() {
        let mut acks = Acks::new(Checkpoint::TrimHorizon);
        acks.deliver_whole(p(10), 10);
        assert_eq!((acks.unacked(), acks.watermark()), (10, Checkpoint::TrimHorizon));
        acks.ack_through(p(10));
        assert_eq!((acks.unacked(), acks.watermark()), (0, Checkpoint::At(p(10))));
    }

    #[test]
    fn a_partial_ack_of_a_whole_batch_leaves_the_rest_to_be_delivered_again() {
        let mut acks = Acks::new(Checkpoint::TrimHorizon);
        acks.deliver_whole(p(10), 10);
        acks.ack_through(p(4));
        assert_eq!(acks.watermark(), Checkpoint::At(p(4)));
        acks.rewind();
        acks.deliver_whole(p(10), 6);
        assert_eq!(acks.unacked(), 6);
    }

    #[test]
    fn an_ack_of_a_record_never_delivered_changes_nothing() {
        let mut acks = Acks::new(Checkpoint::At(p(2)));
        acks.deliver_each(vec![p(3), p(5)]);
        for position in [p(4), p(6)] {
            assert_eq!(acks.ack(position), Acked::NotDelivered);
        }
        assert_eq!(acks.ack(p(1)), Acked::Before);
        assert_eq!(acks.ack(p(5)), Acked::Now);
        assert_eq!(acks.ack(p(5)), Acked::Before);
        assert!(acks.is_acked(p(5)) && !acks.is_acked(p(3)));
        assert_eq!(acks.watermark(), Checkpoint::At(p(2)));
        assert_eq!(acks.ack(p(3)), Acked::Now);
        assert_eq!((acks.watermark(), acks.unacked()), (Checkpoint::At(p(5)), 0));
    }

    #[test]
    fn the_first_open_and_the_last_delivered_record_are_known_while_any_is_out() {
        let mut acks = Acks::new(Checkpoint::At(p(2)));
        assert_eq!((acks.first_open(), acks.last_delivered()), (None, None));
        acks.deliver_each(vec![p(3), p(4), p(5)]);
        acks.ack(p(3));
        assert_eq!((acks.first_open(), acks.last_delivered()), (Some(p(4)), Some(p(5))));
        assert_eq!(acks.checkpoint(Rules::ALL), Checkpoint::At(p(3)));
        acks.rewind();
        acks.deliver_whole(p(9), 3);
        assert_eq!((acks.first_open(), acks.last_delivered()), (None, Some(p(9))));
        assert!(acks.is_acked(p(3)) && !acks.is_acked(p(9)));
    }

    proptest! {
        #[test]
        fn the_watermark_is_the_last_record_before_the_first_unacked_one(
            gaps in prop::collection::vec(1u128..4, 1..60),
            sizes in prop::collection::vec(1usize..9, 60),
            order in prop::collection::vec((any::<prop::sample::Index>(), 0u8..12), 0..120),
        ) {
            let positions: Vec<_> = gaps
                .iter()
                .scan(100u128, |at, gap| { *at += gap; Some(p(*at)) })
                .collect();
            let mut acks = Acks::new(Checkpoint::TrimHorizon);
            let mut rest = &positions[..];
            for size in sizes {
                let (batch, after) = rest.split_at(size.min(rest.len()));
                acks.deliver_each(batch.to_vec());
                rest = after;
            }
            let mut done = BTreeSet::new();
            let mut before = acks.watermark();
            for (index, kind) in order {
                let position = *index.get(&positions);
                if kind == 0 {
                    acks.ack_through(position);
                    done.extend(positions.iter().filter(|each| **each <= position));
                } else {
                    let fresh = done.insert(position);
                    prop_assert_eq!(acks.ack(position) == Acked::Now, fresh);
                }
                let first_open = positions.iter().position(|each| !done.contains(each));
                let expected = match first_open.unwrap_or(positions.len()) {
                    0 => Checkpoint::TrimHorizon,
                    open => Checkpoint::At(positions[open - 1]),
                };
                prop_assert_eq!(acks.watermark(), expected);
                prop_assert!(acks.watermark() >= before);
                prop_assert_eq!(acks.unacked(), positions.len() - done.len());
                let agrees = |each: &Position| acks.is_acked(*each) == done.contains(each);
                prop_assert!(positions.iter().all(agrees));
                before = acks.watermark();
            }
        }
    }
}
