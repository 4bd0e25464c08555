//! One shard: its records, its rates and its end.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kcl_core::protocol::{HashKeyRange, Moment, SequenceNumber, ShardId};
use kcl_core::{ChildShard, Clock, Record};
use tokio::sync::Notify;

use crate::block::OpenBlock;
use crate::bucket::Bucket;
use crate::commit::{Entry, Keeping};
use crate::error::PutError;
use crate::limits::{
    JOURNAL_RETRY, SHARD_IN_BYTES, SHARD_IN_RECORDS, SHARD_OUT_BYTES, SHARD_READS,
};
use crate::log::RecordLog;
use crate::options::Settings;
use crate::record::{PutReceipt, RecordRef};
use crate::sequence::{SequenceBase, ShardNumber};

/// Both clocks, read once for an operation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) moment: Moment,
    pub(crate) wall_millis: u64,
}

impl Now {
    pub(crate) fn read(clock: &dyn Clock) -> Self {
        Self { moment: clock.monotonic(), wall_millis: clock.wall_millis() }
    }
}

/// A shard. Invariant: what is public here never changes.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) number: ShardNumber,
    pub(crate) range: HashKeyRange,
    /// None for a shard the stream began with, one after a split, two after a merge.
    pub(crate) parents: BTreeSet<ShardNumber>,
    pub(crate) created_at_millis: u64,
    pub(crate) base: SequenceBase,
    /// Wakes waiting readers, once a batch.
    arrived: Notify,
    state: Mutex<ShardState>,
}

#[derive(Debug)]
struct ShardState {
    log: RecordLog,
    /// Set once, when the shard is split or merged.
    closing: Option<Closing>,
    writes: Writes,
    bytes_in: Bucket,
    records_in: Bucket,
    bytes_out: Bucket,
    reads: Bucket,
}

/// Whether a shard that is not closed takes records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writes {
    Taken,
    /// A reshard is being kept: ask again.
    Held,
    /// Records may have been lost on their way to the store.
    Stopped,
}

#[derive(Clone, Debug)]
struct Closing {
    at_millis: u64,
    children: Vec<ChildShard>,
}

/// What a read found.
#[derive(Debug)]
pub(crate) enum Found {
    Records {
        records: Vec<Record>,
        bytes: usize,
        next: u64,
        behind_millis: u64,
        end: AfterThis,
    },
    /// The reader stands at the tip of an open shard, which may be past where it was.
    Tip {
        next: u64,
    },
    End(Vec<ChildShard>),
}

/// What follows the records of one read.
#[derive(Debug)]
pub(crate) enum AfterThis {
    More,
    /// These were the last ones of a closed shard.
    End(Vec<ChildShard>),
}

/// How far a shard has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) tip: SequenceNumber,
    pub(crate) next: u64,
    pub(crate) closed_at_millis: Option<u64>,
}

impl Shard {
    pub(crate) fn new(
        number: ShardNumber,
        range: HashKeyRange,
        parents: BTreeSet<ShardNumber>,
        created_at_millis: u64,
        now: Now,
    ) -> Self {
        Self::with_log(number, range, parents, created_at_millis, now, RecordLog::new())
    }

    /// A shard with these records.
    pub(crate) fn with_log(
        number: ShardNumber,
        range: HashKeyRange,
        parents: BTreeSet<ShardNumber>,
        created_at_millis: u64,
        now: Now,
        log: RecordLog,
    ) -> Self {
        let state = ShardState {
            log,
            closing: None,
            writes: Writes::Taken,
            bytes_in: Bucket::full(SHARD_IN_BYTES, now.moment),
            records_in: Bucket::full(SHARD_IN_RECORDS, now.moment),
            bytes_out: Bucket::full(SHARD_OUT_BYTES, now.moment),
            reads: Bucket::full(SHARD_READS, now.moment),
        };
        Self {
            number,
            range,
            parents,
            created_at_millis,
            base: SequenceBase::new(number, created_at_millis),
            arrived: Notify::new(),
            state: Mutex::new(state),
        }
    }

