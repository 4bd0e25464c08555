//! The engine as a source of records for the framework.

use std::collections::BTreeSet;

use async_trait::async_trait;
use kcl_core::protocol::ShardId;
use kcl_core::{
    ReadFrom, ReadLimit, ReadOutcome, Shard, ShardReader, SourceError, StreamDescription,
    StreamSource,
};

use crate::shard_info::{ShardFilter, ShardInfo};
use crate::stream::Stream;
use crate::subscribe::{Pushed, Subscription};

/// What stands for the account in lease keys.
const ACCOUNT: &str = "000000000000";

/// A stream of the engine as a [`StreamSource`]. Its readers are pushed to: a waiting one wakes
/// when a record arrives. Any number of them may be open on one shard.
#[derive(Clone, Debug)]
pub struct LocalSource {
    stream: Stream,
}

impl Stream {
    /// The stream as a source for the framework.
    pub fn source(&self) -> LocalSource {
        LocalSource { stream: self.clone() }
    }
}

#[async_trait]
impl StreamSource for LocalSource {
    async fn describe(&self) -> Result<StreamDescription, SourceError> {
        let summary = self.stream.describe()?;
        let created_at_millis = summary.created_at_millis;
        Ok(StreamDescription {
            lease_prefix: format!("{ACCOUNT}:{}:{created_at_millis}", summary.name),
            name: summary.name,
            created_at_millis,
            service_time_millis: self.stream.now().wall_millis,
        })
    }

    async fn list_shards(&self) -> Result<Vec<Shard>, SourceError> {
        let infos = self.stream.list_shards(&ShardFilter::FromTrimHorizon)?;
        Ok(infos.into_iter().map(listed).collect())
    }

    async fn open(
        &self,
        shard: &ShardId,
        from: ReadFrom,
    ) -> Result<Box<dyn ShardReader>, SourceError> {
        let subscription = self.stream.subscribe(shard, from)?;
        Ok(Box::new(LocalReader { subscription, has_told_tip: false }))
    }
}

fn listed(info: ShardInfo) -> Shard {
    Shard {
        id: info.number.id(),
        is_open: info.is_open(),
        parents: info.parents.into_iter().collect::<BTreeSet<_>>(),
        range: info.range,
        tip: Some(info.tip),
    }
}

struct LocalReader {
    subscription: Subscription,
    /// True once `CaughtUp` was answered, until records come.
    has_told_tip: bool,
}

#[async_trait]
impl ShardReader for LocalReader {
    async fn next(&mut self, limit: ReadLimit) -> Result<ReadOutcome, SourceError> {
        loop {
            match self.subscription.next_or_tip(limit).await? {
                Some(Pushed::Records { records, behind_millis, .. }) => {
                    self.has_told_tip = false;
                    return Ok(ReadOutcome::Records { records, behind_millis });
                }
                Some(Pushed::ShardEnd { children }) => {
                    return Ok(ReadOutcome::ShardEnd { children });
                }
                None if !self.has_told_tip => {
                    self.has_told_tip = true;
                    return Ok(ReadOutcome::CaughtUp);
                }
                None => self.subscription.wait().await?,
            }
        }
    }
}
