//! The service through its AWS client.

mod connection;
mod consumer;
mod decode;
mod errors;
mod events;
mod listing;
mod service_time;

use std::sync::{Arc, OnceLock};

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::DateTime;
use aws_sdk_kinesis::types::{ShardIteratorType, StartingPosition, StreamDescriptionSummary};
use kcl_core::{Clock, ReadFrom, Shard, SourceError, StreamDescription, async_trait};
use kcl_protocol::{ShardId, StreamName};

use crate::api::{KinesisApi, Page, ReadError, Subscription, SubscriptionError};
use crate::limits::REQUEST_TIMEOUT;
use crate::stream_ref::{StreamRef, account_of};
use connection::Carrier;
pub(crate) use connection::LeaveSilent;
pub(crate) use consumer::Consumer;
use errors::{classify, classify_read, classify_subscribe};
use events::Events;
use service_time::ServiceTime;

pub(crate) struct SdkApi {
    /// Without retries of its own.
    pub client: Client,
    pub stream: StreamRef,
    pub clock: Arc<dyn Clock>,
    /// With fan-out.
    pub consumer: Option<Consumer>,
    /// When the stream was created, as it was first described: one created again under its name is
    /// another stream.
    pub created: OnceLock<DateTime>,
}

impl SdkApi {
    fn named(&self) -> String {
        format!("stream {}", self.stream)
    }
    fn shard_named(&self, shard: &ShardId) -> String {
        format!("shard {shard} of stream {}", self.stream)
    }

    async fn summary(&self, time: &ServiceTime) -> Result<StreamDescriptionSummary, SourceError> {
        let request = self
            .client
            .describe_stream_summary()
            .set_stream_name(self.stream.name())
            .set_stream_arn(self.stream.arn())
            .set_stream_id(self.stream.id());
        let answer = request.customize().interceptor(time.clone()).send().await;
        let answer = answer.map_err(|error| classify(&error, &self.named()))?;
        let missing = || SourceError::Refused(format!("{} has no description", self.named()));
        answer.stream_description_summary.ok_or_else(missing)
    }

    /// An error that repeating does not mend, with its reason if that is a stream created again.
    async fn explained(&self, error: SourceError) -> SourceError {
        let is_final = matches!(error, SourceError::NotFound(_) | SourceError::Refused(_));
        match is_final {
            true => self.recreated().await.map_or(error, SourceError::from),
            false => error,
        }
    }

    /// That the stream is not the one that was described first, if that can be told.
    async fn recreated(&self) -> Option<Recreated> {
        self.created.get()?;
        let found = self.summary(&ServiceTime::default()).await.ok()?;
        self.same(&found).err()
    }

    /// # Errors
    /// If the stream is not the one that was described first.
    fn same(&self, found: &StreamDescriptionSummary) -> Result<(), Recreated> {
        let found = found.stream_creation_timestamp;
        let bound = *self.created.get_or_init(|| found);
        if bound == found {
            return Ok(());
        }
        Err(Recreated(format!(
            "{} was deleted and created again: it was bound when it was the one of {bound}, and \
             this is the one of {found}; read it with a new lease table",
            self.named()
        )))
    }

    /// # Errors
    /// `Refused` if the stream is not the one that was described first; those of a listing.
    async fn check_created(&self) -> Result<(), SourceError> {
        let Some(created) = self.created.get() else { return Ok(()) };
        match listing::check_created(&self.client, &self.stream, created).await {
            Err(error) => self.found_all_the_same(error).await,
            same => same,
        }
    }

    /// After a request by the creation time: nowhere does the service promise to compare it to the
    /// digit that it describes, so a description decides whether it is the same stream.
    ///
    /// # Errors
    /// If it is not, or if that cannot be told.
    async fn found_all_the_same(&self, error: SourceError) -> Result<(), SourceError> {
        if !matches!(error, SourceError::NotFound(_)) {
            return Err(self.explained(error).await);
        }
        match self.summary(&ServiceTime::default()).await {
            Ok(found) => Ok(self.same(&found)?),
            Err(describing) if describing.is_transient() => Err(describing),
            Err(_) => Err(error),
        }
    }

    /// The ARN of the source's consumer, registered if it has to be.
    async fn consumer_arn(&self) -> Result<String, SourceError> {
        let none = || SourceError::Refused("the source was built without a consumer".to_owned());
        let consumer = self.consumer.as_ref().ok_or_else(none)?;
        let stream_arn = async || {
            let summary = self.summary(&ServiceTime::default()).await?;
            self.same(&summary)?;
            Ok(summary.stream_arn)
        };
        consumer.arn(&self.client, &*self.clock, stream_arn).await
    }
}

/// Why a stream is not the one that was described first.
struct Recreated(String);

impl From<Recreated> for SourceError {
    fn from(Recreated(why): Recreated) -> Self {
        Self::Refused(why)
    }
}

/// A place as the service writes it: its kind, a sequence number, a time.
fn place(from: ReadFrom) -> (ShardIteratorType, Option<String>, Option<DateTime>) {
    match from {
        ReadFrom::TrimHorizon => (ShardIteratorType::TrimHorizon, None, None),
        ReadFrom::Latest => (ShardIteratorType::Latest, None, None),
        ReadFrom::At(sequence) => {
            (ShardIteratorType::AtSequenceNumber, Some(sequence.to_string()), None)
        }
        ReadFrom::After(position) => {
            (ShardIteratorType::AfterSequenceNumber, Some(position.sequence.to_string()), None)
        }
        ReadFrom::AtTimestamp(millis) => {
            let millis = i64::try_from(millis).unwrap_or(i64::MAX);
            (ShardIteratorType::AtTimestamp, None, Some(DateTime::from_millis(millis)))
        }
    }
}