    fn state(&self) -> MutexGuard<'_, ShardState> {
        // A panic inside leaves the state whole: every step below either happened or did not.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn id(&self) -> ShardId {
        self.number.id()
    }

    pub(crate) fn as_child(&self) -> ChildShard {
        ChildShard {
            id: self.id(),
            parents: self.parents.iter().map(|parent| parent.id()).collect(),
            range: self.range,
        }
    }

    /// Completes when records arrive, or the shard or stream ends, after the returned future was
    /// enabled.
    pub(crate) fn arrival(&self) -> tokio::sync::futures::Notified<'_> {
        self.arrived.notified()
    }

    pub(crate) fn wake_readers(&self) {
        self.arrived.notify_waiters();
    }

    /// Appends the records at the places in `group`, in that order, and writes their results. Once
    /// one is refused the later ones are too, so that those of one key stay in order. A closed
    /// shard writes no results: route the group anew.
    pub(crate) fn append(
        self: &Arc<Self>,
        now: Now,
        settings: &Settings,
        group: &[u32],
        records: &[RecordRef<'_>],
        results: &mut [Option<Result<PutReceipt, PutError>>],
        keeping: Option<&Keeping<'_>>,
    ) {
        let needed: u64 = group.iter().map(|at| records[*at as usize].memory_bytes()).sum();
        let mut state = self.state();
        if state.closing.is_some() || state.writes == Writes::Held {
            return;
        }
        if let Some(error) = state.refusal(self.number, keeping) {
            group.iter().for_each(|at| results[*at as usize] = Some(Err(error)));
            return;
        }
        settings.memory.release(state.trim(now, settings));
        let mut left = if settings.memory.reserve(needed) { needed } else { 0 };
        if !settings.is_unlimited() {
            state.bytes_in.refill(now.moment);
            state.records_in.refill(now.moment);
        }
        let mut refused = None;
        let first = state.log.next();
        let mut kept = keeping.map(|_| OpenBlock::new(first));
        for at in group {
            let at = *at as usize;
            if refused.is_none() {
                refused = state.admit(self.number, settings, &records[at], &mut left).err();
            }
            results[at] = Some(match refused {
                None => {
                    let sequence = self.base.number(state.log.next());
                    state.log.add(records[at], now.wall_millis);
                    if let Some(kept) = &mut kept {
                        kept.add(records[at], now.wall_millis);
                    }
                    Ok(PutReceipt { shard: self.number, sequence })
                }
                Some(error) => Err(error),
            });
        }
        let next = state.log.next();
        let has_taken = next > first;
        match (keeping, kept) {
            (Some(keeping), Some(kept)) if has_taken => self.hand_over(&mut state, kept, keeping),
            (Some(_), _) => {}
            (None, _) => state.log.show(next),
        }
        drop(state);
        settings.memory.release(left);
        if has_taken && keeping.is_none() {
            self.wake_readers();
        }
    }

    /// Hands records that were just added to the journal.
    fn hand_over(
        self: &Arc<Self>,
        state: &mut ShardState,
        mut kept: OpenBlock,
        keeping: &Keeping<'_>,
    ) {
        let arrival = state.log.last_arrival_millis();
        let entry = Entry::new(Arc::clone(self), kept.close(), arrival, keeping.commit);
        if let Err(entry) = keeping.journal.append(entry) {
            state.writes = Writes::Stopped;
            entry.refuse();
        }
    }

    /// Shows readers the records below `next`, which are kept now.
    pub(crate) fn show(&self, next: u64) {
        self.state().log.show(next);
        self.wake_readers();
    }

    /// Takes no more records: some may have been lost.
    pub(crate) fn stop(&self) {
        self.state().writes = Writes::Stopped;
    }

    /// Holds writes until [`Shard::close`] or [`Shard::release`]. Once `commit` is settled, all
    /// records before are kept or the shard is stopped.
    pub(crate) fn hold(self: &Arc<Self>, keeping: &Keeping<'_>) {
        let mut state = self.state();
        if state.writes == Writes::Taken {
            state.writes = Writes::Held;
        }
        let nothing = OpenBlock::new(state.log.next()).close();
        let arrival = state.log.last_arrival_millis();
        let entry = Entry::new(Arc::clone(self), nothing, arrival, keeping.commit);
        if let Err(entry) = keeping.journal.append(entry) {
            state.writes = Writes::Stopped;
            entry.refuse();
        }
    }

    /// Takes records again after [`Shard::hold`].
    pub(crate) fn release(&self) {
        let mut state = self.state();
        if state.writes == Writes::Held {
            state.writes = Writes::Taken;
        }
    }

    /// Reads on from counter `from`, at most `max_records` and `max_bytes`, skipping what arrived
    /// before `not_before_millis`.
    pub(crate) fn read(
        &self,
        now: Now,
        settings: &Settings,
        from: u64,
        not_before_millis: u64,
        limit: (usize, usize),
    ) -> Found {
        let mut state = self.state();
        settings.memory.release(state.trim(now, settings));
        let log = &state.log;
        let mut from = from.max(log.first());
        if log.arrival_millis(from).is_some_and(|arrival| arrival < not_before_millis) {
            from = log.first_arrived_at(not_before_millis, from);
        }
        let children = state.closing.as_ref().map(|closing| closing.children.clone());
        let log_next = log.shown();
        if from >= log_next {
            return children.map_or(Found::Tip { next: from }, Found::End);
        }
        let slice = log.slice(from, limit.0);
        // The copying is the long part: writers and other readers go on meanwhile.
        drop(state);
        let copied = slice.copy(self.base, limit.1);
        let next = from + copied.records.len() as u64;
        let (behind_millis, end) = if next == log_next {
            (0, children.map_or(AfterThis::More, AfterThis::End))
        } else {
            let last = copied.records.last().map_or(now.wall_millis, |last| last.arrival_millis);
            (now.wall_millis.saturating_sub(last).max(1), AfterThis::More)
        };
        Found::Records { records: copied.records, bytes: copied.bytes, next, behind_millis, end }
    }

    /// Charges a pull for its call and for the bytes of earlier ones, or tells how long to wait.
    pub(crate) fn admit_pull(&self, now: Now) -> Result<(), Duration> {
        let mut state = self.state();
        state.reads.refill(now.moment);
        state.bytes_out.refill(now.moment);
        if !state.reads.covers(1) {
            return Err(state.reads.wait_for(1));
        }
        if !state.bytes_out.is_in_credit() {
            return Err(state.bytes_out.wait_for_credit());
        }
        state.reads.take(1);
        Ok(())
    }

    /// Charges a pull for what it returned.
    pub(crate) fn charge_pull(&self, bytes: usize) {
        self.state().bytes_out.spend(bytes as u64);
    }

    pub(crate) fn progress(&self) -> Progress {
        let state = self.state();
        let next = state.log.shown();
        Progress {
            tip: self.base.number(next - 1),
            next,
            closed_at_millis: state.closing.as_ref().map(|closing| closing.at_millis),
        }
    }

    /// The counter of the first record that arrived at or after `millis`, or of the next to come.
    pub(crate) fn first_arrived_at(&self, millis: u64) -> u64 {
        let state = self.state();
        state.log.first_arrived_at(millis, state.log.first())
    }

    /// How long ago the record with this counter arrived, or the oldest above it; 0 if none has.
    pub(crate) fn behind_millis(&self, counter: u64, now: Now) -> u64 {
        let state = self.state();
        let counter = counter.max(state.log.first());
        let arrival = state.log.arrival_millis(counter);
        arrival.map_or(0, |arrival| now.wall_millis.saturating_sub(arrival).max(1))
    }

    /// Closes the shard for writes. Its readers learn of the children once they are through.
    pub(crate) fn close(&self, at_millis: u64, children: Vec<ChildShard>) {
        self.state().closing.get_or_insert(Closing { at_millis, children });
        self.wake_readers();
    }

    pub(crate) fn memory_bytes(&self) -> u64 {
        self.state().log.memory_bytes()
    }

    /// Drops what has expired.
    pub(crate) fn sweep(&self, now: Now, settings: &Settings) -> u64 {
        let freed = self.state().trim(now, settings);
        settings.memory.release(freed);
        freed
    }

    /// True once the shard is closed and everything in it has expired.
    pub(crate) fn is_gone(&self, now: Now, settings: &Settings) -> bool {
        let closed_at = self.progress().closed_at_millis;
        closed_at.is_some_and(|at| at + settings.retention_millis() <= now.wall_millis)
    }
}

