//! One subscription, from its request to its end, in a task of its own: the reader may be dropped
//! midway, or not be asked for a while, and the connection is served all the same.

use std::time::Duration;

use kcl_core::{ReadFrom, SourceError};
use kcl_protocol::retry::spread;
use kcl_protocol::{Moment, ShardId};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::api::{Event, Subscription};
use crate::limits::{EVENTS_AHEAD, RENEW_AFTER, RENEW_SPREAD, SILENCE, STALL};
use crate::source::KinesisSource;

/// What a feed tells. When there is no more of it, the subscription is over and the next may begin.
pub(super) enum Told {
    /// The subscription stands.
    Subscribed,
    Event(Event),
    /// The last that is told.
    Failed(SourceError),
}

pub(super) struct Feed {
    told: mpsc::Receiver<Told>,
    task: JoinHandle<()>,
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Feed {
    /// Subscribes, not before a moment.
    pub fn start(
        source: &KinesisSource,
        shard: &ShardId,
        from: ReadFrom,
        not_before: Moment,
    ) -> Self {
        let (tell, told) = mpsc::channel(EVENTS_AHEAD);
        let (source, shard) = (source.clone(), shard.clone());
        let task = tokio::spawn(async move {
            source.clock.sleep_until(not_before).await;
            match source.api.subscribe(&shard, from).await {
                Ok(subscription) => Pump { source, tell }.run(subscription).await,
                Err(error) => drop(tell.send(Told::Failed(error)).await),
            }
        });
        Self { told, task }
    }

    /// What is told next; `None` when the subscription is over. Cancel-safe.
    pub async fn next(&mut self) -> Option<Told> {
        self.told.recv().await
    }
}

/// Forwards the events of one subscription.
struct Pump {
    source: KinesisSource,
    tell: mpsc::Sender<Told>,
}

impl Pump {
    async fn run(self, mut subscription: Box<dyn Subscription>) {
        let clock = &self.source.clock;
        // 50% to 100% of twice the spread is the spread's own length.
        let later = spread(RENEW_SPREAD * 2, self.source.rolls.next()) - RENEW_SPREAD;
        let until = clock.monotonic() + RENEW_AFTER + later;
        let mut told = Told::Subscribed;
        loop {
            let is_last = matches!(told, Told::Failed(_));
            if !self.tell(told).await || is_last {
                return;
            }
            told = tokio::select! { biased;
                event = subscription.next() => match event {
                    Ok(Some(event)) => Told::Event(event),
                    Ok(None) => return,
                    Err(error) => Told::Failed(error),
                },
                // An event on its way is not lost: the next subscription begins after the last
                // one that was told.
                () = clock.sleep_until(until) => return,
                () = clock.sleep(SILENCE) => Told::Failed(silent(SILENCE)),
            };
        }
    }

    /// False if nobody has taken it in time, or is there at all.
    async fn tell(&self, told: Told) -> bool {
        tokio::select! { biased;
            sent = self.tell.send(told) => sent.is_ok(),
            () = self.source.clock.sleep(STALL) => {
                self.source.counting.stalled();
                false
            }
        }
    }
}

fn silent(time: Duration) -> SourceError {
    SourceError::Unavailable(format!("a subscription without an event for {time:?}"))
}
