//! Records on their way into a journal, and who waits for them.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::block::{Block, Indexed};
use crate::sequence::ShardNumber;
use crate::shard::Shard;
use crate::store::Journal;

/// Records of one shard with consecutive counters, to be kept. Dropping it stops the shard.
pub struct Entry {
    shard: Arc<Shard>,
    arrival_millis: u64,
    records: Block,
    commit: Option<Arc<Commit>>,
}

impl Entry {
    pub(crate) fn new(
        shard: Arc<Shard>,
        records: Block,
        arrival_millis: u64,
        commit: &Arc<Commit>,
    ) -> Self {
        commit.waiting().left += 1;
        Self { shard, arrival_millis, records, commit: Some(Arc::clone(commit)) }
    }

    /// The shard.
    pub fn shard(&self) -> ShardNumber {
        self.shard.number
    }

    /// The counter of the first record.
    pub fn first(&self) -> u64 {
        self.records.first()
    }

    /// When all of them arrived (Unix milliseconds); never falls in one shard.
    pub fn arrival_millis(&self) -> u64 {
        self.arrival_millis
    }

    /// Partition key and data of each. There may be none: such an entry only waits for those
    /// before it.
    pub fn records(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> {
        self.records.records()
    }

    /// Bytes of all keys and data together.
    pub fn bytes(&self) -> usize {
        self.records.bytes()
    }

    /// The records are safe: shows them to readers and answers whoever put them.
    pub fn keep(mut self) {
        self.shard.show(self.records.end());
        self.settle(Fate::Kept);
    }

    /// For the holder of the shard's lock, who sees to the shard.
    pub(crate) fn refuse(mut self) {
        self.settle(Fate::Lost);
    }

    fn settle(&mut self, fate: Fate) {
        if let Some(commit) = self.commit.take() {
            commit.settle(self.shard.number, fate);
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if self.commit.is_some() {
            self.shard.stop();
            self.settle(Fate::Lost);
        }
    }
}

impl fmt::Debug for Entry {
    /// Leaves payload and keys out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entry({}, {} records from {})", self.shard(), self.records.len(), self.first())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Kept,
    Lost,
}

/// What one caller waits for.
#[derive(Debug, Default)]
pub(crate) struct Commit {
    waiting: Mutex<Waiting>,
    settled: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    left: usize,
    stopped: BTreeSet<ShardNumber>,
}

impl Commit {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settle(&self, shard: ShardNumber, fate: Fate) {
        let mut waiting = self.waiting();
        waiting.left -= 1;
        if fate == Fate::Lost {
            waiting.stopped.insert(shard);
        }
        if waiting.left == 0 {
            self.settled.notify_all();
        }
    }

    /// Blocks until every entry is settled; names the shards whose entries were lost.
    pub(crate) fn wait(&self) -> BTreeSet<ShardNumber> {
        let mut waiting = self.waiting();
        while waiting.left > 0 {
            waiting = self.settled.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::take(&mut waiting.stopped)
    }
}

/// What an append to a shard needs besides, in a stream that is kept outside memory.
pub(crate) struct Keeping<'a> {
    pub(crate) journal: &'a dyn Journal,
    pub(crate) commit: &'a Arc<Commit>,
}
