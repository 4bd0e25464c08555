//! One subscription, from its request to its end, in a task of its own: a call of the reader may be
//! dropped midway, or come late, and what was asked for is kept.
//!
//! An event is taken from the connection only once the reader was asked for it. Read ahead, it
//! would be in memory and in nobody's budget.

use std::sync::Arc;
use std::time::Duration;

use kcl_core::{ReadFrom, SourceError};
use kcl_protocol::ShardId;
use kcl_protocol::retry::spread;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

use crate::api::{Event, Subscription, SubscriptionError};
use crate::limits::{RENEW_AFTER, RENEW_SPREAD, SILENCE, STALL};
use crate::source::KinesisSource;

/// What a feed tells. When there is no more of it, the subscription is over and the next may begin.
pub(super) enum Told {
    /// The subscription stands.
    Subscribed,
    Event(Event),
    /// The last that is told.
    Failed(SubscriptionError),
}

pub(super) struct Feed {
    told: mpsc::Receiver<Told>,
    /// One permit for each time the reader was asked.
    asks: Arc<Semaphore>,
    /// Asked, and not told since.
    has_asked: bool,
    /// It was told that the subscription stands.
    stands: bool,
    task: JoinHandle<()>,
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Feed {
    /// Subscribes, as soon as the last subscription may be replaced.
    pub fn start(source: &KinesisSource, shard: &ShardId, from: ReadFrom) -> Self {
        let (tell, told) = mpsc::channel(1);
        let asks = Arc::new(Semaphore::new(0));
        let asked = Arc::clone(&asks);
        let (source, shard) = (source.clone(), shard.clone());
        let task = tokio::spawn(async move {
            source.clock.sleep_until(source.recent.not_before(&shard)).await;
            match source.api.subscribe(&shard, from).await {
                Ok(subscription) => {
                    source.recent.subscribed(&shard, source.clock.monotonic());
                    Pump { source, tell, asked }.run(subscription).await;
                }
                Err(error) => drop(tell.send(Told::Failed(error)).await),
            }
        });
        Self { told, asks, has_asked: false, stands: false, task }
    }

    /// What is told next; `None` when the subscription is over. Cancel-safe.
    pub async fn next(&mut self) -> Option<Told> {
        if !std::mem::replace(&mut self.has_asked, true) {
            self.asks.add_permits(1);
        }
        let told = self.told.recv().await;
        self.has_asked = false;
        if told.is_none() && !self.stands {
            // It panicked. Taken for a subscription's end, it would be followed by the next at
            // once, which may do the same.
            let why = "subscribing ended without an answer".to_owned();
            return Some(Told::Failed(SourceError::Unavailable(why).into()));
        }
        self.stands |= matches!(told, Some(Told::Subscribed));
        told
    }
}

/// Forwards the events of one subscription.
struct Pump {
    source: KinesisSource,
    tell: mpsc::Sender<Told>,
    asked: Arc<Semaphore>,
}

impl Pump {
    async fn run(self, mut subscription: Box<dyn Subscription>) {
        let clock = &self.source.clock;
        // 50% to 100% of twice the spread is the spread's own length.
        let later = spread(RENEW_SPREAD * 2, self.source.rolls.next()) - RENEW_SPREAD;
        let until = clock.monotonic() + RENEW_AFTER + later;
        let mut next = Some(Told::Subscribed);
        while self.is_asked().await {
            let told = match next.take() {
                Some(told) => told,
                None => tokio::select! { biased;
                    // First, or a shard with much to tell would be read until the service ends the
                    // subscription. An event on its way is not lost: the next subscription begins
                    // after the last one that was told.
                    () = clock.sleep_until(until) => return,
                    event = subscription.next() => match event {
                        Ok(Some(event)) => Told::Event(event),
                        Ok(None) => return,
                        Err(error) => Told::Failed(error),
                    },
                    () = clock.sleep(SILENCE) => {
                        subscription.taken_for_dead();
                        Told::Failed(silent(SILENCE))
                    }
                },
            };
            let is_last = matches!(told, Told::Failed(_));
            if self.tell.send(told).await.is_err() || is_last {
                return;
            }
        }
    }

    /// False if the reader was not asked in time.
    async fn is_asked(&self) -> bool {
        tokio::select! { biased;
            asked = self.asked.acquire() => asked.map(|permit| permit.forget()).is_ok(),
            () = self.source.clock.sleep(STALL) => {
                self.source.counting.stalled();
                false
            }
        }
    }
}

fn silent(time: Duration) -> SubscriptionError {
    SourceError::Unavailable(format!("a subscription without an event for {time:?}")).into()
}