impl ShardState {
    /// Why no record is taken at all.
    fn refusal(&self, shard: ShardNumber, keeping: Option<&Keeping<'_>>) -> Option<PutError> {
        if self.writes == Writes::Stopped {
            return Some(PutError::Stopped { shard });
        }
        let is_behind = keeping.is_some_and(|keeping| keeping.journal.is_behind());
        is_behind.then_some(PutError::Throttled { shard, retry_after: JOURNAL_RETRY })
    }

    fn trim(&mut self, now: Now, settings: &Settings) -> u64 {
        match now.wall_millis.checked_sub(settings.retention_millis()) {
            Some(horizon_millis) => self.log.trim(horizon_millis),
            None => 0,
        }
    }

    /// Takes a record's share of the rates and of the memory in `left`, or of what the stream has
    /// beyond that.
    fn admit(
        &mut self,
        shard: ShardNumber,
        settings: &Settings,
        record: &RecordRef<'_>,
        left: &mut u64,
    ) -> Result<(), PutError> {
        let size = record.size_bytes() as u64;
        let is_limited = !settings.is_unlimited();
        if is_limited && !(self.records_in.covers(1) && self.bytes_in.covers(size)) {
            let retry_after = self.records_in.wait_for(1).max(self.bytes_in.wait_for(size));
            return Err(PutError::Throttled { shard, retry_after });
        }
        let memory = record.memory_bytes();
        match left.checked_sub(memory) {
            Some(rest) => *left = rest,
            None if settings.memory.reserve(memory) => {}
            None => return Err(PutError::StreamFull { memory_bytes: settings.memory.bound() }),
        }
        if is_limited {
            self.records_in.take(1);
            self.bytes_in.take(size);
        }
        Ok(())
    }
}
