//! Records on their way in.

use bytes::Bytes;
use kcl_core::PartitionKey;
use kcl_records::hash_key;

use crate::fate::NotAccepted;
use crate::limits::KEY_CHARS;

/// A record to put.
#[derive(Clone, PartialEq, Eq)]
pub struct NewRecord {
    /// 1 to 256 characters; its MD5 picks the shard.
    pub partition_key: PartitionKey,
    /// The payload. Kept as it is: a slice of a larger buffer keeps that buffer alive.
    pub data: Bytes,
    /// Picks the shard in place of the key's MD5.
    pub explicit_hash_key: Option<u128>,
}

impl NewRecord {
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
        self.explicit_hash_key.unwrap_or_else(|| hash_key(self.partition_key.as_str()))
    }

    /// Bytes of data and key: what limits count.
    pub fn size_bytes(&self) -> usize {
        self.data.len() + self.partition_key.as_str().len()
    }

    /// Holds key and size against the rules of a stream.
    ///
    /// # Errors
    /// `Invalid`: a wrong key, or more than `record_bytes` of data and key.
    pub fn validate(&self, record_bytes: usize) -> Result<(), NotAccepted> {
        validate_record(self.partition_key.as_str(), self.size_bytes(), record_bytes)
    }
}

/// Holds a partition key, and the bytes of it and its data, against the rules of a stream.
///
/// # Errors
/// `Invalid`: a wrong key, or more than `record_bytes` of data and key.
pub fn validate_record(
    key: &str,
    size_bytes: usize,
    record_bytes: usize,
) -> Result<(), NotAccepted> {
    // The byte length is a cheap upper bound of the character count.
    if key.is_empty() || (key.len() > KEY_CHARS && key.chars().count() > KEY_CHARS) {
        return Err(NotAccepted::Invalid(format!(
            "a partition key has 1 to {KEY_CHARS} characters, this one {}",
            key.chars().count()
        )));
    }
    if size_bytes > record_bytes {
        return Err(NotAccepted::Invalid(format!(
            "a record of {size_bytes} bytes (data and key) is above the stream's {record_bytes}: \
             split it, or raise the stream's limit (UpdateMaxRecordSize; in Rust \
             max_record_bytes), up to 10 MiB"
        )));
    }
    Ok(())
}

impl std::fmt::Debug for NewRecord {
    /// Leaves payload and key out: neither belongs in a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NewRecord({} bytes)", self.data.len())
    }
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
        let refused = NewRecord::new("k", vec![0; 100]).validate(100).unwrap_err().to_string();
        assert!(refused.contains("UpdateMaxRecordSize"), "{refused}");
    }
}
