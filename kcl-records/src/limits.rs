//! Every number of this crate, with its unit and source.

#[cfg(feature = "encryption")]
use std::time::Duration;

/// Sub-records one aggregate may hold. A record of 1 MiB has room for 174,762 of the smallest;
/// a larger one that holds more is no honest aggregate, and would take memory many times its size.
pub const SUB_RECORDS: usize = 262_144;

/// Payloads sealed with one data key, unless told otherwise.
#[cfg(feature = "encryption")]
pub const DATA_KEY_RECORDS: u64 = 1 << 20;
/// The most: with random nonces of 96 bits, 2^32 payloads keep the chance that any two share one
/// below 2^-32 (NIST SP 800-38D, 8.3).
#[cfg(feature = "encryption")]
pub const MOST_DATA_KEY_RECORDS: u64 = 1 << 32;
/// How long a data key seals, unless told otherwise.
#[cfg(feature = "encryption")]
pub const DATA_KEY_AGE: Duration = Duration::from_secs(3600);
/// The longest.
#[cfg(feature = "encryption")]
pub const LONGEST_DATA_KEY_AGE: Duration = Duration::from_secs(24 * 3600);
/// How long a key ring may take for a data key: all who share the sealer wait for it.
#[cfg(feature = "encryption")]
pub const LONGEST_RENEWAL: Duration = Duration::from_secs(30);
/// How long a key ring that made no data key is not asked by those who do not wait for it.
#[cfg(feature = "encryption")]
pub const RENEWAL_PAUSE: Duration = Duration::from_secs(1);
/// How long KMS may take for a data key, repeats included, unless the client says otherwise.
#[cfg(feature = "kms")]
pub const KMS_TIMEOUT: Duration = Duration::from_secs(10);
/// Unwrapped data keys a reader keeps: a few per producer that runs, and per hour of a replay.
#[cfg(feature = "encryption")]
pub const OPENED_DATA_KEYS: usize = 1000;
/// How long a reader keeps one: a key ring that takes a key back is heard by then.
#[cfg(feature = "encryption")]
pub const OPENED_KEY_AGE: Duration = Duration::from_secs(3600);
/// Bytes of a key ring's file that are read; several thousand keys.
#[cfg(feature = "encryption")]
pub const KEY_FILE_BYTES: usize = 1 << 20;
