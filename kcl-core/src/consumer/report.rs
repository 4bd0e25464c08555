//! Tells the observer what one consumer does.

use std::sync::Arc;

use kcl_protocol::{Fence, LeaseKey, WorkerId, hash};

use crate::clock::Clock;
use crate::event::{Event, EventKind, Observer};

#[derive(Clone)]
pub(super) struct Reporter {
    pub observer: Arc<dyn Observer>,
    pub clock: Arc<dyn Clock>,
    pub worker: WorkerId,
    pub lease: LeaseKey,
    pub fence: Fence,
}

impl Reporter {
    pub fn tell(&self, kind: impl FnOnce(LeaseKey, Fence) -> EventKind) {
        let kind = kind(self.lease.clone(), self.fence);
        let at = self.clock.monotonic();
        self.observer.observe(&Event { at, worker: self.worker.clone(), kind });
    }

    /// Spreads retries: the same for the same try of the same lease, so that a run can be repeated.
    pub fn roll(&self, attempt: u32) -> u64 {
        hash::mix(hash::of_lease(&self.lease, self.fence) ^ u64::from(attempt))
    }
}
