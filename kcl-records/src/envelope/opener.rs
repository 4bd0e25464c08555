//! The consumer's side.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use aws_lc_rs::aead::{Aad, Nonce};
use bytes::{Bytes, BytesMut};
use kcl_core::{Clock, PartitionKey};
use kcl_protocol::Moment;

use super::data_key::Derived;
use super::ring::{KeyRing, KeyRingError};
use super::stream_name;
use super::wire::{self, Envelope, NoEnvelope};
use crate::limits::{OPENED_DATA_KEYS, OPENED_KEY_AGE};

/// Opens payloads of one stream. Keeps unwrapped data keys for an hour, at most 1,000 of them.
pub struct Opener {
    ring: Arc<dyn KeyRing>,
    stream: String,
    clock: Arc<dyn Clock>,
    passes_plain: bool,
    keys: Mutex<Keys>,
    /// Headers whose data keys are being unwrapped.
    turns: Mutex<HashMap<Vec<u8>, Weak<Turn>>>,
}

/// One asks the ring, all who wait hear what it said; nothing yet if the one who asked was dropped.
type Turn = tokio::sync::Mutex<Option<Result<Arc<Derived>, OpenError>>>;

/// Data keys that were unwrapped, by the header of their envelopes.
#[derive(Default)]
struct Keys {
    known: HashMap<Vec<u8>, Known>,
    uses: u64,
}

struct Known {
    derived: Arc<Derived>,
    until: Moment,
    used: u64,
}

/// Why a payload was not opened. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It does not begin like an envelope. To read records from before sealing was switched on,
    /// let plain ones pass.
    #[error("the payload is not sealed")]
    NotSealed,
    /// A version or algorithm that this library does not know.
    #[error("the payload is sealed by version {version}, algorithm {algorithm}: not known here")]
    Version {
        /// The version.
        version: u8,
        /// The algorithm.
        algorithm: u8,
    },
    /// Cut short.
    #[error("the envelope is cut short or garbled at {0}")]
    Malformed(&'static str),
    /// The ring gave no data key.
    #[error("no data key to open the payload with: {0}")]
    Ring(#[from] KeyRingError),
    /// The ring gave a data key, and it is another one.
    #[error("the payload was not sealed with the data key it names")]
    OtherKey,
    /// Changed, or sealed for another stream or partition key.
    #[error("the payload was changed, or sealed for another stream or partition key")]
    Changed,
}

impl OpenError {
    /// True if it may work later. All else is for the error policy.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Ring(KeyRingError::Unavailable(_)))
    }
}

impl From<NoEnvelope> for OpenError {
    fn from(no: NoEnvelope) -> Self {
        match no {
            NoEnvelope::NotSealed => Self::NotSealed,
            NoEnvelope::Version(version, algorithm) => Self::Version { version, algorithm },
            NoEnvelope::Malformed(at) => Self::Malformed(at),
        }
    }
}

impl Opener {
    /// An opener for this stream (name or ARN) that asks the ring to unwrap data keys. It refuses
    /// payloads that are not sealed: anybody may have put them.
    pub fn new(ring: Arc<dyn KeyRing>, stream: &str, clock: Arc<dyn Clock>) -> Self {
        let (stream, keys) = (stream_name(stream).to_owned(), Mutex::default());
        Self { ring, stream, clock, passes_plain: false, keys, turns: Mutex::default() }
    }

    /// Whether payloads that are not sealed pass as they are. For a stream whose producers are
    /// being switched over; from then on, for nobody.
    pub fn plain_passes(mut self, passes: bool) -> Self {
        self.passes_plain = passes;
        self
    }

