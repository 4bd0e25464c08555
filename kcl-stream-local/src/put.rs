//! Puts.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::commit::{Commit, Keeping};
use crate::error::{EngineError, PutError};
use crate::hash::hash_keys;
use crate::limits::{PUT_BYTES, PUT_RECORDS};
use crate::record::{NewRecord, PutReceipt, RecordRef};
use crate::route::Groups;
use crate::sequence::ShardNumber;
use crate::shard::Now;
use crate::stream::Stream;

/// What became of each record of a put of many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutMany {
    /// One result a record, in the order given.
    pub results: Vec<Result<PutReceipt, PutError>>,
}

impl PutMany {
    /// How many were refused.
    pub fn failed_count(&self) -> usize {
        self.results.iter().filter(|result| result.is_err()).count()
    }
}

impl Stream {
    /// Puts one record. In a stream with a [`crate::Store`] it blocks the thread until the record
    /// is kept: about one sync of a disk, shared by all that wait.
    ///
    /// # Errors
    /// `StreamNotFound`; `InvalidArgument` for a wrong key or size; for now:
    /// `ProvisionedThroughputExceeded`, `StreamFull`. With a store: `ShardStopped`.
    pub fn put(&self, record: NewRecord) -> Result<PutReceipt, EngineError> {
        self.put_ref((&record).into())
    }

    /// As [`Stream::put`], of a record whose bytes are somebody else's.
    ///
    /// # Errors
    /// As [`Stream::put`].
    pub fn put_ref(&self, record: RecordRef<'_>) -> Result<PutReceipt, EngineError> {
        self.check_exists()?;
        record.validate(self.state.settings.max_record_bytes())?;
        let result = self.put_routed(&[record], &[record.hash_key()]).told().pop();
        let result = result.unwrap_or_else(|| Err(self.full()));
        result.map_err(|error| error.of_stream(self.name()))
    }

    /// Puts up to 500 records of together at most 10 MiB. Those of one shard are taken in the order
    /// given; once one is refused, so are the later ones of its shard.
    ///
    /// # Errors
    /// Nothing was put: `StreamNotFound`; `InvalidArgument` if there are none or too many, or any
    /// key or size is wrong. A throttled or full shard shows in the results instead.
    pub fn put_many(&self, records: Vec<NewRecord>) -> Result<PutMany, EngineError> {
        let records: Vec<_> = records.iter().map(RecordRef::from).collect();
        self.put_many_refs(&records)
    }

    /// As [`Stream::put_many`], of records whose bytes are somebody else's.
    ///
    /// # Errors
    /// As [`Stream::put_many`].
    pub fn put_many_refs(&self, records: &[RecordRef<'_>]) -> Result<PutMany, EngineError> {
        self.check_exists()?;
        let max_record_bytes = self.state.settings.max_record_bytes();
        check_count(records.len())?;
        let mut bytes = 0;
        for record in records {
            record.validate(max_record_bytes)?;
            bytes += record.size_bytes();
        }
        check_bytes(bytes)?;
        Ok(PutMany { results: self.put_routed(records, &hash_keys(records)).told() })
    }

    pub(crate) fn full(&self) -> PutError {
        PutError::StreamFull { memory_bytes: self.state.settings.memory.bound() }
    }

    /// Puts valid records whose hash keys are known. In a stream that is kept outside memory it
    /// blocks until they are.
    pub(crate) fn put_routed(&self, records: &[RecordRef<'_>], hash_keys: &[u128]) -> Routed {
        let now = Now::read(&*self.clock);
        let commit = self.state.keeper.is_some().then(Arc::<Commit>::default);
        let mut results = vec![None; records.len()];
        let mut places: Vec<u32> = (0..records.len() as u32).collect();
        let mut has_swept = false;
        while !places.is_empty() {
            let commit = commit.as_ref();
            self.put_places(now, &places, hash_keys, (records, &mut results), commit);
            let is_full =
                |at: &usize| matches!(results[*at], Some(Err(PutError::StreamFull { .. })));
            let retry_full = !has_swept && (0..results.len()).any(|at| is_full(&at));
            let retry_full = retry_full && self.sweep(now) > 0;
            has_swept |= retry_full;
            if self.state.keeper.is_some() && results.iter().any(Option::is_none) {
                // A reshard holds their shard until it is kept.
                self.await_change();
            }
            // Unanswered: their shard was closed under way. The map is another one by now.
            places = (0..results.len())
                .filter(|at| results[*at].is_none() || (retry_full && is_full(at)))
                .map(|at| at as u32)
                .collect();
        }
        let stopped = commit.map(|commit| commit.wait()).unwrap_or_default();
        let full = self.full();
        let results = results.into_iter().map(|result| result.unwrap_or(Err(full))).collect();
        Routed { results, stopped }
    }

    fn put_places(
        &self,
        now: Now,
        places: &[u32],
        hash_keys: &[u128],
        (records, results): (&[RecordRef<'_>], &mut [Answer]),
        commit: Option<&Arc<Commit>>,
    ) {
        let keeper = self.state.keeper.as_ref();
        let keeping = keeper.zip(commit);
        let keeping = keeping.map(|(keeper, commit)| Keeping { journal: &*keeper.journal, commit });
        let map = self.map();
        let settings = &self.state.settings;
        if let [place] = places {
            // One record needs no sorting.
            let shard = &map.open()[map.slot(hash_keys[*place as usize])];
            return shard.append(now, settings, places, records, results, keeping.as_ref());
        }
        let groups = Groups::new(places, map.open().len(), |at| map.slot(hash_keys[at as usize]));
        for (slot, group) in groups.iter() {
            let shard = &map.open()[slot];
            shard.append(now, settings, group, records, results, keeping.as_ref());
        }
    }

    /// Drops expired records of all shards; returns the memory they took.
    pub(crate) fn sweep(&self, now: Now) -> u64 {
        if let Some(keeper) = &self.state.keeper {
            let retention = self.state.settings.retention_millis();
            keeper.journal.expire(now.wall_millis.saturating_sub(retention));
        }
        self.map().all().map(|shard| shard.sweep(now, &self.state.settings)).sum()
    }
}

/// What became of a record; `None` while its shard is to be found anew.
pub(crate) type Answer = Option<Result<PutReceipt, PutError>>;

/// What became of each record of a put.
pub(crate) struct Routed {
    pub(crate) results: Vec<Result<PutReceipt, PutError>>,
    /// Shards that were stopped while they wrote it. A receipt of theirs is none: whether the
    /// record is kept shows only once the stream is opened again.
    pub(crate) stopped: BTreeSet<ShardNumber>,
}

impl Routed {
    fn told(self) -> Vec<Result<PutReceipt, PutError>> {
        let Self { results, stopped } = self;
        let told = results.into_iter().map(|result| match result {
            Ok(PutReceipt { shard, .. }) if stopped.contains(&shard) => {
                Err(PutError::Stopped { shard })
            }
            result => result,
        });
        told.collect()
    }
}

pub(crate) fn check_count(records: usize) -> Result<(), EngineError> {
    if (1..=PUT_RECORDS).contains(&records) {
        return Ok(());
    }
    Err(EngineError::InvalidArgument(format!(
        "a put of many takes 1 to {PUT_RECORDS} records, not {records}"
    )))
}

pub(crate) fn check_bytes(bytes: usize) -> Result<(), EngineError> {
    if bytes <= PUT_BYTES {
        return Ok(());
    }
    Err(EngineError::InvalidArgument(format!(
        "a put of many takes {PUT_BYTES} bytes of data and keys, not {bytes}: put fewer at once"
    )))
}