#[async_trait]
impl KinesisApi for SdkApi {
    async fn describe(&self) -> Result<StreamDescription, SourceError> {
        let time = ServiceTime::default();
        let summary = self.summary(&time).await?;
        if self.consumer.is_some() {
            // What is wrong with the consumer is known before the first shard is opened.
            self.consumer_arn().await?;
        }
        // The caller judges a stream created again by what it bound itself.
        let created = &summary.stream_creation_timestamp;
        self.created.get_or_init(|| *created);
        let created_at_millis = created.to_millis().ok().and_then(|at| u64::try_from(at).ok());
        let missing = || SourceError::Refused(format!("{} has no creation time", self.named()));
        // The ARN is the same whichever way the stream was named, so its row is the same too.
        let arn = summary.stream_arn;
        let account = account_of(&arn).ok_or_else(|| {
            SourceError::Refused(format!("the service sent {arn:?} as ARN of {}", self.named()))
        })?;
        Ok(StreamDescription {
            lease_prefix: format!("{account}:{}:{}", summary.stream_name, created.secs()),
            name: StreamName::new(&arn),
            created_at_millis: created_at_millis.ok_or_else(missing)?,
            service_time_millis: time.millis().unwrap_or_else(|| self.clock.wall_millis()),
        })
    }

    async fn list_shards(&self) -> Result<Vec<Shard>, SourceError> {
        let created = self.created.get();
        match listing::list(&self.client, &self.stream, created).await {
            Err(error) if created.is_some() => {
                self.found_all_the_same(error).await?;
                // A shard sync describes it once more afterwards.
                listing::list(&self.client, &self.stream, None).await
            }
            listed => listed,
        }
    }

    async fn iterator(
        &self,
        shard: &ShardId,
        from: ReadFrom,
    ) -> Result<Option<String>, SourceError> {
        let (kind, sequence, time) = place(from);
        let request = self
            .client
            .get_shard_iterator()
            .set_stream_name(self.stream.name())
            .set_stream_arn(self.stream.arn())
            .set_stream_id(self.stream.id())
            .shard_id(shard.as_str())
            .shard_iterator_type(kind)
            .set_starting_sequence_number(sequence)
            .set_timestamp(time);
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => {
                return Err(self.explained(classify(&error, &self.shard_named(shard))).await);
            }
        };
        // A name stands for the stream that has it now, which this iterator is of.
        self.check_created().await?;
        Ok(answer.shard_iterator)
    }

    async fn get_records(
        &self,
        shard: &ShardId,
        iterator: &str,
        records: usize,
    ) -> Result<Page, ReadError> {
        let request = self
            .client
            .get_records()
            .shard_iterator(iterator)
            .set_stream_arn(self.stream.arn())
            .set_stream_id(self.stream.id())
            .limit(i32::try_from(records).unwrap_or(i32::MAX));
        let error = match request.send().await {
            Ok(answer) => return Ok(decode::page(answer)?),
            Err(error) => classify_read(&error, &self.shard_named(shard)),
        };
        Err(match error {
            ReadError::Other(error) => self.explained(error).await.into(),
            refused @ ReadError::PlaceRefused(_) => match self.recreated().await {
                Some(recreated) => SourceError::from(recreated).into(),
                None => refused,
            },
        })
    }

    async fn subscribe(
        &self,
        shard: &ShardId,
        from: ReadFrom,
    ) -> Result<Box<dyn Subscription>, SubscriptionError> {
        let consumer = self.consumer_arn().await?;
        let (kind, sequence, time) = place(from);
        let place = StartingPosition::builder()
            .r#type(kind)
            .set_sequence_number(sequence)
            .set_timestamp(time)
            .build()
            .map_err(|error| SourceError::Refused(error.to_string()))?;
        let request = self
            .client
            .subscribe_to_shard()
            .consumer_arn(&consumer)
            .shard_id(shard.as_str())
            .starting_position(place);
        let what = self.shard_named(shard);
        let carrier = Carrier::default();
        let answer = request.customize().interceptor(carrier.clone()).send();
        let answer = tokio::select! { biased;
            answer = answer => answer,
            // The client's own timeout ends with the headers: the first frame, which it waits for
            // too, may never come.
            () = self.clock.sleep(REQUEST_TIMEOUT) => {
                carrier.leave();
                let why = format!("no answer to a subscription to {what} for {REQUEST_TIMEOUT:?}");
                return Err(SourceError::Unavailable(why).into());
            }
        };
        let error = match answer {
            Ok(answer) => return Ok(Box::new(Events { answer, what, carrier })),
            Err(error) => match classify_subscribe(&error, &what) {
                SubscriptionError::Other(error) => error,
                in_use @ SubscriptionError::InUse { .. } => return Err(in_use),
            },
        };
        Err(match (self.explained(error).await, &self.consumer) {
            // The service says the same of shard and consumer.
            (SourceError::NotFound(what), Some(known)) => {
                known.missing(&self.client, &consumer, what).await.into()
            }
            (error, _) => error.into(),
        })
    }
}
