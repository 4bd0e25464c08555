//! Registered consumers of streams, and who is subscribed to which shard.

use std::collections::BTreeMap;

use kcl_core::protocol::Moment;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::{Attached, Mode, State};
use crate::error::ApiError;
use crate::limits::{ADVANTAGE_CONSUMERS, CONSUMERS, CONSUMERS_CREATING, RESUBSCRIBE_AFTER};
use crate::names::{self, ConsumerRef};

/// A consumer of one stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Consumer {
    pub stream: String,
    pub name: String,
    pub created_at_millis: u64,
    /// When it is no longer CREATING (Unix milliseconds).
    ready_at_millis: u64,
    /// When it is no longer there; set once it is DELETING.
    gone_at_millis: Option<u64>,
    attached: Attached,
}

impl Consumer {
    pub fn arn(&self) -> String {
        let stream = names::arn(&self.stream);
        format!("{stream}/consumer/{}:{}", self.name, self.created_at_millis / 1000)
    }
    pub fn status(&self, now_millis: u64) -> &'static str {
        match self.gone_at_millis {
            Some(_) => "DELETING",
            None if now_millis < self.ready_at_millis => "CREATING",
            None => "ACTIVE",
        }
    }
    fn is_gone(&self, now_millis: u64) -> bool {
        self.gone_at_millis.is_some_and(|gone| gone <= now_millis)
    }
}

/// A subscription given out, also one that has ended: the next must keep its distance.
#[derive(Debug)]
struct Given {
    at: Moment,
    /// Told when a later one takes over; dropped when the consumer is gone.
    taken_over: oneshot::Sender<()>,
}

/// All consumers. Subscriptions are at most one a consumer and shard.
#[derive(Debug, Default)]
pub(crate) struct Consumers {
    by_name: BTreeMap<(String, String), Consumer>,
    given: BTreeMap<(String, String, String), Given>,
}

impl Consumers {
    fn sweep(&mut self, now_millis: u64) {
        self.by_name.retain(|_, consumer| !consumer.is_gone(now_millis));
    }
    fn of<'a>(&'a self, stream: &'a str) -> impl Iterator<Item = &'a Consumer> {
        self.by_name.values().filter(move |consumer| consumer.stream == stream)
    }
}

impl State {
    /// Registers a consumer of a stream that exists.
    pub fn register_consumer(
        &self,
        stream: &str,
        name: &str,
        attached: Attached,
    ) -> Result<Consumer, ApiError> {
        let now = self.clock.wall_millis();
        let most = self.most_consumers(stream);
        let mut consumers = self.consumers();
        consumers.sweep(now);
        let key = (stream.to_owned(), name.to_owned());
        if consumers.by_name.contains_key(&key) {
            return Err(ApiError::in_use(format!(
                "Consumer {name} of stream {stream} already exists."
            )));
        }
        if consumers.of(stream).count() >= most {
            return Err(ApiError::limit_exceeded(format!(
                "This stream has at most {most} consumers: {stream} has no place left."
            )));
        }
        let is_creating = |consumer: &&Consumer| consumer.status(now) == "CREATING";
        if consumers.of(stream).filter(is_creating).count() >= CONSUMERS_CREATING {
            return Err(ApiError::limit_exceeded(format!(
                "At most {CONSUMERS_CREATING} consumers of a stream are CREATING at once."
            )));
        }
        let consumer = Consumer {
            stream: stream.to_owned(),
            name: name.to_owned(),
            created_at_millis: now,
            ready_at_millis: now + self.transition_millis,
            gone_at_millis: None,
            attached,
        };
        consumers.by_name.insert(key.clone(), consumer.clone());
        drop(consumers);
        self.keep().inspect_err(|_| drop(self.consumers().by_name.remove(&key)))?;
        Ok(consumer)
    }

    /// How many consumers a stream may have.
    fn most_consumers(&self, stream: &str) -> usize {
        let mode = self.settings(stream, |settings| settings.mode);
        let is_committed = self.commitment().is_enabled(self.clock.wall_millis());
        if mode == Mode::OnDemand && is_committed { ADVANTAGE_CONSUMERS } else { CONSUMERS }
    }

