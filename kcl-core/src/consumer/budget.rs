//! What all consumers of a worker may have read and not finished, together.
//!
//! Whoever has nothing may always read one small piece, and a part of the budget is kept for that:
//! so no shard waits for another, and the sum stays within the budget. What is left is lent a part
//! at a time, only half of it for reading further ahead: a few shards whose processors are stuck
//! cannot take it all from the others.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use crate::source::ReadLimit;

/// The most of the budget that is kept for each shard's first piece: enough that a shard which
/// reads no further ahead still reads fast (five reads a second on Kinesis).
const PIECE: ReadLimit = ReadLimit { records: 1_000, bytes: 256 << 10 };
/// One read takes at most this part of what is left.
const PART: usize = 8;

/// The budget of a worker.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: ReadLimit,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    shares: usize,
    records: usize,
    bytes: usize,
    named: u64,
    /// Those that want to read further ahead; at most one each.
    waiting: BTreeMap<u64, Waker>,
}

/// One shard's part. What it holds goes back when it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    name: u64,
    held: ReadLimit,
    /// What its reader has and did not return yet.
    in_reader: ReadLimit,
    /// What the read that is out may bring.
    lent: ReadLimit,
}

impl Budget {
    /// Of so many records and bytes.
    pub fn new(limit: ReadLimit) -> Arc<Self> {
        Arc::new(Self { limit, state: Mutex::default() })
    }

    /// Read, or about to be, and not finished.
    #[cfg(test)]
    pub fn used(&self) -> ReadLimit {
        let state = self.state();
        ReadLimit { records: state.records, bytes: state.bytes }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A shard's part, empty.
    pub fn share(self: &Arc<Self>) -> Share {
        let mut state = self.state();
        (state.shares, state.named) = (state.shares + 1, state.named + 1);
        let name = state.named;
        drop(state);
        Share {
            budget: Arc::clone(self),
            name,
            held: ReadLimit::NOTHING,
            in_reader: ReadLimit::NOTHING,
            lent: ReadLimit::NOTHING,
        }
    }

    /// What each shard may always read first.
    fn piece(&self, state: &State) -> ReadLimit {
        let each = |limit: usize, most: usize| (limit / (2 * state.shares.max(1))).clamp(1, most);
        ReadLimit {
            records: each(self.limit.records, PIECE.records),
            bytes: each(self.limit.bytes, PIECE.bytes),
        }
    }

    /// What may be lent, at first and now.
    fn pool(&self, state: &State) -> (ReadLimit, ReadLimit) {
        let piece = self.piece(state);
        let whole = ReadLimit {
            records: self.limit.records.saturating_sub(state.shares * piece.records),
            bytes: self.limit.bytes.saturating_sub(state.shares * piece.bytes),
        };
        let left = ReadLimit {
            records: whole.records.saturating_sub(state.records),
            bytes: whole.bytes.saturating_sub(state.bytes),
        };
        (whole, left)
    }

    fn may_read_ahead(&self, state: &State) -> bool {
        let (whole, left) = self.pool(state);
        left.records > whole.records / 2 && left.bytes > whole.bytes / 2
    }

    fn add(&self, what: ReadLimit) {
        let mut state = self.state();
        state.records += what.records;
        state.bytes += what.bytes;
    }

    fn free(&self, what: ReadLimit) {
        let mut state = self.state();
        state.records -= what.records;
        state.bytes -= what.bytes;
        if !state.waiting.is_empty() && self.may_read_ahead(&state) {
            let waiting = std::mem::take(&mut state.waiting);
            drop(state);
            waiting.into_values().for_each(Waker::wake);
        }
    }
}

impl Share {
    /// What the next read may bring, at most `most`; `None` while others need what is left, and
    /// then the task is woken once that has changed. At the tip a read may wait for long, so it is
    /// lent nothing beyond the first piece.
    pub fn lend(
        &mut self,
        most: ReadLimit,
        at_tip: bool,
        cx: &mut Context<'_>,
    ) -> Option<ReadLimit> {
        self.give_back_lent();
        let budget = Arc::clone(&self.budget);
        let mut state = budget.state();
        let (piece, (_, left)) = (budget.piece(&state), budget.pool(&state));
        let part = ReadLimit { records: left.records / PART, bytes: left.bytes / PART };
        let has_nothing = self.held == ReadLimit::NOTHING;
        if !has_nothing && !budget.may_read_ahead(&state) {
            state.waiting.insert(self.name, cx.waker().clone());
            return None;
        }
        let bound = if at_tip { piece } else { larger(piece, part) };
        let bound = ReadLimit {
            records: bound.records.min(most.records),
            bytes: bound.bytes.min(most.bytes),
        };
        if !at_tip {
            self.lent = bound;
            state.records += bound.records;
            state.bytes += bound.bytes;
        }
        Some(bound)
    }

    /// The read that was out brought this.
    pub fn arrived(&mut self, what: ReadLimit) {
        self.budget.add(what);
        self.held.records += what.records;
        self.held.bytes += what.bytes;
        self.give_back_lent();
    }

