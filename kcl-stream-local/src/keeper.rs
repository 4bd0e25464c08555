//! A stream that is kept outside memory: what is saved of it, and how it comes back.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kcl_core::protocol::StreamName;

use crate::commit::{Commit, Keeping};
use crate::error::EngineError;
use crate::log::RecordLog;
use crate::sequence::ShardNumber;
use crate::shard::{Now, Shard};
use crate::shard_map::ShardMap;
use crate::store::{
    ClosedRow, Journal, SavedLog, SavedStream, ShardRow, Store, StoreError, StreamRow,
};
use crate::stream::StreamState;

/// A stream's part of a store.
pub(crate) struct Keeper {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) journal: Arc<dyn Journal>,
    /// Records that arrived at or before are gone for good (Unix milliseconds).
    pub(crate) floor_millis: AtomicU64,
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keeper({:?})", self.journal)
    }
}

impl Keeper {
    /// Holds the writes of these shards, and returns once all their records are kept.
    pub(crate) fn hold(&self, name: &StreamName, shards: &[Arc<Shard>]) -> Result<(), EngineError> {
        let commit = Arc::<Commit>::default();
        let keeping = Keeping { journal: &*self.journal, commit: &commit };
        shards.iter().for_each(|shard| shard.hold(&keeping));
        match commit.wait().first() {
            None => Ok(()),
            Some(shard) => {
                shards.iter().for_each(|shard| shard.release());
                Err(EngineError::ShardStopped { stream: name.clone(), shard: *shard })
            }
        }
    }
}

impl StreamState {
    /// What a store is to know of the stream with these shards. `closing` are the ends of those
    /// that are being closed.
    pub(crate) fn row(
        &self,
        map: &ShardMap,
        closing: &BTreeMap<ShardNumber, ClosedRow>,
    ) -> StreamRow {
        let shards = map.all().map(|shard| {
            let progress = shard.progress();
            let closed = progress.closed_at_millis;
            let closed = closed.map(|at_millis| ClosedRow { at_millis, next: progress.next });
            ShardRow {
                number: shard.number,
                range: shard.range,
                parents: shard.parents.iter().copied().collect(),
                created_at_millis: shard.created_at_millis,
                closed: closing.get(&shard.number).copied().or(closed),
            }
        });
        let floor = self.keeper.as_ref().map(|it| it.floor_millis.load(Ordering::Relaxed));
        StreamRow {
            name: self.name.clone(),
            created_at_millis: self.created_at_millis,
            options: self.settings.options(),
            floor_millis: floor.unwrap_or(0),
            shards: shards.collect(),
        }
    }
}

/// Makes the shards of a stream from what was saved.
pub(crate) fn restore(saved: &mut SavedStream, now: Now) -> Result<ShardMap, StoreError> {
    let mut logs = std::mem::take(&mut saved.logs);
    let row = &saved.row;
    let damaged = |shard: ShardNumber, what: String| {
        StoreError(format!("stream {}, {shard}: {what}: restore the data from a copy", row.name))
    };
    let mut shards = BTreeMap::new();
    for shard in &row.shards {
        let found = logs.remove(&shard.number);
        let mut saved = found.unwrap_or_else(|| SavedLog {
            next: shard.closed.map_or(1, |closed| closed.next),
            ..SavedLog::default()
        });
        if let Some(closed) = shard.closed.filter(|closed| closed.next != saved.next) {
            let what = format!("ends at {} and has records up to {}", closed.next, saved.next);
            // Without records left, the log may know less than the row.
            if !saved.batches.is_empty() || saved.next > closed.next {
                return Err(damaged(shard.number, what));
            }
            saved.next = closed.next;
        }
        let mut log = RecordLog::restored(saved);
        log.trim(row.floor_millis);
        let parents = shard.parents.iter().copied().collect();
        let created = shard.created_at_millis;
        let made = Shard::with_log(shard.number, shard.range, parents, created, now, log);
        shards.insert(shard.number, Arc::new(made));
    }
    // Shards that are gone by age have lower numbers: the one with the highest is open.
    if let Some(later) = logs.keys().find(|number| shards.keys().all(|known| known < *number)) {
        let what = "has records and no row: what is known of the stream is older than they are";
        return Err(damaged(*later, what.into()));
    }
    for shard in &row.shards {
        let Some(closed) = shard.closed else { continue };
        let children = shards.values().filter(|child| child.parents.contains(&shard.number));
        let children: Vec<_> = children.map(|child| child.as_child()).collect();
        if children.is_empty() {
            return Err(damaged(shard.number, "is closed and has no children".into()));
        }
        shards[&shard.number].close(closed.at_millis, children);
    }
    ShardMap::restored(shards).ok_or_else(|| {
        StoreError(format!(
            "stream {}: its open shards do not tile the hash space: restore the data from a copy",
            row.name
        ))
    })
}
