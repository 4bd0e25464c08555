//! What is inside a record: several of a producer's records packed into one, and payloads that
//! only holders of a key can read.
//!
//! Invariant: no input makes this crate panic, and none that is not whole passes for one that is.

pub mod aggregate;
#[cfg(feature = "encryption")]
pub mod envelope;
pub mod limits;
pub mod unpack;

pub use aggregate::{AggregateBuilder, BrokenAggregate, Decoded, SubRecord};
#[cfg(feature = "encryption")]
pub use envelope::{KeyRing, LocalKeyRing, Opener, Rotation, Sealer};
pub use unpack::{Foreign, UnpackedSource};

/// The MD5 of a partition key as an unsigned 128-bit number, as Kinesis reads it: the hash key of
/// a record without an explicit one.
pub fn hash_key(partition_key: &str) -> u128 {
    use md5::Digest as _;
    u128::from_be_bytes(md5::Md5::digest(partition_key.as_bytes()).into())
}
