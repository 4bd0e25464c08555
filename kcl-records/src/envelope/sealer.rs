//! The producer's side.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::aead::{Aad, NONCE_LEN, Nonce};
use aws_lc_rs::rand;
use bytes::{Bytes, BytesMut};
use kcl_core::{Clock, OutOfBounds, PartitionKey};

use super::data_key::Derived;
use super::renewal::Renewals;
use super::ring::{KeyRing, KeyRingError};
use super::{stream_name, wire};
use crate::limits::{DATA_KEY_AGE, DATA_KEY_RECORDS, LONGEST_DATA_KEY_AGE, MOST_DATA_KEY_RECORDS};

/// Seals payloads for one stream. Share it among all producers of a process.
///
/// Data keys are made in a task of the tokio runtime in which one is missed first, which needs its
/// timer on. If that runtime ends meanwhile, who waits in another hears so as of a ring that is
/// away.
pub struct Sealer {
    renewals: Arc<Renewals>,
}

/// How long a data key is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Payloads sealed with it. Default 1,048,576; 1 to 2^32, for nonces are random.
    pub records: u64,
    /// Time since the key ring gave it. Default 1 h; 1 s to 24 h.
    pub age: Duration,
}

impl Default for Rotation {
    fn default() -> Self {
        Self { records: DATA_KEY_RECORDS, age: DATA_KEY_AGE }
    }
}

/// A data key in use.
pub(super) struct Sealing {
    pub derived: Derived,
    pub header: Vec<u8>,
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
        let (stream, rotation) = (stream_name(stream).to_owned(), Rotation::default());
        let state = Mutex::default();
        Self { renewals: Arc::new(Renewals { ring, stream, clock, rotation, state }) }
    }

    /// The same with another rotation.
    ///
    /// # Errors
    /// Names the field that is out of bounds.
    pub fn with_rotation(self, rotation: Rotation) -> Result<Self, OutOfBounds> {
        OutOfBounds::check("records", rotation.records, 1, MOST_DATA_KEY_RECORDS)?;
        let shortest = Duration::from_secs(1);
        OutOfBounds::check("age", rotation.age, shortest, LONGEST_DATA_KEY_AGE)?;
        let Renewals { ring, stream, clock, .. } = &*self.renewals;
        let (ring, clock, stream) = (Arc::clone(ring), Arc::clone(clock), stream.clone());
        let renewals = Renewals { ring, stream, clock, rotation, state: Mutex::default() };
        Ok(Self { renewals: Arc::new(renewals) })
    }

    /// Seals a payload that goes into the stream under this partition key, and opens under no
    /// other. Asks the ring only when a data key is used up.
    ///
    /// # Errors
    /// [`SealError::is_transient`] tells whether to try again.
    ///
    /// # Cancel safety
    /// A dropped call, or one that is polled no more, holds up no other: the data key is made
    /// without it.
    pub async fn seal(&self, key: &PartitionKey, data: &[u8]) -> Result<Bytes, SealError> {
        let sealing = self.renewals.take().await?;
        sealing.seal(&self.renewals.stream, key, data)
    }

    /// Seals with the data key at hand. `None` if there is none or it is used up: then one is
    /// made, for later calls.
    ///
    /// # Errors
    /// As [`Sealer::seal`]; for a second after the ring made no data key, that error.
    pub fn try_seal(&self, key: &PartitionKey, data: &[u8]) -> Option<Result<Bytes, SealError>> {
        let sealing = self.renewals.try_take().transpose()?;
        Some(sealing.and_then(|sealing| sealing.seal(&self.renewals.stream, key, data)))
    }
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sealer({}, {:?})", self.renewals.stream, self.renewals.rotation)
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
