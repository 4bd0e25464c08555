//! What can go wrong, named as Kinesis names it.

use std::time::Duration;

use kcl_core::SourceError;
use kcl_core::protocol::{ShardId, StreamName};

use crate::sequence::ShardNumber;
use crate::store::StoreError;

/// Why an operation was refused. Nothing was changed, but for what `ShardStopped` says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// There is no such stream, or it was deleted.
    #[error("stream {0} was not found: create it, or check the name")]
    StreamNotFound(StreamName),
    /// The stream has no such shard, or no longer.
    #[error("shard {shard} was not found in stream {stream}: list its shards again")]
    ShardNotFound {
        /// The stream.
        stream: StreamName,
        /// The shard as it was asked for.
        shard: ShardId,
    },
    /// A stream of this name exists.
    #[error("stream {0} exists already: delete it first, or use it")]
    StreamExists(StreamName),
    /// The request is wrong, and will be next time.
    #[error("{0}")]
    InvalidArgument(String),
    /// The request asks for more than the engine allows.
    #[error("{0}")]
    LimitExceeded(String),
    /// The shard's rate is used up: try again later, or split the shard.
    #[error(
        "rate exceeded for shard {shard} in stream {stream}: retry after {retry_after:?}, or split \
         the shard, or create the stream unlimited"
    )]
    ProvisionedThroughputExceeded {
        /// The stream.
        stream: StreamName,
        /// The shard.
        shard: ShardNumber,
        /// When it is worth trying again, unless others are faster.
        retry_after: Duration,
    },
    /// The stream's memory is full of unexpired records.
    #[error(
        "stream {stream} is full: its {memory_bytes} bytes of memory hold unexpired records; raise \
         memory_bytes or shorten the retention"
    )]
    StreamFull {
        /// The stream.
        stream: StreamName,
        /// Its bound.
        memory_bytes: u64,
    },
    /// The iterator is older than five minutes.
    #[error("the iterator expired {0} ms ago: get a new one after the last record")]
    ExpiredIterator(u64),
    /// The shard takes no more records since a write to the store failed. Records that were put
    /// when it failed may be there once the stream is opened again; no later one is.
    #[error(
        "shard {shard} of stream {stream} takes no more records: a write to the disk failed (the \
         log says why); what is acknowledged can be read; free or replace the disk, then start \
         again"
    )]
    ShardStopped {
        /// The stream.
        stream: StreamName,
        /// The shard.
        shard: ShardNumber,
    },
    /// The store failed.
    #[error("{0}")]
    Store(#[from] StoreError),
}

impl EngineError {
    /// The error's name in the Kinesis API. A full stream, which Kinesis does not know, is
    /// `InternalFailure`: of the names that puts may answer the one of a service in trouble, which
    /// clients try again. A throttle would have them slow down or split shards, and neither helps.
    pub fn kinesis_name(&self) -> &'static str {
        match self {
            Self::StreamNotFound(_) | Self::ShardNotFound { .. } => "ResourceNotFoundException",
            Self::StreamExists(_) => "ResourceInUseException",
            Self::InvalidArgument(_) => "InvalidArgumentException",
            Self::LimitExceeded(_) => "LimitExceededException",
            Self::ProvisionedThroughputExceeded { .. } => "ProvisionedThroughputExceededException",
            Self::ExpiredIterator(_) => "ExpiredIteratorException",
            Self::StreamFull { .. } | Self::ShardStopped { .. } | Self::Store(_) => {
                "InternalFailure"
            }
        }
    }

    /// True if the same request may succeed later.
    pub fn is_throttle(&self) -> bool {
        matches!(self, Self::ProvisionedThroughputExceeded { .. })
    }
}

impl From<EngineError> for SourceError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::StreamNotFound(stream) => Self::NotFound(format!("stream {stream}")),
            EngineError::ShardNotFound { stream, shard } => {
                Self::NotFound(format!("shard {shard} of stream {stream}"))
            }
            EngineError::ProvisionedThroughputExceeded { retry_after, .. } => {
                Self::Throttled { retry_after }
            }
            EngineError::ExpiredIterator(_) => Self::Expired,
            other => Self::Refused(other.to_string()),
        }
    }
}

/// Why one record of a put of many was refused; the others are not affected, except later ones of
/// the same shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PutError {
    /// The shard's rate is used up: put the record again later.
    #[error("ProvisionedThroughputExceeded: rate exceeded for shard {shard}")]
    Throttled {
        /// The shard.
        shard: ShardNumber,
        /// When it is worth trying again, unless others are faster.
        retry_after: Duration,
    },
    /// The stream's memory is full of unexpired records.
    #[error("the stream is full: its {memory_bytes} bytes of memory hold unexpired records")]
    StreamFull {
        /// The stream's bound.
        memory_bytes: u64,
    },
    /// The shard takes no more records: see [`EngineError::ShardStopped`].
    #[error("shard {shard} takes no more records: a write to the disk failed")]
    Stopped {
        /// The shard.
        shard: ShardNumber,
    },
}

impl PutError {
    pub(crate) fn of_stream(self, stream: &StreamName) -> EngineError {
        let stream = stream.clone();
        match self {
            Self::Throttled { shard, retry_after } => {
                EngineError::ProvisionedThroughputExceeded { stream, shard, retry_after }
            }
            Self::StreamFull { memory_bytes } => EngineError::StreamFull { stream, memory_bytes },
            Self::Stopped { shard } => EngineError::ShardStopped { stream, shard },
        }
    }
}
