//! The producer's side.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use aws_lc_rs::aead::{Aad, NONCE_LEN, Nonce};
use aws_lc_rs::rand;
use bytes::{Bytes, BytesMut};
use kcl_core::{Clock, OutOfBounds, PartitionKey};
use kcl_protocol::Moment;

use super::data_key::Derived;
use super::ring::{KeyRing, KeyRingError};
use super::{stream_name, wire};
use crate::limits::{DATA_KEY_AGE, DATA_KEY_RECORDS, LONGEST_DATA_KEY_AGE, MOST_DATA_KEY_RECORDS};

/// Seals payloads for one stream. Share it among all producers of a process.
pub struct Sealer {
    ring: Arc<dyn KeyRing>,
    stream: String,
    clock: Arc<dyn Clock>,
    rotation: Rotation,
    current: Mutex<Option<Current>>,
    /// The turn of whoever makes a data key, so that many callers make one.
    turn: Mutex<Weak<Turn>>,
}

/// One asks the ring, and all who wait hear why there is no data key; nothing yet, or if there is.
type Turn = tokio::sync::Mutex<Option<SealError>>;

/// How long a data key is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Payloads sealed with it. Default 1,048,576; 1 to 2^32, for nonces are random.
    pub records: u64,
    /// Time since it was made. Default 1 h; 1 s to 24 h.
    pub age: Duration,
}

impl Default for Rotation {
    fn default() -> Self {
        Self { records: DATA_KEY_RECORDS, age: DATA_KEY_AGE }
    }
}

struct Current {
    sealing: Arc<Sealing>,
    left: u64,
    until: Moment,
}

/// A data key in use.
struct Sealing {
    derived: Derived,
    header: Vec<u8>,
}

/// Why a payload was not sealed. Nothing was used up but a number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The ring made no data key.
    #[error("no data key to seal with: {0}")]
    Ring(#[from] KeyRingError),
    /// The system's cryptography failed: no randomness, or a payload above 64 GiB.
    #[error("the payload could not be sealed")]
    Failed,
}

impl SealError {
    /// True if it may work later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Ring(KeyRingError::Unavailable(_)))
    }
}

impl Sealer {
    /// A sealer for this stream (name or ARN) that asks the ring for data keys.
    pub fn new(ring: Arc<dyn KeyRing>, stream: &str, clock: Arc<dyn Clock>) -> Self {
        Self {
            ring,
            stream: stream_name(stream).to_owned(),
            clock,
            rotation: Rotation::default(),
            current: Mutex::default(),
            turn: Mutex::default(),
        }
    }

    /// The same with another rotation.
    ///
    /// # Errors
    /// Names the field that is out of bounds.
    pub fn with_rotation(mut self, rotation: Rotation) -> Result<Self, OutOfBounds> {
        OutOfBounds::check("records", rotation.records, 1, MOST_DATA_KEY_RECORDS)?;
        let shortest = Duration::from_secs(1);
        OutOfBounds::check("age", rotation.age, shortest, LONGEST_DATA_KEY_AGE)?;
        self.rotation = rotation;
        Ok(self)
    }

    /// Seals a payload that goes into the stream under this partition key, and opens under no
    /// other. Asks the ring only when a data key is used up.
    ///
    /// # Errors
    /// [`SealError::is_transient`] tells whether to try again.
    ///
    /// # Cancel safety
    /// A dropped call costs at most a data key that nobody uses.
    pub async fn seal(&self, key: &PartitionKey, data: &[u8]) -> Result<Bytes, SealError> {
        if let Some(sealed) = self.try_seal(key, data) {
            return sealed;
        }
        let turn = self.turn();
        let mut refusal = turn.lock().await;
        // Whoever was here before may have made one, or have waited for an answer in vain.
        let sealing = match (self.take(), &*refusal) {
            (Some(sealing), _) => sealing,
            (None, Some(refused)) => return Err(refused.clone()),
            (None, None) => match self.renew().await {
                Ok(sealing) => sealing,
                Err(refused) => {
                    // Who comes from now on asks anew.
                    *self.next_turn() = Weak::new();
                    *refusal = Some(refused.clone());
                    return Err(refused);
                }
            },
        };
        drop(refusal);
        sealing.seal(&self.stream, key, data)
    }

    fn turn(&self) -> Arc<Turn> {
        let mut next = self.next_turn();
        next.upgrade().unwrap_or_else(|| {
            let turn = Arc::new(Turn::default());
            *next = Arc::downgrade(&turn);
            turn
        })
    }

    fn next_turn(&self) -> MutexGuard<'_, Weak<Turn>> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Seals with the data key at hand; `None` if there is none or it is used up: one must be made
    /// first by [`Sealer::seal`].
    pub fn try_seal(&self, key: &PartitionKey, data: &[u8]) -> Option<Result<Bytes, SealError>> {
        self.take().map(|sealing| sealing.seal(&self.stream, key, data))
    }

    /// Counts one use of the data key at hand.
    fn take(&self) -> Option<Arc<Sealing>> {
        let now = self.clock.monotonic();
        let mut current = self.current();
        let key = current.as_mut().filter(|key| now < key.until)?;
        key.left = key.left.checked_sub(1)?;
        Some(Arc::clone(&key.sealing))
    }

    /// Makes a data key, and counts its first use.
    async fn renew(&self) -> Result<Arc<Sealing>, SealError> {
        // Its age counts from before it was asked for.
        let until = self.clock.monotonic() + self.rotation.age;
        let new = self.ring.generate(&self.stream).await?;
        let derived = Derived::new(&new.key).map_err(|_| SealError::Failed)?;
        let header = wire::header(&new.key_id, &new.wrapped, derived.commitment());
        let too_long = || KeyRingError::Refused("its key id or wrapped key is too long".into());
        let sealing = Arc::new(Sealing { derived, header: header.ok_or_else(too_long)? });
        let left = self.rotation.records - 1;
        *self.current() = Some(Current { sealing: Arc::clone(&sealing), left, until });
        Ok(sealing)
    }

    fn current(&self) -> MutexGuard<'_, Option<Current>> {
        // Replaced or counted in one step; a panic leaves nothing half made.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sealer({}, {:?})", self.stream, self.rotation)
    }
}

impl Sealing {
    fn seal(&self, stream: &str, key: &PartitionKey, data: &[u8]) -> Result<Bytes, SealError> {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).map_err(|_| SealError::Failed)?;
        let size = self.header.len() + NONCE_LEN + data.len() + wire::TAG_BYTES;
        let mut sealed = BytesMut::with_capacity(size);
        sealed.extend_from_slice(&self.header);
        sealed.extend_from_slice(&nonce);
        let payload = sealed.len();
        sealed.extend_from_slice(data);
        let covered = wire::covered(&self.header, stream, key.as_str());
        let (nonce, covered) = (Nonce::assume_unique_for_key(nonce), Aad::from(covered));
        let aead = &self.derived.aead;
        let tag = aead.seal_in_place_separate_tag(nonce, covered, &mut sealed[payload..]);
        sealed.extend_from_slice(tag.map_err(|_| SealError::Failed)?.as_ref());
        Ok(sealed.freeze())
    }
}