    /// The reader has so much now and did not return it yet. It keeps others from reading ahead,
    /// but not this shard from taking it.
    pub fn reader_holds(&mut self, what: ReadLimit) {
        let before = std::mem::replace(&mut self.in_reader, what);
        if before != what {
            self.budget.add(what);
            self.budget.free(before);
        }
    }

    /// So much of what it holds is done with.
    pub fn finished(&mut self, what: ReadLimit) {
        if what != ReadLimit::NOTHING {
            self.held.records -= what.records;
            self.held.bytes -= what.bytes;
            self.budget.free(what);
        }
    }

    /// The read that was out brought nothing, or was given up.
    pub fn give_back_lent(&mut self) {
        let lent = std::mem::replace(&mut self.lent, ReadLimit::NOTHING);
        if lent != ReadLimit::NOTHING {
            self.budget.free(lent);
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.give_back_lent();
        self.reader_holds(ReadLimit::NOTHING);
        self.finished(self.held);
        let mut state = self.budget.state();
        state.shares -= 1;
        state.waiting.remove(&self.name);
    }
}

fn larger(a: ReadLimit, b: ReadLimit) -> ReadLimit {
    ReadLimit { records: a.records.max(b.records), bytes: a.bytes.max(b.bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::task::noop_waker;

    const MIB: usize = 1 << 20;
    const WHOLE: ReadLimit = ReadLimit { records: 100_000, bytes: 64 * MIB };
    const READ: ReadLimit = ReadLimit { records: 10_000, bytes: 8 * MIB };

    fn lend(share: &mut Share, at_tip: bool) -> Option<ReadLimit> {
        share.lend(READ, at_tip, &mut Context::from_waker(&noop_waker()))
    }

    #[test]
    fn any_number_of_stuck_shards_stay_within_the_budget_and_a_later_one_still_reads() {
        let budget = Budget::new(WHOLE);
        let mut shares: Vec<_> = (0..100).map(|_| budget.share()).collect();
        for _ in 0..50 {
            for share in &mut shares {
                if let Some(lent) = lend(share, false) {
                    share.arrived(lent);
                }
            }
        }
        let ReadLimit { records, bytes } = budget.used();
        assert!(records <= WHOLE.records && bytes <= WHOLE.bytes, "{records} {bytes}");
        assert!(bytes > WHOLE.bytes / 2, "and use it: {bytes}");
        let mut late = budget.share();
        let piece = lend(&mut late, false).unwrap();
        assert!(piece.bytes >= WHOLE.bytes / 256 && piece.records >= 100, "{piece:?}");
    }

    #[test]
    fn one_shard_alone_reads_as_if_there_were_no_budget() {
        let budget = Budget::new(ReadLimit { records: 1_000_000, bytes: 256 * MIB });
        let mut share = budget.share();
        for _ in 0..4 {
            assert_eq!(lend(&mut share, false), Some(READ));
            share.arrived(READ);
        }
    }

    #[test]
    fn readers_that_wait_at_the_tip_take_nothing_from_others() {
        let budget = Budget::new(WHOLE);
        let mut idle: Vec<_> = (0..1000).map(|_| budget.share()).collect();
        assert!(idle.iter_mut().all(|share| lend(share, true).is_some()));
        assert_eq!(budget.used(), ReadLimit::NOTHING);
    }

    #[test]
    fn what_readers_hold_counts_and_does_not_keep_a_shard_from_taking_it() {
        let budget = Budget::new(WHOLE);
        let (mut one, mut other) = (budget.share(), budget.share());
        let page = ReadLimit { records: 10, bytes: 60 * MIB };
        one.reader_holds(page);
        assert_eq!(budget.used(), page);
        other.arrived(ReadLimit { records: 1, bytes: 1 });
        assert_eq!(lend(&mut other, false), None, "nothing is left to read ahead");
        assert!(lend(&mut one, false).is_some(), "one has nothing but what is in its reader");
        one.give_back_lent();
        one.reader_holds(ReadLimit::NOTHING);
        assert!(lend(&mut other, false).is_some());
        one.reader_holds(page);
        drop((one, other));
        assert_eq!(budget.used(), ReadLimit::NOTHING);
    }

    #[test]
    fn what_is_finished_given_back_or_dropped_is_free_again_and_wakes_who_waits() {
        let budget = Budget::new(WHOLE);
        let (mut one, mut other) = (budget.share(), budget.share());
        one.arrived(ReadLimit { bytes: 60 * MIB, ..READ });
        other.arrived(ReadLimit { records: 1, bytes: 1 });
        assert_eq!(lend(&mut other, false), None, "it has something, and little is left");
        assert_eq!(budget.state().waiting.len(), 1);
        one.finished(ReadLimit { bytes: 60 * MIB, ..READ });
        assert_eq!(budget.state().waiting.len(), 0, "woken");
        assert!(lend(&mut other, false).is_some());
        drop(other);
        assert_eq!(budget.used(), ReadLimit::NOTHING);
        assert_eq!(budget.state().shares, 1);
    }
}
