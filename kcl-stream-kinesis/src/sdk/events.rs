//! Events of a subscription, from the client's event stream.

use aws_sdk_kinesis::operation::subscribe_to_shard::SubscribeToShardOutput;
use aws_sdk_kinesis::types::SubscribeToShardEventStream;
use kcl_core::async_trait;

use super::connection::Carrier;
use super::decode;
use super::errors::classify_event;
use crate::api::{Event, Subscription, SubscriptionError};

pub(super) struct Events {
    pub answer: SubscribeToShardOutput,
    /// Shard and stream, for errors.
    pub what: String,
    pub carrier: Carrier,
}

#[async_trait]
impl Subscription for Events {
    async fn next(&mut self) -> Result<Option<Event>, SubscriptionError> {
        loop {
            match self.answer.event_stream.recv().await {
                Ok(Some(SubscribeToShardEventStream::SubscribeToShardEvent(event))) => {
                    return Ok(Some(decode::event(event)?));
                }
                // A kind of event that this version does not know tells nothing of the shard.
                Ok(Some(_)) => {}
                Ok(None) => return Ok(None),
                Err(error) => return Err(classify_event(&error, &self.what)),
            }
        }
    }

    fn taken_for_dead(&self) {
        self.carrier.leave();
    }
}
