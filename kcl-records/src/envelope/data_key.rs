//! Data keys, and what is derived from one.

use aws_lc_rs::aead::{AES_256_GCM, LessSafeKey, UnboundKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use aws_lc_rs::{constant_time, rand};
use zeroize::Zeroizing;

/// Bytes of a data key, of the keys derived from it, and of a commitment.
pub const KEY_BYTES: usize = 32;

/// A key that seals payloads. Its memory is wiped when it is dropped.
#[derive(Clone)]
pub struct DataKey(Zeroizing<[u8; KEY_BYTES]>);

impl DataKey {
    /// A random key; `None` if the system has no randomness to give.
    pub fn random() -> Option<Self> {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        rand::fill(&mut bytes[..]).ok()?;
        Some(Self(bytes))
    }
    /// A key that a key ring unwrapped; `None` unless it has 32 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(|bytes| Self(Zeroizing::new(bytes)))
    }
    /// The secret, for a key ring to wrap.
    pub fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

impl std::fmt::Debug for DataKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DataKey")
    }
}

/// What a data key is used for: one key seals, and a value commits to it, so that no envelope
/// opens under two keys (which AES-GCM alone would allow).
pub struct Derived {
    pub aead: LessSafeKey,
    commitment: [u8; KEY_BYTES],
}

impl Derived {
    pub fn new(key: &DataKey) -> Result<Self, Unspecified> {
        let secret = Salt::new(HKDF_SHA256, b"kcl-records 1").extract(key.as_bytes());
        let mut sealing = Zeroizing::new([0; KEY_BYTES]);
        secret.expand(&[b"seal"], HKDF_SHA256.hmac_algorithm())?.fill(&mut sealing[..])?;
        let mut commitment = [0; KEY_BYTES];
        secret.expand(&[b"commit"], HKDF_SHA256.hmac_algorithm())?.fill(&mut commitment)?;
        let aead = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &sealing[..])?);
        Ok(Self { aead, commitment })
    }
    pub fn commitment(&self) -> &[u8; KEY_BYTES] {
        &self.commitment
    }
    /// True if the envelope was made with this data key. In constant time.
    pub fn is_committed(&self, commitment: &[u8]) -> bool {
        constant_time::verify_slices_are_equal(&self.commitment, commitment).is_ok()
    }
}
