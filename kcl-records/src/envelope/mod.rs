//! Payloads that only holders of a key can read, sealed by the producer and opened by the
//! consumer: AES-256-GCM under a data key, which the envelope carries wrapped by a key ring.
//!
//! A sealed payload (numbers big endian):
//!
//! ```text
//! bytes  what
//! 4      9E 6B 63 6C
//! 1      version: 1
//! 1      algorithm: 1, AES-256-GCM with keys by HKDF-SHA-256
//! 1      length of the key id, 1 to 255
//! ..     id of the key that wrapped the data key (UTF-8)
//! 2      length of the wrapped data key
//! ..     wrapped data key
//! 32     commitment to the data key
//! 12     nonce
//! ..     ciphertext, as long as the payload
//! 16     tag
//! ```
//!
//! What the tag covers besides the payload: everything before the nonce, the stream and the
//! record's partition key. So a payload moved to another stream or another key does not open, and
//! the commitment holds it to a single data key.
//!
//! Invariant: no secret is shown by `Debug`, an error or an event.

mod data_key;
#[cfg(feature = "kms")]
mod kms;
mod local_ring;
mod opener;
mod renewal;
mod ring;
mod sealer;
mod wire;

pub use data_key::DataKey;
#[cfg(feature = "kms")]
pub use kms::KmsKeyRing;
pub use local_ring::{LocalKeyRing, LocalKeyRingError};
pub use opener::{OpenError, Opener};
pub use ring::{KeyRing, KeyRingError, NewKey};
pub use sealer::{Rotation, SealError, Sealer};

/// What a sealed payload begins with. No text in UTF-8 does, nor does an aggregate.
pub const MAGIC: [u8; 4] = [0x9e, b'k', b'c', b'l'];

/// The stream as envelopes know it: its name, also if it is given by ARN, so that a producer may
/// use the one and a consumer the other.
fn stream_name(name_or_arn: &str) -> &str {
    match name_or_arn.split_once(":stream/") {
        Some((before, name)) if before.starts_with("arn:") => name,
        _ => name_or_arn,
    }
}
