//! Consumers: registered, described, listed, removed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::shards::{page, token};
use super::streams::page_of;
use crate::dispatch::Body;
use crate::error::ApiError;
use crate::limits::{CONSUMER_LISTINGS_A_SECOND, CONSUMERS_DESCRIBED_A_SECOND, CONSUMERS_PER_PAGE};
use crate::names::{self, consumer_of, stream_of};
use crate::state::{Attached, Consumer, State};
use crate::wire::Time;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Register {
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    consumer_name: Option<String>,
    tags: Option<BTreeMap<String, String>>,
}

/// A consumer on the wire.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct WireConsumer {
    consumer_name: String,
    #[serde(rename = "ConsumerARN")]
    consumer_arn: String,
    consumer_status: &'static str,
    consumer_creation_timestamp: Time,
}

impl WireConsumer {
    fn of(consumer: &Consumer, now_millis: u64) -> Self {
        Self {
            consumer_name: consumer.name.clone(),
            consumer_arn: consumer.arn(),
            consumer_status: consumer.status(now_millis),
            // Whole seconds, as in its ARN.
            consumer_creation_timestamp: Time(consumer.created_at_millis / 1000 * 1000),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Registered {
    consumer: WireConsumer,
}

pub(crate) fn register(state: &State, request: Register) -> Result<Body<Registered>, ApiError> {
    let arn = request.stream_arn.ok_or_else(|| ApiError::missing("streamARN"))?;
    let stream = stream_of(None, Some(&arn))?;
    let name = request.consumer_name.ok_or_else(|| ApiError::missing("consumerName"))?;
    let asked = consumer_of(Some(&arn), Some(&name), None)?;
    state.readable(&stream)?;
    let mut attached = Attached::default();
    attached.tag(request.tags.unwrap_or_default())?;
    let consumer = state.register_consumer(&asked.stream, &asked.name, attached)?;
    let consumer = WireConsumer::of(&consumer, consumer.created_at_millis);
    // Also where it takes no time, as the service answers.
    let consumer = WireConsumer { consumer_status: "CREATING", ..consumer };
    Ok(Body(Registered { consumer }))
}

/// A request that names a consumer.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ConsumerOnly {
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    consumer_name: Option<String>,
    #[serde(rename = "ConsumerARN")]
    consumer_arn: Option<String>,
}

impl ConsumerOnly {
    fn consumer(&self) -> Result<names::ConsumerRef, ApiError> {
        let (stream, name) = (self.stream_arn.as_deref(), self.consumer_name.as_deref());
        consumer_of(stream, name, self.consumer_arn.as_deref())
    }
}

pub(crate) fn deregister(state: &State, request: ConsumerOnly) -> Result<(), ApiError> {
    state.deregister_consumer(&request.consumer()?)
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Described {
    consumer_description: Description,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Description {
    #[serde(flatten)]
    consumer: WireConsumer,
    #[serde(rename = "StreamARN")]
    stream_arn: String,
}

pub(crate) fn describe(state: &State, request: ConsumerOnly) -> Result<Body<Described>, ApiError> {
    let consumer = state.consumer(&request.consumer()?)?;
    let of = &consumer.stream;
    state.take_stream_rate("DescribeStreamConsumer", of, CONSUMERS_DESCRIBED_A_SECOND)?;
    Ok(Body(Described {
        consumer_description: Description {
            consumer: WireConsumer::of(&consumer, state.clock.wall_millis()),
            stream_arn: names::arn(&consumer.stream),
        },
    }))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct List {
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    next_token: Option<String>,
    max_results: Option<i64>,
    stream_creation_timestamp: Option<Time>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Listed {
    consumers: Vec<WireConsumer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

pub(crate) fn list(state: &State, request: List) -> Result<Body<Listed>, ApiError> {
    let limit = page_of("maxResults", request.max_results, CONSUMERS_PER_PAGE)?;
    if request.next_token.is_some() && request.stream_creation_timestamp.is_some() {
        return Err(ApiError::invalid_argument(
            "NextToken cannot be provided together with StreamCreationTimestamp.",
        ));
    }
    let arn = request.stream_arn.ok_or_else(|| ApiError::missing("streamARN"))?;
    let stream = stream_of(None, Some(&arn))?;
    let created = state.stream(&stream)?.describe()?.created_at_millis;
    state.take_stream_rate("ListStreamConsumers", &stream, CONSUMER_LISTINGS_A_SECOND)?;
    if request.stream_creation_timestamp.is_some_and(|Time(at)| at / 1000 != created / 1000) {
        return Err(ApiError::not_found(format!("Stream {stream} was not created at that time.")));
    }
    let of = format!("consumers of {stream}");
    let after = match &request.next_token {
        Some(token) => page(state, token, (&of, created))?.after,
        None => String::new(),
    };
    let mut consumers = state.consumers_of(&stream);
    consumers.retain(|consumer| consumer.name > after);
    let has_more = consumers.len() > limit;
    consumers.truncate(limit);
    let last = consumers.last().filter(|_| has_more);
    let next_token = last.map(|last| token(state, (&of, created), &last.name, None));
    let now = state.clock.wall_millis();
    let consumers = consumers.iter().map(|consumer| WireConsumer::of(consumer, now)).collect();
    Ok(Body(Listed { consumers, next_token }))
}
