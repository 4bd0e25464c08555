//! Which stream a request means: by name or by ARN.

use crate::error::ApiError;
use crate::limits::{ACCOUNT, REGION};
use crate::model::{Form, Shape};
use crate::state::Resource;
use crate::validate::{Tree, refusal};

/// The ARN of a stream.
pub(crate) fn arn(stream: &str) -> String {
    format!("arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/{stream}")
}

/// The name a request means.
pub(crate) fn stream_of(name: Option<&str>, arn: Option<&str>) -> Result<String, ApiError> {
    match (name, arn) {
        (Some(name), None) => check(name).map(str::to_owned),
        (name, Some(arn)) => {
            name.map_or(Ok(""), check)?;
            let arn_shape = Shape::Text(1, 2048, Form::StreamArn);
            if let Some(refused) = refusal("streamARN", &Tree::Text(arn.to_owned()), &arn_shape) {
                return Err(refused);
            }
            let (_, of_arn) = arn.split_once(":stream/").unwrap_or_default();
            if name.is_some_and(|name| name != of_arn) {
                let message = "StreamName and StreamARN name different streams.";
                return Err(ApiError::invalid_argument(message));
            }
            check(of_arn).map(str::to_owned)
        }
        (None, None) => {
            Err(ApiError::invalid_argument("Either StreamARN or StreamName must be provided."))
        }
    }
}

/// The consumer a request means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConsumerRef {
    pub stream: String,
    pub name: String,
    /// Of the ARN, so that one made anew is told from the one before.
    pub created_at_seconds: Option<u64>,
}

/// The consumer of an ARN.
pub(crate) fn consumer_of_arn(arn: &str) -> Result<ConsumerRef, ApiError> {
    let parse = || {
        let (_, resource) = arn.strip_prefix("arn:")?.rsplit_once(":stream/")?;
        let (stream, consumer) = resource.split_once("/consumer/")?;
        let (name, created) = consumer.rsplit_once(':')?;
        Some((check(stream).ok()?, check(name).ok()?, created.parse().ok()?))
    };
    let (stream, name, created) = parse().ok_or_else(|| {
        let shape = Shape::Text(1, 2048, Form::ConsumerArn);
        let refused = refusal("consumerARN", &Tree::Text(arn.to_owned()), &shape);
        refused.unwrap_or_else(|| ApiError::not_found(format!("Consumer {arn} not found.")))
    })?;
    let created_at_seconds = Some(created);
    Ok(ConsumerRef { stream: stream.to_owned(), name: name.to_owned(), created_at_seconds })
}

/// The consumer a request means: by its ARN, or by stream and name.
pub(crate) fn consumer_of(
    stream_arn: Option<&str>,
    name: Option<&str>,
    arn: Option<&str>,
) -> Result<ConsumerRef, ApiError> {
    let Some(arn) = arn else {
        let (Some(stream), Some(name)) = (stream_arn, name) else {
            return Err(ApiError::invalid_argument(
                "Either ConsumerARN, or StreamARN and ConsumerName, must be provided.",
            ));
        };
        let (stream, name) = (stream_of(None, Some(stream))?, check(name)?.to_owned());
        return Ok(ConsumerRef { stream, name, created_at_seconds: None });
    };
    let consumer = consumer_of_arn(arn)?;
    let is_other = name.is_some_and(|name| name != consumer.name)
        || stream_arn.is_some_and(|arn| !arn.ends_with(&format!(":stream/{}", consumer.stream)));
    if is_other {
        let message = "ConsumerARN names another consumer than StreamARN and ConsumerName.";
        return Err(ApiError::invalid_argument(message));
    }
    Ok(consumer)
}

/// The stream or consumer of an ARN.
pub(crate) fn resource_of(arn: &str) -> Result<Resource, ApiError> {
    if Form::ConsumerArn.matches(arn) {
        return consumer_of_arn(arn).map(Resource::Consumer);
    }
    if Form::StreamArn.matches(arn) {
        return stream_of(None, Some(arn)).map(Resource::Stream);
    }
    Err(ApiError::not_found(format!("{arn} is no stream or consumer.")))
}

/// A stream's id, which the service reserves and does not use yet.
pub(crate) fn check_id(id: Option<&str>) -> Result<(), ApiError> {
    let Some(id) = id else { return Ok(()) };
    let shape = Shape::Text(1, 24, Form::StreamId);
    refusal("streamId", &Tree::Text(id.to_owned()), &shape).map_or(Ok(()), Err)
}

fn check(name: &str) -> Result<&str, ApiError> {
    let is_long = !(1..=128).contains(&name.len());
    if !is_long && Form::Name.matches(name) {
        return Ok(name);
    }
    let shape = Shape::Text(1, 128, Form::Name);
    let refused = refusal("streamName", &Tree::Text(name.to_owned()), &shape);
    Err(refused.unwrap_or_else(|| ApiError::missing("streamName")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_named_in_two_ways() {
        assert_eq!(stream_of(Some("s"), None).unwrap(), "s");
        assert_eq!(stream_of(None, Some(&arn("s"))).unwrap(), "s");
        assert_eq!(stream_of(Some("s"), Some(&arn("s"))).unwrap(), "s");
        assert!(stream_of(Some("t"), Some(&arn("s"))).is_err());
        for (name, arn) in [(None, None), (Some(""), None), (Some("a b"), None), (None, Some("x"))]
        {
            assert!(stream_of(name, arn).is_err(), "{name:?} {arn:?}");
        }
    }
}
