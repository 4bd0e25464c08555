//! A stream as one worker sees it on a bad day.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use kcl_core::protocol::ShardId;
use kcl_core::{
    Clock, ReadFrom, ReadLimit, ReadOutcome, Shard, ShardReader, SourceError, StreamDescription,
    StreamSource,
};

use super::draw::Draws;
use super::faults::{Faults, Kind};
use super::gate::Gate;

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
    pub ordinal: Arc<AtomicU64>,
}

impl FaultySource {
    fn strike(&self, kind: Kind, permille: u64) -> Option<u64> {
        let ordinal = self.ordinal.fetch_add(1, Ordering::Relaxed);
        self.faults.strike(kind, &self.actor, ordinal, permille)
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
        if self.strike(Kind::SourceThrottled, 50).is_some() {
            return Err(SourceError::Throttled { retry_after: Duration::from_millis(100) });
        }
        let mut shards = self.inner.list_shards().await?;
        if self.strike(Kind::StaleListing, 100).is_some() {
            // The newest shard is not in the listing yet.
            shards.pop();
        }
        Ok(shards)
    }
    async fn open(
        &self,
        shard: &ShardId,
        from: ReadFrom,
    ) -> Result<Box<dyn ShardReader>, SourceError> {
        self.gate.pass().await;
        if self.strike(Kind::SourceThrottled, 50).is_some() {
            return Err(SourceError::Throttled { retry_after: Duration::from_millis(100) });
        }
        let inner = self.inner.open(shard, from).await?;
        Ok(Box::new(FaultyReader { inner, source: self.clone() }))
    }
}

struct FaultyReader {
    inner: Box<dyn ShardReader>,
    source: FaultySource,
}

#[async_trait]
impl ShardReader for FaultyReader {
    async fn next(&mut self, limit: ReadLimit) -> Result<ReadOutcome, SourceError> {
        let source = &self.source;
        source.gate.pass().await;
        if source.strike(Kind::SourceThrottled, 10).is_some() {
            return Err(SourceError::Throttled { retry_after: Duration::from_millis(200) });
        }
        if source.strike(Kind::ReaderExpired, 5).is_some() {
            return Err(SourceError::Expired);
        }
        if source.strike(Kind::EmptyPage, 20).is_some() {
            return Ok(ReadOutcome::CaughtUp);
        }
        if let Some(id) = source.strike(Kind::SlowRead, 20) {
            source.clock.sleep(Draws::duration(id, Duration::from_secs(1))).await;
        }
        self.inner.next(limit).await
    }
}
