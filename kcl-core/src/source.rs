//! Streams: where records come from.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Add;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use kcl_protocol::{Checkpoint, HashKeyRange, Position, SequenceNumber, ShardId, StreamName};

/// The key a producer gave a record: 1 to 256 characters; equal keys go to one shard, in order.
/// Cloning shares its bytes.
///
/// Invariant: the bytes are UTF-8.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionKey(Bytes);

impl PartitionKey {
    /// The key in these bytes, which it shares.
    ///
    /// # Errors
    /// They are no UTF-8.
    pub fn from_utf8(bytes: Bytes) -> Result<Self, std::str::Utf8Error> {
        std::str::from_utf8(&bytes)?;
        Ok(Self(bytes))
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        // Checked when it was made; to check a short text again is cheap.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Bytes of the text.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True for the empty text, which no stream takes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<String> for PartitionKey {
    fn from(key: String) -> Self {
        Self(key.into())
    }
}

impl From<&str> for PartitionKey {
    fn from(key: &str) -> Self {
        Self(Bytes::copy_from_slice(key.as_bytes()))
    }
}

impl From<Arc<str>> for PartitionKey {
    fn from(key: Arc<str>) -> Self {
        Self::from(&*key)
    }
}

impl fmt::Debug for PartitionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for PartitionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One record. Cloning shares its bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// Its place in the shard.
    pub position: Position,
    /// The producer's key.
    pub partition_key: PartitionKey,
    /// The payload, up to 10 MiB.
    pub data: Bytes,
    /// When the stream took it (Unix milliseconds).
    pub arrival_millis: u64,
    /// Set if its bytes could not be opened; `data` then holds them as the stream has them. Such
    /// a record is never delivered: what stands before it is, and then the error policy is asked
    /// as if the processor had failed at it. Small, so that a readable record is not made larger.
    pub unreadable: Option<Arc<Unreadable>>,
}

impl Record {
    /// Bytes of data and key, as read limits and budgets count them.
    pub fn size_bytes(&self) -> usize {
        self.data.len() + self.partition_key.len()
    }
}

impl fmt::Debug for Record {
    /// Leaves payload and key out: neither belongs in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unreadable = if self.unreadable.is_some() { ", unreadable" } else { "" };
        write!(f, "Record({}, {} bytes{unreadable})", self.position, self.data.len())
    }
}

/// Why a record's bytes could not be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// For people; goes into events, the lease row and dead letters. Holds nothing of the payload.
    pub reason: String,
}

/// What a stream says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamDescription {
    /// Its name or ARN: the same however the source came by the stream, since its row goes by it.
    pub name: StreamName,
    /// What stands before the shard id in lease keys when one application reads several streams:
    /// `account:stream:createdAt`.
    pub lease_prefix: String,
    /// When it was created (Unix milliseconds). A stream deleted and made again is another one.
    pub created_at_millis: u64,
    /// The service's own time (Unix milliseconds), by which "latest" is fixed where shards have
    /// no known tip.
    pub service_time_millis: u64,
}

/// One shard as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Its id.
    pub id: ShardId,
    /// The shards it came from, also if they are no longer listed.
    pub parents: BTreeSet<ShardId>,
    /// The hash keys whose records it takes or took.
    pub range: HashKeyRange,
    /// True while it takes records.
    pub is_open: bool,
    /// The last sequence number it has given out, where the stream can tell.
    pub tip: Option<SequenceNumber>,
}

/// Where a reader starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadFrom {
    /// The oldest record retained.
    TrimHorizon,
    /// Records that arrive after the reader opened.
    Latest,
    /// This record and all after it.
    At(SequenceNumber),
    /// The first record (or sub-record) after this position. A source that gives several records
    /// with one sequence number goes on within them: `sequence/0` is followed by `sequence/1`.
    After(Position),
    /// The first record that arrived at or after this time (Unix milliseconds).
    AtTimestamp(u64),
}

impl ReadFrom {
    /// Where the work of a lease goes on; `None` once its shard is finished.
    pub fn checkpoint(checkpoint: Checkpoint) -> Option<Self> {
        Some(match checkpoint {
            Checkpoint::TrimHorizon => Self::TrimHorizon,
            Checkpoint::Latest => Self::Latest,
            Checkpoint::AtTimestamp(millis) => Self::AtTimestamp(millis),
            Checkpoint::At(position) => Self::After(position),
            Checkpoint::ShardEnd => return None,
        })
    }
}

/// An amount of records: the most one read may return, or what a reader holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimit {
    /// Records.
    pub records: usize,
    /// Bytes of data and keys; a single larger record is returned alone.
    pub bytes: usize,
}

