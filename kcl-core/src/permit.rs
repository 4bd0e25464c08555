//! The right to act on a lease, asked before every delivery, every poll of a batch and every write.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use kcl_protocol::{Fence, LeaseKey, Moment};
use tokio::sync::Notify;

use crate::clock::Clock;

/// Until when this worker's last heartbeat lets it act. Shared by all its leases; raised by the
/// liveness loop alone.
pub struct Validity {
    clock: Arc<dyn Clock>,
    until_nanos: AtomicU64,
    changed: Notify,
}

impl Validity {
    /// A validity that has not begun.
    pub fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { clock, until_nanos: AtomicU64::new(0), changed: Notify::new() })
    }
    /// The moment it ends.
    pub fn until(&self) -> Moment {
        Moment::from_nanos(self.until_nanos.load(Ordering::SeqCst))
    }
    /// True before that moment.
    pub fn is_current(&self) -> bool {
        self.clock.monotonic() < self.until()
    }
    /// Sets the end; the liveness loop never sets an earlier one but to end validity at once.
    pub fn set(&self, until: Moment) {
        self.until_nanos.store(until.as_nanos(), Ordering::SeqCst);
        self.changed.notify_waiters();
    }
}

/// The right of one consumer to act on one lease under one fence. Cloning shares it.
#[derive(Clone)]
pub struct Permit {
    lease: LeaseKey,
    fence: Fence,
    validity: Arc<Validity>,
    held: Arc<Held>,
}

/// Whether the lease is still held; the notification wakes its one consumer, where that of the
/// validity would wake all of them at every heartbeat.
struct Held {
    is: AtomicBool,
    ended: Notify,
}

/// Why a permit does not let its holder act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// The worker's validity ran out; it may come back.
    Expired,
    /// This lease is no longer held under this fence; final.
    Lost,
}

impl Permit {
    /// A permit for a lease just won.
    pub fn new(lease: LeaseKey, fence: Fence, validity: Arc<Validity>) -> Self {
        Self {
            lease,
            fence,
            validity,
            held: Arc::new(Held { is: AtomicBool::new(true), ended: Notify::new() }),
        }
    }
    /// Which lease.
    pub fn lease(&self) -> &LeaseKey {
        &self.lease
    }
    /// Under which fence.
    pub fn fence(&self) -> Fence {
        self.fence
    }
    /// May its holder act now?
    ///
    /// # Errors
    /// Says why not.
    pub fn check(&self) -> Result<Fence, Denied> {
        if !self.held.is.load(Ordering::SeqCst) {
            Err(Denied::Lost)
        } else if !self.validity.is_current() {
            Err(Denied::Expired)
        } else {
            Ok(self.fence)
        }
    }
    /// Ends it for good.
    pub fn revoke(&self) {
        self.held.is.store(false, Ordering::SeqCst);
        self.held.ended.notify_waiters();
        self.validity.changed.notify_waiters();
    }
    /// Until when the worker's validity stands now.
    pub fn valid_until(&self) -> Moment {
        self.validity.until()
    }
    /// Waits until the permit is revoked; the validity's comings and goings do not wake it.
    /// Cancel-safe.
    pub async fn revoked(&self) {
        let ended = self.held.ended.notified();
        tokio::pin!(ended);
        ended.as_mut().enable();
        if self.held.is.load(Ordering::SeqCst) {
            ended.await;
        }
    }
    /// Waits until [`Permit::check`] fails, and says why. Cancel-safe.
    pub async fn denied(&self) -> Denied {
        loop {
            let changed = self.validity.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Err(denied) = self.check() {
                return denied;
            }
            tokio::select! { biased;
                () = &mut changed => {}
                () = self.validity.clock.sleep_until(self.validity.until()) => {}
            }
        }
    }
    /// Waits out an expired validity. Cancel-safe.
    ///
    /// # Errors
    /// Only [`Denied::Lost`].
    pub async fn granted(&self) -> Result<Fence, Denied> {
        loop {
            let changed = self.validity.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            match self.check() {
                Err(Denied::Expired) => changed.await,
                answer => return answer,
            }
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Permit({} at fence {}: {:?})", self.lease, self.fence, self.check())
    }
}
