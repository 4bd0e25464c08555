//! A stream of the service.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_sdk_kinesis::Client;
use kcl_core::{
    ChildShard, Clock, ReadFrom, Shard, ShardReader, SourceError, StreamDescription, StreamSource,
    async_trait,
};
use kcl_protocol::retry::spread;
use kcl_protocol::{ShardId, hash};

use crate::api::KinesisApi;
use crate::counters::{Counting, SourceCounters};
use crate::fan_out::{Contests, FanOutReader, Recent, Troubles};
use crate::options::{Builder, Way};
use crate::pace::Intervals;
use crate::polling::PollingReader;
use crate::stream_ref::StreamRef;

/// A Kinesis stream, read by polling or by enhanced fan-out.
///
/// **Polling** ([`Builder::idle`], [`Builder::read_interval`]): an open reader sends at most one
/// request at a time. Readers of other applications share the shard's rates; a refused read makes
/// this one slower until it is refused no more.
///
/// **Fan-out** ([`Builder::fan_out`]): an open reader has one subscription, replaced before the
/// service ends it. A shard and consumer have one subscription at a time: a second reader takes
/// it from the first, which gets [`SourceError::Throttled`] and takes it back when it is asked
/// again. Within 5 s of the last subscription the service refuses another: a reader of this source
/// that is opened within them waits, and so does a shard that moves twice within so short a time.
#[derive(Clone)]
pub struct KinesisSource {
    pub(crate) api: Arc<dyn KinesisApi>,
    pub(crate) name: Arc<str>,
    pub(crate) way: Way,
    pub(crate) intervals: Intervals,
    pub(crate) records: usize,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) counting: Counting,
    pub(crate) rolls: Rolls,
    pub(crate) troubles: Troubles,
    pub(crate) recent: Recent,
    pub(crate) contests: Contests,
}

impl KinesisSource {
    /// Starts a source of this stream, by name or ARN, or by [`StreamRef::Id`].
    pub fn builder(client: Client, stream: impl Into<StreamRef>) -> Builder {
        Builder::new(client, stream.into())
    }

    /// Starts a source of a stream that is reached in another way than by the AWS client: for
    /// simulations.
    pub fn builder_over(api: Arc<dyn KinesisApi>) -> Builder {
        Builder::over(api)
    }

    /// What the source and all its readers have done so far.
    pub fn counters(&self) -> SourceCounters {
        self.counting.so_far()
    }

    /// The answer, counted if it is a refusal for the rate. What was refused together is spread
    /// over as long again, or it would be refused together for ever.
    pub(crate) fn counted<T>(&self, answer: Result<T, SourceError>) -> Result<T, SourceError> {
        answer.map_err(|error| match error {
            SourceError::Throttled { retry_after } => {
                self.counting.throttled();
                let retry_after = spread(retry_after * 2, self.rolls.next());
                SourceError::Throttled { retry_after }
            }
            other => other,
        })
    }

    /// The shards that follow one, from a listing: for a service that names none when it ends.
    pub(crate) async fn children_of(
        &self,
        parent: &ShardId,
    ) -> Result<Vec<ChildShard>, SourceError> {
        let shards = self.counted(self.api.list_shards().await)?;
        let is_listed = shards.iter().any(|shard| shard.id == *parent);
        let children = shards.into_iter().filter(|shard| shard.parents.contains(parent));
        let children: Vec<_> = children
            .map(|shard| ChildShard { id: shard.id, parents: shard.parents, range: shard.range })
            .collect();
        // A split makes two, a merge one of two parents. Short of that, the listing does not show
        // yet all that follows; one that is past the shard itself shows what is left of it.
        let are_all = match &children[..] {
            [] => false,
            [only] => only.parents.len() == 2 || !is_listed,
            _ => true,
        };
        if !are_all {
            let why = format!("shard {parent} is closed, its children are not listed yet");
            return Err(SourceError::Unavailable(why));
        }
        Ok(children)
    }
}

impl fmt::Debug for KinesisSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KinesisSource({})", self.name)
    }
}

#[async_trait]
impl StreamSource for KinesisSource {
    async fn describe(&self) -> Result<StreamDescription, SourceError> {
        self.counted(self.api.describe().await)
    }

    async fn list_shards(&self) -> Result<Vec<Shard>, SourceError> {
        let shards = self.counted(self.api.list_shards().await)?;
        self.troubles.keep(&shards);
        Ok(shards)
    }

    async fn open(
        &self,
        shard: &ShardId,
        from: ReadFrom,
    ) -> Result<Box<dyn ShardReader>, SourceError> {
        let (source, shard) = (self.clone(), shard.clone());
        Ok(match self.way {
            Way::Polling => Box::new(PollingReader::open(source, shard, from).await?),
            Way::FanOut => Box::new(FanOutReader::open(source, shard, from).await?),
        })
    }
}

/// Numbers for jitter: another sequence in each source unless seeded.
#[derive(Clone, Debug)]
pub(crate) struct Rolls {
    seed: u64,
    drawn: Arc<AtomicU64>,
}

impl Rolls {
    pub fn seeded(seed: u64) -> Self {
        Self { seed, drawn: Arc::default() }
    }
    pub fn next(&self) -> u64 {
        hash::mix(self.seed ^ hash::mix(self.drawn.fetch_add(1, Ordering::Relaxed)))
    }
}
