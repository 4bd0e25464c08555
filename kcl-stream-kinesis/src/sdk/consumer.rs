//! The consumer of fan-out: found, or registered.

use std::iter;
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::types::ConsumerStatus;
use kcl_core::{Clock, SourceError};
use tokio::sync::Mutex;

use super::errors::{classify, classify_registering};
use crate::fan_out::FanOut;
use crate::limits::{REGISTERING_LONGEST_WAIT, REGISTERING_LOOKS, REGISTERING_WAIT};

pub(crate) struct Consumer {
    which: FanOut,
    /// Once it is known to be the stream's, and to be ACTIVE.
    known: Mutex<Option<String>>,
}

/// A consumer as it was described.
struct Described {
    arn: String,
    status: ConsumerStatus,
}

impl Consumer {
    pub fn new(which: FanOut) -> Self {
        Self { which, known: Mutex::new(None) }
    }

    /// Its ARN, once it is ACTIVE. Any number of workers may ask for it at once.
    ///
    /// # Errors
    /// `Refused` for an ARN of another stream, and for lack of permission.
    pub async fn arn(
        &self,
        client: &Client,
        clock: &dyn Clock,
        stream_arn: impl AsyncFnOnce() -> Result<String, SourceError>,
    ) -> Result<String, SourceError> {
        // Held over the requests: one shard asks for all.
        let mut known = self.known.lock().await;
        if let Some(arn) = &*known {
            return Ok(arn.clone());
        }
        let stream_arn = stream_arn().await?;
        let arn = match &self.which {
            FanOut::Arn(arn) => of_stream(arn, &stream_arn)?,
            FanOut::Register(name) => registered(client, clock, &stream_arn, name).await?,
        };
        Ok(known.insert(arn).clone())
    }

    /// What it means that the service did not find `what` in a subscription.
    pub async fn missing(&self, client: &Client, arn: &str, what: String) -> SourceError {
        let described = client.describe_stream_consumer().consumer_arn(arn).send().await;
        match described.map_err(|error| classify(&error, arn)) {
            Err(SourceError::NotFound(_)) => {}
            Err(error) if error.is_transient() => return error,
            Ok(_) | Err(_) => return SourceError::NotFound(what),
        }
        match self.which {
            FanOut::Register(_) => {
                *self.known.lock().await = None;
                let why = format!("consumer {arn} was deregistered; it is registered anew");
                SourceError::Unavailable(why)
            }
            FanOut::Arn(_) => SourceError::Refused(format!(
                "consumer {arn} was not found: register it, or let the source do so by name"
            )),
        }
    }
}

/// Shard ids are the same in every stream: with a consumer of another one, its records would be
/// processed as if they were this one's.
fn of_stream(arn: &str, stream_arn: &str) -> Result<String, SourceError> {
    let is_of_stream =
        arn.strip_prefix(stream_arn).is_some_and(|rest| rest.starts_with("/consumer/"));
    if is_of_stream {
        return Ok(arn.to_owned());
    }
    Err(SourceError::Refused(format!("consumer {arn} is not one of stream {stream_arn}")))
}

/// Finds the consumer or registers it, and waits until it is ACTIVE.
async fn registered(
    client: &Client,
    clock: &dyn Clock,
    stream_arn: &str,
    name: &str,
) -> Result<String, SourceError> {
    let mut has_registered = false;
    for wait in waits() {
        match look(client, stream_arn, name).await {
            Ok(Described { arn, status: ConsumerStatus::Active }) => return Ok(arn),
            Ok(Described { status: ConsumerStatus::Deleting, .. }) => {
                let why = format!("consumer {name} of {stream_arn} is being deregistered");
                return Err(SourceError::Unavailable(why));
            }
            Ok(_) => clock.sleep(wait).await,
            Err(SourceError::NotFound(_)) => {
                // Said to be there and not to be seen: asked at once, it would be said without end.
                if std::mem::replace(&mut has_registered, true) {
                    clock.sleep(REGISTERING_LONGEST_WAIT).await;
                }
                register(client, stream_arn, name).await?;
            }
            Err(error) => return Err(error),
        }
    }
    Err(SourceError::Unavailable(format!("consumer {name} of {stream_arn} is still not ACTIVE")))
}

/// After each look, until the next.
fn waits() -> impl Iterator<Item = Duration> {
    let longer = |wait: &Duration| Some((*wait * 2).min(REGISTERING_LONGEST_WAIT));
    iter::successors(Some(REGISTERING_WAIT), longer).take(REGISTERING_LOOKS)
}

async fn look(client: &Client, stream_arn: &str, name: &str) -> Result<Described, SourceError> {
    let request = client.describe_stream_consumer().stream_arn(stream_arn).consumer_name(name);
    let what = format!("consumer {name} of {stream_arn}");
    let answer = request.send().await.map_err(|error| classify(&error, &what))?;
    let nothing = || SourceError::Refused(format!("{what} has no description"));
    let described = answer.consumer_description.ok_or_else(nothing)?;
    Ok(Described { arn: described.consumer_arn, status: described.consumer_status })
}

/// Another worker may register it at the same time: then it is there, which was all that was asked.
async fn register(client: &Client, stream_arn: &str, name: &str) -> Result<(), SourceError> {
    let request = client.register_stream_consumer().stream_arn(stream_arn).consumer_name(name);
    match request.send().await {
        Ok(_) => Ok(()),
        Err(error)
            if error.as_service_error().is_some_and(|e| e.is_resource_in_use_exception()) =>
        {
            Ok(())
        }
        Err(error) => {
            Err(classify_registering(&error, &format!("consumer {name} of {stream_arn}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consumer_is_looked_at_soon_and_then_each_second_for_a_minute() {
        let waits: Vec<_> = waits().map(|wait| wait.as_millis()).collect();
        assert_eq!(waits[..4], [250, 500, 1_000, 1_000]);
        assert_eq!(waits.iter().sum::<u128>(), 58_750);
    }

    #[test]
    fn a_consumer_of_another_stream_is_refused() {
        let stream = "arn:aws:kinesis:eu-west-1:123456789012:stream/orders";
        let own = format!("{stream}/consumer/shop:1700000000");
        assert_eq!(of_stream(&own, stream), Ok(own.clone()));
        for other in [
            "arn:aws:kinesis:eu-west-1:123456789012:stream/orders2/consumer/shop:1700000000",
            "arn:aws:kinesis:eu-west-1:123456789012:stream/carts/consumer/shop:1700000000",
            stream,
        ] {
            assert!(matches!(of_stream(other, stream), Err(SourceError::Refused(_))), "{other}");
        }
    }
}
