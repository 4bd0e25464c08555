//! SubscribeToShard: events as records arrive, over one long answer.

use std::sync::Arc;

use bytes::Bytes;
use kcl_core::protocol::{Moment, SequenceNumber};
use kcl_core::{ChildShard, Clock, ReadLimit, Record};
use kcl_stream_local::{EngineError, Pushed, Subscription};
use serde::Deserialize;
use tokio::sync::{mpsc, oneshot};

use super::read::{from, room_for, write_children, write_records};
use crate::body::Reply;
use crate::error::ApiError;
use crate::event::{event, exception};
use crate::limits::{
    ACCOUNT, EVENT_BYTES, EVENT_RECORDS, EVENTS_AHEAD, IDLE_EVENT_EVERY, SUBSCRIPTION_LIFE,
};
use crate::names::consumer_of_arn;
use crate::out::Out;
use crate::state::State;
use crate::wire::{Format, Time};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Subscribe {
    #[serde(rename = "ConsumerARN")]
    consumer_arn: Option<String>,
    shard_id: Option<String>,
    starting_position: Option<StartingPosition>,
    dry_run: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StartingPosition {
    #[serde(rename = "Type")]
    kind: Option<String>,
    sequence_number: Option<String>,
    timestamp: Option<Time>,
}

struct Event {
    records: Vec<Record>,
    /// None at the end of the shard.
    continuation: Option<SequenceNumber>,
    behind_millis: u64,
    children: Vec<ChildShard>,
}

impl Event {
    fn write(&self, format: Format, encryption: &str) -> Bytes {
        let mut out = Out::new(format, room_for(&self.records));
        let has_next = self.continuation.is_some();
        out.open(2 + usize::from(has_next) + usize::from(!self.children.is_empty()));
        write_records(&mut out, &self.records, encryption);
        if let Some(continuation) = self.continuation {
            out.name("ContinuationSequenceNumber");
            out.shown(continuation);
        }
        out.name("MillisBehindLatest");
        out.whole(self.behind_millis);
        write_children(&mut out, &self.children);
        out.close();
        out.finish()
    }
}

pub(crate) fn to_shard(state: &State, format: Format, body: &[u8]) -> Result<Reply, ApiError> {
    let request: Subscribe = format.request(body)?;
    let arn = request.consumer_arn.ok_or_else(|| ApiError::missing("consumerARN"))?;
    let shard = request.shard_id.ok_or_else(|| ApiError::missing("shardId"))?;
    let start = request.starting_position.ok_or_else(|| ApiError::missing("startingPosition"))?;
    let sequence = start.sequence_number.as_deref();
    let from = from("startingPosition.type", start.kind.as_deref(), sequence, start.timestamp)?;
    let consumer = state.consumer(&consumer_of_arn(&arn)?)?;
    if consumer.status(state.clock.wall_millis()) != "ACTIVE" {
        return Err(ApiError::in_use(format!("Consumer {arn} is not ACTIVE.")));
    }
    let stream = state.readable(&consumer.stream)?;
    let subscription = stream.subscribe(&shard.as_str().into(), from).map_err(|error| {
        let message = format!(
            "Shard {shard} in stream {} under account {ACCOUNT} does not exist",
            consumer.stream
        );
        match ApiError::from(error) {
            error if error.name == "ResourceNotFoundException" => ApiError::not_found(message),
            error => error,
        }
    })?;
    if request.dry_run == Some(true) {
        return Err(ApiError::dry_run());
    }
    let taken_over = state.give(&consumer, &shard)?;
    let (events, received) = mpsc::channel(EVENTS_AHEAD);
    let clock = Arc::clone(&state.clock);
    let until = clock.monotonic() + SUBSCRIPTION_LIFE;
    let (_, encryption) = state.record_settings(&consumer.stream);
    let push = Push { format, clock, events, until, encryption, taken_over };
    tokio::spawn(push.run(subscription));
    Ok(Reply::Events(received))
}

/// Why there are no more events.
enum Over {
    /// The client has gone, or the time is up.
    Quietly,
    /// Told as the last event.
    With(ApiError),
}

impl From<EngineError> for Over {
    fn from(error: EngineError) -> Self {
        Self::With(error.into())
    }
}

impl Over {
    /// By what [`State::give`] told.
    fn taken_over(told: Result<(), oneshot::error::RecvError>) -> Self {
        Self::With(match told {
            Ok(()) => ApiError::in_use("Another subscription of this consumer took over."),
            Err(_) => ApiError::not_found("The consumer was deregistered."),
        })
    }
}

struct Push {
    format: Format,
    clock: Arc<dyn Clock>,
    events: mpsc::Sender<Bytes>,
    until: Moment,
    /// As it was at the beginning.
    encryption: &'static str,
    taken_over: oneshot::Receiver<()>,
}

impl Push {
    async fn run(mut self, mut subscription: Subscription) {
        if let Err(Over::With(error)) = self.push(&mut subscription).await {
            let told = serde_json::json!({ "message": error.message });
            let body = self.format.write(&told).unwrap_or_default();
            let frame = exception(error.name, self.format.content_type(), &body);
            // Whoever does not read it learns of the end all the same.
            tokio::select! { biased;
                _ = self.events.send(frame) => {}
                () = self.clock.sleep(IDLE_EVENT_EVERY) => {}
            }
        }
    }

    async fn push(&mut self, subscription: &mut Subscription) -> Result<(), Over> {
        let limit = ReadLimit { records: EVENT_RECORDS, bytes: EVENT_BYTES };
        let empty = self.format.write(&serde_json::json!({})).map_err(Over::With)?;
        self.send("initial-response", &empty).await?;
        loop {
            let idle_until = self.clock.monotonic() + IDLE_EVENT_EVERY;
            let pushed = tokio::select! { biased;
                told = &mut self.taken_over => return Err(Over::taken_over(told)),
                () = self.events.closed() => return Err(Over::Quietly),
                () = self.clock.sleep_until(self.until) => return Err(Over::Quietly),
                pushed = subscription.next(limit) => Some(pushed?),
                () = self.clock.sleep_until(idle_until) => None,
            };
            let event = match pushed {
                Some(Pushed::Records { records, continuation, behind_millis }) => Event {
                    records,
                    continuation: Some(continuation),
                    behind_millis,
                    children: Vec::new(),
                },
                Some(Pushed::ShardEnd { children }) => {
                    Event { records: Vec::new(), continuation: None, behind_millis: 0, children }
                }
                None => Event {
                    records: Vec::new(),
                    continuation: Some(subscription.passed()),
                    behind_millis: subscription.behind_millis(),
                    children: Vec::new(),
                },
            };
            let is_end = event.continuation.is_none();
            let body = event.write(self.format, self.encryption);
            self.send("SubscribeToShardEvent", &body).await?;
            if is_end {
                return Ok(());
            }
        }
    }

    /// Waits for a slow client, within the subscription's life.
    async fn send(&mut self, kind: &str, body: &[u8]) -> Result<(), Over> {
        let frame = event(kind, self.format.content_type(), body);
        tokio::select! { biased;
            told = &mut self.taken_over => Err(Over::taken_over(told)),
            () = self.clock.sleep_until(self.until) => Err(Over::Quietly),
            sent = self.events.send(frame) => sent.map_err(|_| Over::Quietly),
        }
    }
}
