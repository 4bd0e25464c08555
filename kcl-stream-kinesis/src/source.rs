//! A stream of the service.

use std::fmt;
use std::sync::Arc;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::DateTime;
use aws_sdk_kinesis::types::ShardIteratorType;
use kcl_core::{
    Clock, ReadFrom, Shard, ShardReader, SourceError, StreamDescription, StreamSource, async_trait,
};
use kcl_protocol::{ShardId, StreamName};

use crate::errors::classify;
use crate::listing;
use crate::options::Builder;
use crate::pace::Intervals;
use crate::polling::PollingReader;
use crate::service_time::ServiceTime;
use crate::stream_ref::{StreamRef, account_of};

/// A Kinesis stream, read by polling.
///
/// Each open reader sends at most one request at a time. How often: see [`Builder::idle`] and
/// [`Builder::read_interval`].
#[derive(Clone)]
pub struct KinesisSource {
    pub(crate) client: Client,
    pub(crate) stream: StreamRef,
    pub(crate) intervals: Intervals,
    pub(crate) records: usize,
    pub(crate) clock: Arc<dyn Clock>,
}

impl KinesisSource {
    /// Starts a source of this stream, by name or ARN.
    pub fn builder(client: Client, stream: impl Into<String>) -> Builder {
        Builder::new(client, stream.into())
    }

    fn named(&self) -> String {
        format!("stream {}", self.stream.as_str())
    }
}

impl fmt::Debug for KinesisSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KinesisSource({})", self.stream.as_str())
    }
}

#[async_trait]
impl StreamSource for KinesisSource {
    async fn describe(&self) -> Result<StreamDescription, SourceError> {
        let time = ServiceTime::default();
        let request = self
            .client
            .describe_stream_summary()
            .set_stream_name(self.stream.name())
            .set_stream_arn(self.stream.arn());
        let answer = request.customize().interceptor(time.clone()).send().await;
        let answer = answer.map_err(|error| classify(&error, &self.named()))?;
        let missing = || SourceError::Refused(format!("{} has no description", self.named()));
        let summary = answer.stream_description_summary.ok_or_else(missing)?;
        let created = &summary.stream_creation_timestamp;
        let created_at_millis = created.to_millis().ok().and_then(|at| u64::try_from(at).ok());
        let account = account_of(&summary.stream_arn).unwrap_or("unknown");
        Ok(StreamDescription {
            lease_prefix: format!("{account}:{}:{}", summary.stream_name, created.secs()),
            name: StreamName::new(self.stream.as_str()),
            created_at_millis: created_at_millis.ok_or_else(missing)?,
            service_time_millis: time.millis().unwrap_or_else(|| self.clock.wall_millis()),
        })
    }

    async fn list_shards(&self) -> Result<Vec<Shard>, SourceError> {
        listing::list(&self.client, &self.stream).await
    }

    async fn open(
        &self,
        shard: &ShardId,
        from: ReadFrom,
    ) -> Result<Box<dyn ShardReader>, SourceError> {
        let request = self
            .client
            .get_shard_iterator()
            .set_stream_name(self.stream.name())
            .set_stream_arn(self.stream.arn())
            .shard_id(shard.as_str());
        let request = match from {
            ReadFrom::TrimHorizon => request.shard_iterator_type(ShardIteratorType::TrimHorizon),
            ReadFrom::Latest => request.shard_iterator_type(ShardIteratorType::Latest),
            ReadFrom::At(sequence) => request
                .shard_iterator_type(ShardIteratorType::AtSequenceNumber)
                .starting_sequence_number(sequence.to_string()),
            ReadFrom::After(position) => request
                .shard_iterator_type(ShardIteratorType::AfterSequenceNumber)
                .starting_sequence_number(position.sequence.to_string()),
            ReadFrom::AtTimestamp(millis) => {
                let millis = i64::try_from(millis).unwrap_or(i64::MAX);
                request
                    .shard_iterator_type(ShardIteratorType::AtTimestamp)
                    .timestamp(DateTime::from_millis(millis))
            }
        };
        let what = format!("shard {shard} of {}", self.named());
        let answer = request.send().await.map_err(|error| classify(&error, &what))?;
        let iterator = answer.shard_iterator.ok_or_else(|| {
            SourceError::Refused(format!("the service gave no iterator for {what}"))
        })?;
        Ok(Box::new(PollingReader::new(self.clone(), shard.clone(), what, iterator)))
    }
}