impl ReadLimit {
    /// What a reader without records holds. (As a limit it lets one record through, as any does.)
    pub const NOTHING: Self = Self { records: 0, bytes: 0 };
}

impl Add for ReadLimit {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { records: self.records + other.records, bytes: self.bytes + other.bytes }
    }
}

/// What one read brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadOutcome {
    /// At least one record, in order.
    Records {
        /// The records.
        records: Vec<Record>,
        /// How far the last of them is behind the tip (milliseconds); 0 at the tip.
        behind_millis: u64,
    },
    /// Nothing more for now: the reader stands at the tip. The next call waits for a record.
    CaughtUp,
    /// The shard is closed and every record was returned. Every later call says the same.
    ShardEnd {
        /// The shards that follow.
        children: Vec<ChildShard>,
    },
}

/// A shard that follows one that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildShard {
    /// Its id.
    pub id: ShardId,
    /// All its parents: one after a split, two after a merge.
    pub parents: BTreeSet<ShardId>,
    /// The hash keys whose records it takes.
    pub range: HashKeyRange,
}

/// A stream of records in shards.
///
/// A worker that starts describes it, and lists it to fix what `Latest` means: after `Throttled` or
/// `Unavailable` it asks again, for ever, and anything else ends it with
/// [`WorkerError::Source`](crate::WorkerError::Source). Later it asks again whatever the error,
/// after waits that grow from a third of the lease duration to eight times that, and tells of each
/// (`EventKind::SyncFailed`).
///
/// Every implementation passes the suite in `kcl_testkit::conformance`.
#[async_trait]
pub trait StreamSource: Send + Sync + 'static {
    /// What the stream says of itself, now.
    ///
    /// # Errors
    /// [`SourceError::NotFound`] if there is no such stream; [`SourceError::Throttled`]
    /// and [`SourceError::Unavailable`] for now.
    async fn describe(&self) -> Result<StreamDescription, SourceError>;

    /// Every shard that still has records or takes them, in the order of ids, parents first.
    ///
    /// # Errors
    /// [`SourceError::NotFound`] if there is no such stream; [`SourceError::Throttled`]
    /// and [`SourceError::Unavailable`] for now.
    async fn list_shards(&self) -> Result<Vec<Shard>, SourceError>;

    /// Opens a shard. Any number of readers may be open on one shard; where only one at a time is
    /// served, the last to ask is, and the others get [`SourceError::Throttled`] until they ask
    /// again. So a worker opens a shard late: when it holds the lease, which is after the worker
    /// before has let go of its reader.
    ///
    /// # Errors
    /// [`SourceError::NotFound`] if the shard is not, or no longer, part of the stream;
    /// [`SourceError::Throttled`] and [`SourceError::Unavailable`] for now.
    async fn open(
        &self,
        shard: &ShardId,
        from: ReadFrom,
    ) -> Result<Box<dyn ShardReader>, SourceError>;
}

/// Reads one shard in order.
#[async_trait]
pub trait ShardReader: Send {
    /// The next records. Answers [`ReadOutcome::CaughtUp`] once on reaching the tip; called again
    /// it waits until there is something to say. How long it waits is up to the source, and it may
    /// answer `CaughtUp` again.
    ///
    /// # Errors
    /// [`SourceError::Throttled`] and [`SourceError::Unavailable`] leave the reader where it was:
    /// call again. After any other error open a new one.
    ///
    /// # Cancel safety
    /// Dropping the future loses no record: the next call returns it.
    async fn next(&mut self, limit: ReadLimit) -> Result<ReadOutcome, SourceError>;

    /// What it has in memory and has not returned yet: an answer larger than the limit, say. It
    /// counts against what the worker may read ([`Config::read_budget`](crate::Config)). Default:
    /// nothing. A reader on top of another one adds what that one holds.
    fn held(&self) -> ReadLimit {
        ReadLimit::NOTHING
    }
}

/// Why a stream did not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// Too many reads of this shard.
    #[error("reads of the shard are throttled; retry after {retry_after:?}")]
    Throttled {
        /// A hint of how long to wait.
        retry_after: Duration,
    },
    /// The stream cannot be reached now.
    #[error("the stream is unavailable: {0}")]
    Unavailable(String),
    /// The stream or shard does not exist. Never taken for the end of a shard.
    #[error("{0} was not found")]
    NotFound(String),
    /// The reader's place was lost (an expired iterator): open a new one after the last record.
    #[error("the reader expired; open it again after the last record")]
    Expired,
    /// The request is wrong, and will be next time.
    #[error("refused by the stream: {0}")]
    Refused(String),
}

impl SourceError {
    /// True if the same reader may go on.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Throttled { .. } | Self::Unavailable(_))
    }
}