    /// The consumer a request means.
    pub fn consumer(&self, asked: &ConsumerRef) -> Result<Consumer, ApiError> {
        let mut consumers = self.consumers();
        consumers.sweep(self.clock.wall_millis());
        let key = (asked.stream.clone(), asked.name.clone());
        let found = consumers.by_name.get(&key).filter(|consumer| {
            asked.created_at_seconds.is_none_or(|at| at == consumer.created_at_millis / 1000)
        });
        let missing = format!("Consumer {} of stream {} not found.", asked.name, asked.stream);
        found.cloned().ok_or_else(|| ApiError::not_found(missing))
    }

    /// Reads or changes what is attached to a consumer.
    pub fn attached_to_consumer<R>(
        &self,
        asked: &ConsumerRef,
        read: impl FnOnce(&mut Attached) -> R,
    ) -> Result<R, ApiError> {
        let consumer = self.consumer(asked)?;
        let key = (consumer.stream.clone(), consumer.name.clone());
        let mut consumers = self.consumers();
        let missing = || ApiError::not_found(format!("Consumer {} not found.", consumer.name));
        let found = consumers.by_name.get_mut(&key).ok_or_else(missing)?;
        let before = found.attached.clone();
        let read = read(&mut found.attached);
        let is_changed = found.attached != before;
        drop(consumers);
        if is_changed {
            let undo = |_: &_| {
                if let Some(found) = self.consumers().by_name.get_mut(&key) {
                    found.attached = before;
                }
            };
            self.keep().inspect_err(undo)?;
        }
        Ok(read)
    }

    /// All consumers, to be kept.
    pub(super) fn all_consumers(&self) -> Vec<Consumer> {
        self.consumers().by_name.values().cloned().collect()
    }

    /// Puts a consumer back that was kept.
    pub(super) fn put_back(&self, consumer: Consumer) {
        let key = (consumer.stream.clone(), consumer.name.clone());
        self.consumers().by_name.insert(key, consumer);
    }

    /// The consumers of a stream, by name.
    pub fn consumers_of(&self, stream: &str) -> Vec<Consumer> {
        let mut consumers = self.consumers();
        consumers.sweep(self.clock.wall_millis());
        consumers.of(stream).cloned().collect()
    }

    /// Begins to delete a consumer, and ends its subscriptions.
    pub fn deregister_consumer(&self, asked: &ConsumerRef) -> Result<(), ApiError> {
        let consumer = self.consumer(asked)?;
        let gone_at = self.clock.wall_millis() + self.transition_millis;
        let mut consumers = self.consumers();
        let key = (consumer.stream.clone(), consumer.name.clone());
        if let Some(consumer) = consumers.by_name.get_mut(&key) {
            consumer.gone_at_millis.get_or_insert(gone_at);
        }
        drop(consumers);
        let undo = |_: &_| {
            if let Some(found) = self.consumers().by_name.get_mut(&key) {
                found.gone_at_millis = consumer.gone_at_millis;
            }
        };
        self.keep().inspect_err(undo)?;
        self.consumers().given.retain(|(stream, name, _), _| (stream, name) != (&key.0, &key.1));
        Ok(())
    }

    /// Drops the consumers of a stream that is gone.
    pub fn forget_consumers(&self, stream: &str) {
        let mut consumers = self.consumers();
        consumers.by_name.retain(|(of, _), _| of != stream);
        consumers.given.retain(|(of, ..), _| of != stream);
    }

    /// Gives a subscription to a shard, and ends the one before. What is returned is told when a
    /// later one takes over, and closed when the consumer is gone.
    pub fn give(
        &self,
        consumer: &Consumer,
        shard: &str,
    ) -> Result<oneshot::Receiver<()>, ApiError> {
        let now = self.clock.monotonic();
        let key = (consumer.stream.clone(), consumer.name.clone(), shard.to_owned());
        let mut consumers = self.consumers();
        if let Some(before) = consumers.given.get(&key)
            && now.since(before.at) < RESUBSCRIBE_AFTER
        {
            return Err(ApiError::in_use(format!(
                "Another active subscription exists for this consumer: {}:{}:{shard}",
                consumer.stream, consumer.name
            )));
        }
        let (taken_over, told) = oneshot::channel();
        if let Some(before) = consumers.given.insert(key, Given { at: now, taken_over }) {
            // Nobody listens if it has ended.
            let _ = before.taken_over.send(());
        }
        Ok(told)
    }
}
