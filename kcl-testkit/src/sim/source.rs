//! A stream as one worker sees it on a bad day.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use kcl_core::protocol::{Moment, ShardId};
use kcl_core::{
    Clock, ReadFrom, ReadLimit, ReadOutcome, Shard, ShardReader, SourceError, StreamDescription,
    StreamSource,
};

use super::draw::{Calls, Draws};
use super::faults::{Faults, Kind};
use super::gate::Gate;
use crate::history::Recorder;

/// One worker's view of a stream.
#[derive(Clone)]
pub struct FaultySource {
    /// The stream itself.
    pub inner: Arc<dyn StreamSource>,
    /// True time.
    pub clock: Arc<dyn Clock>,
    /// What goes wrong.
    pub faults: Faults,
    /// Whose view it is.
    pub actor: String,
    /// Holds answers back while the worker stands still.
    pub gate: Gate,
    /// Requests so far.
    pub calls: Calls,
    /// Since when each shard is there, for all workers.
    pub seen: Arc<Mutex<BTreeMap<ShardId, Moment>>>,
    /// Hears of records that are gone.
    pub recorder: Recorder,
}

/// Children are listed at most this much late.
const LATE: Duration = Duration::from_secs(20);
/// So many records at most are gone at once.
const TRIMMED: u64 = 8;

impl FaultySource {
    fn strike(&self, kind: Kind, call: u64, permille: u64) -> Option<u64> {
        self.faults.strike(kind, &self.actor, call, permille)
    }
}

#[async_trait]
impl StreamSource for FaultySource {
    async fn describe(&self) -> Result<StreamDescription, SourceError> {
        self.gate.pass().await;
        self.inner.describe().await
    }
    async fn list_shards(&self) -> Result<Vec<Shard>, SourceError> {
        self.gate.pass().await;
        let call = self.calls.next("list", "");
        if self.strike(Kind::SourceThrottled, call, 50).is_some() {
            return Err(SourceError::Throttled { retry_after: Duration::from_millis(100) });
        }
        let mut shards = self.inner.list_shards().await?;
        if self.strike(Kind::StaleListing, call, 100).is_some() {
            // The newest shard is not in the listing yet.
            shards.pop();
        }
        let now = self.clock.monotonic();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // No listing shows a child without its parents, unless they are trimmed.
        let mut hidden = BTreeSet::new();
        shards.retain(|shard| {
            let since = *seen.entry(shard.id.clone()).or_insert(now);
            let is_child = !shard.parents.is_empty() && now.since(since) < LATE;
            let is_late =
                is_child && self.faults.haunts(Kind::LateChildren, shard.id.as_str(), 0, 300);
            let is_hidden = is_late || shard.parents.iter().any(|parent| hidden.contains(parent));
            if is_hidden {
                hidden.insert(shard.id.clone());
            }
            !is_hidden
        });
        Ok(shards)
    }
    async fn open(
        &self,
        shard: &ShardId,
        from: ReadFrom,
    ) -> Result<Box<dyn ShardReader>, SourceError> {
        self.gate.pass().await;
        let call = self.calls.next("open", shard.as_str());
        if self.strike(Kind::SourceThrottled, call, 50).is_some() {
            return Err(SourceError::Throttled { retry_after: Duration::from_millis(100) });
        }
        let mut inner = self.inner.open(shard, from).await?;
        if let Some(id) = self.faults.drawn(Kind::Trim, &self.actor, call, 20)
            && self.trim(shard, &mut *inner, 1 + id % TRIMMED).await?
        {
            self.faults.note(Kind::Trim, &self.actor, id);
        }
        Ok(Box::new(FaultyReader {
            inner,
            shard: shard.clone(),
            source: self.clone(),
            answer: None,
        }))
    }
}

impl FaultySource {
    /// Retention has passed this reader's place: what stood there is gone. False if nothing did.
    async fn trim(
        &self,
        shard: &ShardId,
        reader: &mut dyn ShardReader,
        records: u64,
    ) -> Result<bool, SourceError> {
        let limit = ReadLimit { records: usize::try_from(records).unwrap_or(1), bytes: usize::MAX };
        let ReadOutcome::Records { records, .. } = reader.next(limit).await? else {
            return Ok(false);
        };
        let positions: Vec<_> = records.iter().map(|record| record.position).collect();
        let is_done = !positions.is_empty();
        self.recorder.trimmed(shard, positions);
        Ok(is_done)
    }
}

struct FaultyReader {
    inner: Box<dyn ShardReader>,
    shard: ShardId,
    source: FaultySource,
    /// What has come while the worker stands still, with the connections it came on.
    answer: Option<(u64, Result<ReadOutcome, SourceError>)>,
}

impl FaultyReader {
    /// What a read comes to, and on which connections.
    async fn ask(&mut self, limit: ReadLimit) -> (u64, Result<ReadOutcome, SourceError>) {
        let source = &self.source;
        source.gate.pass().await;
        let connections = source.gate.connections();
        let call = source.calls.next("read", self.shard.as_str());
        if source.strike(Kind::SourceThrottled, call, 10).is_some() {
            let retry_after = Duration::from_millis(200);
            return (connections, Err(SourceError::Throttled { retry_after }));
        }
        if source.strike(Kind::ReaderExpired, call, 5).is_some() {
            return (connections, Err(SourceError::Expired));
        }
        if source.strike(Kind::EmptyPage, call, 20).is_some() {
            return (connections, Ok(ReadOutcome::CaughtUp));
        }
        if let Some(id) = source.strike(Kind::SlowRead, call, 20) {
            source.clock.sleep(Draws::duration(id, Duration::from_secs(1))).await;
        }
        (connections, self.inner.next(limit).await)
    }
}

#[async_trait]
impl ShardReader for FaultyReader {
    async fn next(&mut self, limit: ReadLimit) -> Result<ReadOutcome, SourceError> {
        if self.answer.is_none() {
            self.answer = Some(self.ask(limit).await);
        }
        self.source.gate.pass().await;
        match self.answer.take() {
            Some((connections, answer)) if connections == self.source.gate.connections() => answer,
            _ => Err(SourceError::Expired),
        }
    }
    fn held(&self) -> ReadLimit {
        self.inner.held()
    }
}

#[cfg(test)]
mod tests;
