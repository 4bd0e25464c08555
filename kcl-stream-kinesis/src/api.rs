//! What the readers ask of the service, apart from how it is asked. The AWS client is one
//! implementation; a simulation has another, since the client does not run on its clock.

use std::time::Duration;

use kcl_core::{ChildShard, ReadFrom, Record, Shard, SourceError, StreamDescription, async_trait};
use kcl_protocol::{SequenceNumber, ShardId};

/// One stream of the service. Each call is one attempt; none is repeated here.
#[async_trait]
pub trait KinesisApi: Send + Sync + 'static {
    /// What the stream says of itself.
    ///
    /// # Errors
    /// [`SourceError::NotFound`] if there is no such stream.
    async fn describe(&self) -> Result<StreamDescription, SourceError>;

    /// Every shard within the stream's retention, in the order of ids.
    ///
    /// # Errors
    /// [`SourceError::NotFound`] if there is no such stream.
    async fn list_shards(&self) -> Result<Vec<Shard>, SourceError>;

    /// A place in a shard, for [`KinesisApi::get_records`]; `None` if the shard is closed and has
    /// nothing from there on.
    ///
    /// # Errors
    /// [`SourceError::NotFound`] for an unknown shard.
    async fn iterator(
        &self,
        shard: &ShardId,
        from: ReadFrom,
    ) -> Result<Option<String>, SourceError>;

    /// At most so many records from a place on.
    ///
    /// # Errors
    /// [`SourceError::Expired`] for a place that is too old; [`SourceError::Throttled`] above the
    /// shard's rate; [`ReadError::PlaceRefused`].
    async fn get_records(
        &self,
        shard: &ShardId,
        iterator: &str,
        records: usize,
    ) -> Result<Page, ReadError>;

    /// Subscribes the source's consumer to a shard.
    ///
    /// # Errors
    /// [`SubscriptionError::InUse`] while another subscription of the consumer is too young to be
    /// taken over; [`SourceError::NotFound`] for an unknown shard.
    async fn subscribe(
        &self,
        shard: &ShardId,
        from: ReadFrom,
    ) -> Result<Box<dyn Subscription>, SubscriptionError>;
}

/// Events of one shard, as they come.
#[async_trait]
pub trait Subscription: Send {
    /// The next event; `None` once the service has ended the subscription.
    ///
    /// # Errors
    /// Ends the subscription. [`SubscriptionError::InUse`]: another one took over.
    async fn next(&mut self) -> Result<Option<Event>, SubscriptionError>;

    /// Called before it is given up for its silence: the connection by which it comes is to be used
    /// for nothing new.
    fn taken_for_dead(&self) {}
}

/// Why a read brought nothing.
#[derive(Debug)]
pub enum ReadError {
    /// The service takes the place for a bad argument, which may be the place's fault: a new one
    /// may serve. With the reason.
    PlaceRefused(String),
    /// As for any request.
    Other(SourceError),
}

impl From<SourceError> for ReadError {
    fn from(error: SourceError) -> Self {
        Self::Other(error)
    }
}

/// Why there is no subscription, or no more of it.
#[derive(Debug)]
pub enum SubscriptionError {
    /// The consumer has another subscription to the shard.
    InUse {
        /// A hint of how long to wait at first; a shard that stays in use is waited for longer.
        retry_after: Duration,
    },
    /// As for any request.
    Other(SourceError),
}

impl From<SourceError> for SubscriptionError {
    fn from(error: SourceError) -> Self {
        Self::Other(error)
    }
}

/// What one read brought.
#[derive(Debug)]
pub struct Page {
    /// The records, in order; none at the tip.
    pub records: Vec<Record>,
    /// How far the last record is behind the tip (milliseconds); 0 at the tip.
    pub behind_millis: u64,
    /// Where to go on; `None` once the shard was read to its end.
    pub next: Option<String>,
    /// The shards that follow, at the end. A service may leave them out.
    pub children: Vec<ChildShard>,
}

/// What a subscription told.
#[derive(Debug)]
pub struct Event {
    /// The records, in order; none if the shard is quiet.
    pub records: Vec<Record>,
    /// How far the last record is behind the tip (milliseconds); 0 at the tip.
    pub behind_millis: u64,
    /// Everything up to here was told; `None` at the end of the shard.
    pub passed: Option<SequenceNumber>,
    /// The shards that follow, at the end.
    pub children: Vec<ChildShard>,
}