    /// Opens the payload of a record with this partition key.
    ///
    /// # Errors
    /// [`OpenError::is_transient`] tells whether to try again.
    ///
    /// # Cancel safety
    /// Dropping the call changes nothing.
    pub async fn open(&self, key: &PartitionKey, data: &Bytes) -> Result<Bytes, OpenError> {
        if let Some(opened) = self.try_open(key, data) {
            return opened;
        }
        let envelope = Envelope::split(data)?;
        let turn = self.turn(envelope.header);
        // Held over the request: many shards meet a new data key at once, and one asks for all.
        let mut answer = turn.lock().await;
        let derived = match &*answer {
            Some(answer) => answer.clone()?,
            None => answer.insert(self.unwrap(&envelope).await).clone()?,
        };
        drop(answer);
        self.unseal(&derived, &envelope, key)
    }

    async fn unwrap(&self, envelope: &Envelope<'_>) -> Result<Arc<Derived>, OpenError> {
        let unwrapped = self.ring.unwrap(envelope.key_id, envelope.wrapped, &self.stream).await?;
        let derived = Derived::new(&unwrapped).map_err(|_| OpenError::OtherKey)?;
        if !derived.is_committed(envelope.commitment) {
            return Err(OpenError::OtherKey);
        }
        let derived = Arc::new(derived);
        self.keep(envelope.header, Arc::clone(&derived));
        Ok(derived)
    }

    /// The turn of whoever unwraps the data key of this header; it ends with the last who waits.
    fn turn(&self, header: &[u8]) -> Arc<Turn> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| turn.strong_count() > 0);
        if let Some(turn) = turns.get(header).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::new(Turn::default());
        turns.insert(header.to_vec(), Arc::downgrade(&turn));
        turn
    }

    /// Opens with what is at hand; `None` if the data key must be unwrapped by [`Opener::open`].
    pub fn try_open(&self, key: &PartitionKey, data: &Bytes) -> Option<Result<Bytes, OpenError>> {
        let envelope = match Envelope::split(data) {
            Ok(envelope) => envelope,
            Err(NoEnvelope::NotSealed) if self.passes_plain => return Some(Ok(data.clone())),
            Err(no) => return Some(Err(no.into())),
        };
        let derived = self.known(envelope.header)?;
        Some(self.unseal(&derived, &envelope, key))
    }

    fn unseal(
        &self,
        derived: &Derived,
        envelope: &Envelope<'_>,
        key: &PartitionKey,
    ) -> Result<Bytes, OpenError> {
        let covered = wire::covered(envelope.header, &self.stream, key.as_str());
        let (nonce, covered) = (Nonce::assume_unique_for_key(envelope.nonce), Aad::from(covered));
        let mut payload = BytesMut::zeroed(envelope.ciphertext.len());
        let (ciphertext, tag) = (envelope.ciphertext, envelope.tag);
        derived
            .aead
            .open_separate_gather(nonce, covered, ciphertext, tag, &mut payload)
            .map_err(|_| OpenError::Changed)?;
        Ok(payload.freeze())
    }

    /// The header holds the commitment, which was checked before it was kept.
    fn known(&self, header: &[u8]) -> Option<Arc<Derived>> {
        let now = self.clock.monotonic();
        let mut keys = self.keys();
        keys.uses += 1;
        let uses = keys.uses;
        let known = keys.known.get_mut(header).filter(|known| now < known.until)?;
        known.used = uses;
        Some(Arc::clone(&known.derived))
    }

    fn keep(&self, header: &[u8], derived: Arc<Derived>) {
        let until = self.clock.monotonic() + OPENED_KEY_AGE;
        let mut keys = self.keys();
        if keys.known.len() >= OPENED_DATA_KEYS && !keys.known.contains_key(header) {
            let oldest = keys.known.iter().min_by_key(|(_, known)| known.used);
            if let Some(oldest) = oldest.map(|(header, _)| header.clone()) {
                keys.known.remove(&oldest);
            }
        }
        let used = keys.uses;
        keys.known.insert(header.to_vec(), Known { derived, until, used });
    }

    fn keys(&self) -> MutexGuard<'_, Keys> {
        // A cache: whatever a panic leaves is still right.
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Opener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Opener({}, {} data keys)", self.stream, self.keys().known.len())
    }
}
