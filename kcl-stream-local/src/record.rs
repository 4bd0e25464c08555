//! Records on their way in.

use bytes::Bytes;
use kcl_core::PartitionKey;
use kcl_core::protocol::SequenceNumber;
use md5::{Digest, Md5};

use crate::error::EngineError;
use crate::limits::{KEY_CHARS, RECORD_OVERHEAD_BYTES};
use crate::sequence::ShardNumber;

/// A record to put.
#[derive(Clone, PartialEq, Eq)]
pub struct NewRecord {
    /// 1 to 256 characters; its MD5 picks the shard.
    pub partition_key: PartitionKey,
    /// The payload. The engine keeps a copy.
    pub data: Bytes,
    /// Picks the shard in place of the key's MD5.
    pub explicit_hash_key: Option<u128>,
}

/// A record to put whose bytes are somebody else's: the engine copies them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RecordRef<'a> {
    /// 1 to 256 characters; its MD5 picks the shard.
    pub partition_key: &'a str,
    /// The payload.
    pub data: &'a [u8],
    /// Picks the shard in place of the key's MD5.
    pub explicit_hash_key: Option<u128>,
}

impl RecordRef<'_> {
    /// Where the record belongs: the explicit hash key, else the MD5 of the partition key.
    pub fn hash_key(&self) -> u128 {
        self.explicit_hash_key.unwrap_or_else(|| hash_key(self.partition_key))
    }

    /// Bytes of data and key: what limits count.
    pub fn size_bytes(&self) -> usize {
        self.data.len() + self.partition_key.len()
    }

    /// Bytes counted against the stream's memory.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.size_bytes() as u64 + RECORD_OVERHEAD_BYTES
    }

    pub(crate) fn validate(&self, max_record_bytes: usize) -> Result<(), EngineError> {
        let key = self.partition_key;
        // The byte length is a cheap upper bound of the character count.
        if key.is_empty() || (key.len() > KEY_CHARS && key.chars().count() > KEY_CHARS) {
            return Err(EngineError::InvalidArgument(format!(
                "a partition key has 1 to {KEY_CHARS} characters, this one {}",
                key.chars().count()
            )));
        }
        let size = self.size_bytes();
        if size > max_record_bytes {
            return Err(EngineError::InvalidArgument(format!(
                "a record of {size} bytes (data and key) is above the stream's {max_record_bytes}: \
                 split it, or raise max_record_bytes (up to 10 MiB)"
            )));
        }
        Ok(())
    }
}

impl NewRecord {
    /// The record without its bytes.
    pub fn as_ref(&self) -> RecordRef<'_> {
        RecordRef {
            partition_key: self.partition_key.as_str(),
            data: &self.data,
            explicit_hash_key: self.explicit_hash_key,
        }
    }

    /// A record whose key picks the shard.
    pub fn new(partition_key: impl Into<PartitionKey>, data: impl Into<Bytes>) -> Self {
        Self { partition_key: partition_key.into(), data: data.into(), explicit_hash_key: None }
    }

    /// The same record, put where this hash key belongs.
    pub fn with_hash_key(self, hash_key: u128) -> Self {
        Self { explicit_hash_key: Some(hash_key), ..self }
    }

    /// Where the record belongs: the explicit hash key, else the MD5 of the partition key.
    pub fn hash_key(&self) -> u128 {
        self.as_ref().hash_key()
    }

    /// Bytes of data and key: what limits count.
    pub fn size_bytes(&self) -> usize {
        self.data.len() + self.partition_key.len()
    }

    pub(crate) fn validate(&self, max_record_bytes: usize) -> Result<(), EngineError> {
        self.as_ref().validate(max_record_bytes)
    }
}

impl std::fmt::Debug for NewRecord {
    /// Leaves payload and key out: neither belongs in a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NewRecord({} bytes)", self.data.len())
    }
}

impl std::fmt::Debug for RecordRef<'_> {
    /// Leaves payload and key out: neither belongs in a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RecordRef({} bytes)", self.data.len())
    }
}

/// Where a record went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PutReceipt {
    /// The shard that took it.
    pub shard: ShardNumber,
    /// Its place there.
    pub sequence: SequenceNumber,
}

/// The MD5 of a partition key as an unsigned 128-bit number, as Kinesis reads it.
pub fn hash_key(partition_key: &str) -> u128 {
    u128::from_be_bytes(Md5::digest(partition_key.as_bytes()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_key_is_the_md5_read_big_endian() {
        // MD5("a") = 0cc175b9c0f1b6a831c399e269772661
        assert_eq!(hash_key("a"), 0x0cc1_75b9_c0f1_b6a8_31c3_99e2_6977_2661);
        assert_eq!(NewRecord::new("a", "x").with_hash_key(7).hash_key(), 7);
    }

    #[test]
    fn a_key_is_counted_in_characters() {
        assert!(NewRecord::new("é".repeat(256), "").validate(1 << 20).is_ok());
        assert!(NewRecord::new("é".repeat(257), "").validate(1 << 20).is_err());
        assert!(NewRecord::new("", "x").validate(1 << 20).is_err());
    }

    #[test]
    fn a_record_may_be_as_large_as_the_stream_says_with_its_key() {
        assert!(NewRecord::new("k", vec![0; 99]).validate(100).is_ok());
        assert!(NewRecord::new("k", vec![0; 100]).validate(100).is_err());
    }
}
