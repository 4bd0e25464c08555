//! Who keeps the keys that wrap data keys.

use async_trait::async_trait;

use super::DataKey;

/// Makes data keys and unwraps them again.
///
/// `stream` is the name of the stream the data key is for: a ring binds the wrapped key to it, so
/// that it unwraps for no other.
#[async_trait]
pub trait KeyRing: Send + Sync + 'static {
    /// A new data key, and the same wrapped.
    ///
    /// # Errors
    /// [`KeyRingError::Unavailable`]: again later.
    ///
    /// # Cancel safety
    /// A dropped call costs a key that nobody uses.
    async fn generate(&self, stream: &str) -> Result<NewKey, KeyRingError>;

    /// Unwraps a data key.
    ///
    /// # Errors
    /// [`KeyRingError::Unavailable`]: again later. [`KeyRingError::UnknownKey`] and
    /// [`KeyRingError::Refused`]: not with this ring.
    async fn unwrap(
        &self,
        key_id: &str,
        wrapped: &[u8],
        stream: &str,
    ) -> Result<DataKey, KeyRingError>;
}

/// A data key as a ring made it.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// The id of the key that wrapped it: 1 to 255 bytes, readable by anybody.
    pub key_id: String,
    /// The wrapped key: up to 65,535 bytes, readable by anybody.
    pub wrapped: Vec<u8>,
    /// The key itself.
    pub key: DataKey,
}

/// Why a ring did not do it. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyRingError {
    /// It cannot be reached, or is busy: try again.
    #[error("the key ring is unavailable: {0}")]
    Unavailable(String),
    /// It has no key of this id: give it the key.
    #[error("the key ring has no key {0:?}")]
    UnknownKey(String),
    /// It has the key, and this was not wrapped by it, or not for this stream; or it may not be
    /// used.
    #[error("the key ring refused: {0}")]
    Refused(String),
}
