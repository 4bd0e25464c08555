//! Records on their way in.

use kcl_core::protocol::SequenceNumber;
use kcl_producer::validate_record;
pub use kcl_producer::{NewRecord, hash_key};

use crate::error::EngineError;
use crate::limits::RECORD_OVERHEAD_BYTES;
use crate::sequence::ShardNumber;

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
        let checked = validate_record(self.partition_key, self.size_bytes(), max_record_bytes);
        checked.map_err(|refusal| EngineError::InvalidArgument(refusal.to_string()))
    }
}

impl<'a> From<&'a NewRecord> for RecordRef<'a> {
    fn from(record: &'a NewRecord) -> Self {
        Self {
            partition_key: record.partition_key.as_str(),
            data: &record.data,
            explicit_hash_key: record.explicit_hash_key,
        }
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
