//! The data key that a sealer uses, and its renewal.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kcl_core::Clock;
use kcl_protocol::Moment;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::data_key::Derived;
use super::ring::{KeyRing, KeyRingError};
use super::sealer::{Rotation, SealError, Sealing};
use super::wire;
use crate::limits::{LONGEST_RENEWAL, RENEWAL_PAUSE};

/// Keeps a data key at hand. Invariant: at most one renewal is under way, in a task of its own:
/// a caller that is not polled any more holds up nobody.
pub(super) struct Renewals {
    pub ring: Arc<dyn KeyRing>,
    pub stream: String,
    pub clock: Arc<dyn Clock>,
    pub rotation: Rotation,
    pub state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    current: Option<Current>,
    under_way: Option<watch::Receiver<Told>>,
    /// Why the last renewal failed, and when.
    failed: Option<(Moment, SealError)>,
}

struct Current {
    sealing: Arc<Sealing>,
    left: u64,
    until: Moment,
}

/// How a renewal ended; nothing yet before.
type Told = Option<Result<(), SealError>>;

impl State {
    /// Counts one use of the data key at hand.
    fn take(&mut self, now: Moment) -> Option<Arc<Sealing>> {
        let key = self.current.as_mut().filter(|key| now < key.until)?;
        key.left = key.left.checked_sub(1)?;
        Some(Arc::clone(&key.sealing))
    }
}

impl Renewals {
    /// The data key at hand; if there is none it is renewed.
    ///
    /// # Errors
    /// Why there will be none for the time being: the ring is asked again after a pause.
    pub(super) fn try_take(self: &Arc<Self>) -> Result<Option<Arc<Sealing>>, SealError> {
        let now = self.clock.monotonic();
        let mut state = self.state();
        if let Some(sealing) = state.take(now) {
            return Ok(Some(sealing));
        }
        if state.under_way.is_some() {
            return Ok(None);
        }
        if let Some((at, error)) = &state.failed
            && now.since(*at) < RENEWAL_PAUSE
        {
            return Err(error.clone());
        }
        self.renew(state)?;
        Ok(None)
    }

    /// The data key at hand, or the next.
    ///
    /// # Cancel safety
    /// A renewal goes on if the future is dropped.
    pub(super) async fn take(self: &Arc<Self>) -> Result<Arc<Sealing>, SealError> {
        loop {
            let mut renewal = {
                let now = self.clock.monotonic();
                let mut state = self.state();
                if let Some(sealing) = state.take(now) {
                    return Ok(sealing);
                }
                match &state.under_way {
                    Some(renewal) => renewal.clone(),
                    None => self.renew(state)?,
                }
            };
            let told = renewal.wait_for(Option::is_some).await.map_err(|_| broken_off())?;
            if let Some(Err(error)) = &*told {
                return Err(error.clone());
            }
            // Others may have used it up.
        }
    }

    fn renew(
        self: &Arc<Self>,
        mut state: MutexGuard<'_, State>,
    ) -> Result<watch::Receiver<Told>, SealError> {
        let runtime = Handle::try_current().map_err(|_| {
            let why = "the key ring is asked in a task: seal within a tokio runtime";
            KeyRingError::Unavailable(why.to_owned())
        })?;
        let (telling, told) = watch::channel(None);
        state.under_way = Some(told.clone());
        // A runtime that has ended drops the task here, and that takes the lock.
        drop(state);
        let renewal = Renewal { renewals: Arc::clone(self), outcome: None, telling };
        runtime.spawn(async move {
            let outcome = tokio::select! { biased;
                outcome = renewal.renewals.generate() => outcome,
                () = renewal.renewals.clock.sleep(LONGEST_RENEWAL) => Err(never_answered()),
            };
            renewal.end(outcome);
        });
        Ok(told)
    }

    async fn generate(&self) -> Result<Current, SealError> {
        let new = self.ring.generate(&self.stream).await?;
        let derived = Derived::new(&new.key).map_err(|_| SealError::Failed)?;
        let header = wire::header(&new.key_id, &new.wrapped, derived.commitment());
        let too_long = || KeyRingError::Refused("its key id or wrapped key is too long".into());
        let sealing = Arc::new(Sealing { derived, header: header.ok_or_else(too_long)? });
        // Its age counts from now: a ring slower than that would never make one to use.
        let until = self.clock.monotonic() + self.rotation.age;
        Ok(Current { sealing, left: self.rotation.records, until })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Replaced or counted in one step; a panic leaves nothing half made.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One renewal. Dropped when it is over, also if its task is aborted or panics.
struct Renewal {
    renewals: Arc<Renewals>,
    outcome: Option<Result<Current, SealError>>,
    telling: watch::Sender<Told>,
}

impl Renewal {
    fn end(mut self, outcome: Result<Current, SealError>) {
        self.outcome = Some(outcome);
    }
}

impl Drop for Renewal {
    fn drop(&mut self) {
        let now = self.renewals.clock.monotonic();
        let mut state = self.renewals.state();
        state.under_way = None;
        let told = match self.outcome.take().unwrap_or_else(|| Err(broken_off())) {
            Ok(current) => {
                (state.current, state.failed) = (Some(current), None);
                Ok(())
            }
            Err(error) => {
                state.failed = Some((now, error.clone()));
                Err(error)
            }
        };
        drop(state);
        self.telling.send_replace(Some(told));
    }
}

fn never_answered() -> SealError {
    let seconds = LONGEST_RENEWAL.as_secs();
    KeyRingError::Unavailable(format!("the key ring did not answer within {seconds} s")).into()
}

fn broken_off() -> SealError {
    let why = "its task was broken off: the runtime has ended, or the ring panicked";
    KeyRingError::Unavailable(why.to_owned()).into()
}
