//! A timer that can be moved without cost and costs nothing until somebody waits for it.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use kcl_protocol::Moment;

use crate::clock::Clock;

pub(super) struct Alarm {
    clock: Arc<dyn Clock>,
    at: Option<Moment>,
    /// Never later than `at`; waking early costs one look at the clock, moving it would cost more.
    sleep: Option<(Moment, BoxFuture<'static, ()>)>,
}

impl Alarm {
    pub fn new(clock: &Arc<dyn Clock>) -> Self {
        Self { clock: Arc::clone(clock), at: None, sleep: None }
    }

    pub fn set(&mut self, at: Option<Moment>) {
        self.at = at;
    }

    pub fn is_set(&self) -> bool {
        self.at.is_some()
    }

    /// Ready once, when the moment has come; the alarm is then off. Pending for ever while off.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.at else { return Poll::Pending };
        loop {
            if self.clock.monotonic() >= at {
                (self.at, self.sleep) = (None, None);
                return Poll::Ready(());
            }
            if self.sleep.as_ref().is_none_or(|(moment, _)| *moment > at) {
                let clock = Arc::clone(&self.clock);
                self.sleep = Some((at, Box::pin(async move { clock.sleep_until(at).await })));
            }
            if let Some((_, sleep)) = &mut self.sleep {
                std::task::ready!(sleep.as_mut().poll(cx));
            }
            self.sleep = None;
        }
    }
}
