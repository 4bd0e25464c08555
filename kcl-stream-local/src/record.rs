//! Records on their way in.

use kcl_core::protocol::SequenceNumber;
pub use kcl_producer::{NewRecord, hash_key};

use crate::error::EngineError;
use crate::limits::RECORD_OVERHEAD_BYTES;
use crate::sequence::ShardNumber;

/// Bytes counted against the stream's memory.
pub(crate) fn memory_bytes(record: &NewRecord) -> u64 {
    record.size_bytes() as u64 + RECORD_OVERHEAD_BYTES
}

pub(crate) fn validate(record: &NewRecord, max_record_bytes: usize) -> Result<(), EngineError> {
    let checked = record.validate(max_record_bytes);
    checked.map_err(|refusal| EngineError::InvalidArgument(refusal.to_string()))
}

/// Where a record went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PutReceipt {
    /// The shard that took it.
    pub shard: ShardNumber,
    /// Its place there.
    pub sequence: SequenceNumber,
}
