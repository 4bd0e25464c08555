//! Where records go: the one trait to write for another stream.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use kcl_core::protocol::{SequenceNumber, ShardId};
use kcl_core::{PartitionKey, Shard};

use crate::limits::{LINGER, RECORD_BYTES, REQUEST_BYTES, REQUEST_RECORDS};

/// A stream that takes records.
///
/// Every implementation passes the suite in `kcl_testkit::conformance`.
#[async_trait]
pub trait PutSink: Send + Sync + 'static {
    /// What one request and one record may hold, and what is kept in order.
    fn limits(&self) -> SinkLimits {
        SinkLimits::default()
    }

    /// Open and closed shards with their hash keys. Aggregates are made for the open ones; closed
    /// ones are needed only if an aggregate may still come into them. May lag behind the stream.
    ///
    /// # Errors
    /// As for [`PutSink::put_records`]; the producer goes on without aggregates, and asks again.
    async fn list_shards(&self) -> Result<Vec<Shard>, SinkError>;

    /// Puts records, within the limits: for each, in the order given, what became of it. Retries
    /// nothing by itself, and answers at some time: a sink over a network needs a timeout.
    ///
    /// # Errors
    /// What became of the whole request.
    ///
    /// # Cancel safety
    /// If the future is dropped any of the records may have been put.
    async fn put_records(&self, records: Vec<SinkRecord>) -> Result<Vec<Outcome>, SinkError>;
}

/// What became of one record of a request.
pub type Outcome = Result<Placed, Refusal>;

/// A record as the stream takes it: one record of a user, or an aggregate of several.
#[derive(Clone, PartialEq, Eq)]
pub struct SinkRecord {
    /// Of an aggregate, the key of its first record.
    pub partition_key: PartitionKey,
    /// Picks the shard in place of the key's MD5. Aggregates always have one.
    pub explicit_hash_key: Option<u128>,
    /// The explicit hash key, or the MD5 of the partition key.
    pub hash_key: u128,
    /// The payload.
    pub data: Bytes,
}

impl SinkRecord {
    /// Bytes of data and key: what limits count.
    pub fn size_bytes(&self) -> usize {
        self.data.len() + self.partition_key.as_str().len()
    }
}

impl std::fmt::Debug for SinkRecord {
    /// Leaves payload and key out: neither belongs in a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SinkRecord({} bytes)", self.data.len())
    }
}

/// What a sink takes, and what suits it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SinkLimits {
    /// Records of one request.
    pub request_records: usize,
    /// Bytes of data and keys of one request.
    pub request_bytes: usize,
    /// Bytes of data and key of one record.
    pub record_bytes: usize,
    /// The order within a request.
    pub order: SinkOrder,
    /// How long a record had better wait for others to share its request.
    pub linger: Duration,
}

impl Default for SinkLimits {
    /// Those of Kinesis.
    fn default() -> Self {
        Self {
            request_records: REQUEST_RECORDS,
            request_bytes: REQUEST_BYTES,
            record_bytes: RECORD_BYTES,
            order: SinkOrder::None,
            linger: LINGER,
        }
    }
}

/// The order in which the records of one request reach their shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinkOrder {
    /// Any, and any of them may be refused, as in Kinesis.
    None,
    /// Records of one shard are taken in the order given; once one is refused, so are the later
    /// ones of its shard.
    WithinShard,
}

/// Where the stream put a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The shard that took it.
    pub shard: ShardId,
    /// Its place there.
    pub sequence: SequenceNumber,
}

/// Why one record has no place. But for `Unknown` it is not in the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The shard's rate is used up: again later.
    Throttled(String),
    /// Not now for another reason: again later.
    NotNow(String),
    /// It will be refused the next time too.
    Never(String),
    /// It may be in the stream or not, whatever became of the others of its request.
    Unknown(String),
}

impl Refusal {
    /// The sink's words.
    pub fn why(&self) -> &str {
        match self {
            Self::Throttled(why) | Self::NotNow(why) | Self::Never(why) | Self::Unknown(why) => why,
        }
    }
}

/// Why a whole request failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SinkError {
    /// None of its records is in the stream: again later.
    #[error("the stream took nothing for now: {0}")]
    NotNow(String),
    /// The reply was lost: each of its records may be in the stream or not.
    #[error("the reply was lost, and records may be in the stream: {0}")]
    Unknown(String),
    /// None of its records is in the stream, since one or more of them break its rules; which, is
    /// not told. The others may go without them.
    #[error("refused for a record in it: {0}")]
    Invalid(String),
    /// None of its records is in the stream, and no request will do better until somebody mends
    /// what is said: there is no such stream, or no permission.
    #[error("refused: {0}")]
    Never(String),
}
