//! Names of the attributes, as stored.
//!
//! Where the Java KCL has the field, its name and type are used, so that its tools and people who
//! know its tables read ours.

/// Key of a lease row (S).
pub const LEASE_KEY: &str = "leaseKey";
/// Owner of a lease (S); absent while nobody owns it.
pub const LEASE_OWNER: &str = "leaseOwner";
/// The fence (N).
pub const LEASE_COUNTER: &str = "leaseCounter";
/// A decimal sequence number or a sentinel (S).
pub const CHECKPOINT: &str = "checkpoint";
/// Subsequence number (N).
pub const CHECKPOINT_SUB: &str = "checkpointSubSequenceNumber";
/// A prepared checkpoint, as [`CHECKPOINT`] (S); absent if there is none.
pub const PENDING: &str = "pendingCheckpoint";
/// Its subsequence number (N).
pub const PENDING_SUB: &str = "pendingCheckpointSubSequenceNumber";
/// The application's state for it (B); absent if empty.
pub const PENDING_STATE: &str = "pendingCheckpointState";
/// Changes of owner since the last checkpoint (N).
pub const OWNER_SWITCHES: &str = "ownerSwitchesSinceCheckpoint";
/// Parents (SS, in spite of the name); absent if there are none.
pub const PARENTS: &str = "parentShardId";
/// Children (SS); absent if there are none.
pub const CHILDREN: &str = "childShardIds";
/// Lowest hash key (S, decimal).
pub const HASH_START: &str = "startingHashKey";
/// Highest hash key (S, decimal).
pub const HASH_END: &str = "endingHashKey";
/// What stands before the shard id in the key, with several streams (S).
pub const STREAM_NAME: &str = "streamName";
/// The shard id, with several streams (S).
pub const SHARD_ID: &str = "shardId";
/// Kind of the row (S); absent means [`ENTITY_LEASE`].
pub const ENTITY_TYPE: &str = "entityType";
/// Set by a Java worker while it hands a lease over (S); never written here.
pub const CHECKPOINT_OWNER: &str = "checkpointOwner";

/// The ordinal (N); ours.
pub const ORDINAL: &str = "checkpointOrdinal";
/// Unix milliseconds of an `AT_TIMESTAMP` checkpoint (N); ours.
pub const CHECKPOINT_MILLIS: &str = "checkpointTimestampMillis";
/// Unix milliseconds of an `AT_TIMESTAMP` in [`PENDING`] (N); ours.
pub const PENDING_MILLIS: &str = "pendingCheckpointTimestampMillis";
/// Why a lease is parked (S); ours.
pub const PARKED_REASON: &str = "parkedReason";
/// The position it was parked at, `sequence` or `sequence/subsequence` (S); ours.
pub const PARKED_AT: &str = "parkedAt";
/// Unix milliseconds of the first listing without the shard (N); ours.
pub const UNLISTED_SINCE: &str = "unlistedSinceMillis";

/// Nothing done; oldest record.
pub const TRIM_HORIZON: &str = "TRIM_HORIZON";
/// Nothing done; newest record.
pub const LATEST: &str = "LATEST";
/// Nothing done; from a time.
pub const AT_TIMESTAMP: &str = "AT_TIMESTAMP";
/// All done.
pub const SHARD_END: &str = "SHARD_END";

/// Key of a row of the coordination table (S): `TABLE`, `STREAM#name` (with a Kinesis source
/// `STREAM#<ARN>`) or `WORKER#id`.
pub const ROW_KEY: &str = "rowKey";
/// Key of the one table row, and its entity type.
pub const TABLE: &str = "TABLE";
/// What the key of a stream row starts with.
pub const STREAM_PREFIX: &str = "STREAM#";
/// What the key of a worker row starts with.
pub const WORKER_PREFIX: &str = "WORKER#";
/// Entity type of a lease row.
pub const ENTITY_LEASE: &str = "LEASE";
/// Entity type of a stream row.
pub const ENTITY_STREAM: &str = "STREAM";
/// Entity type of a worker row.
pub const ENTITY_WORKER: &str = "WORKER";

/// The table's id as the service reports it (S).
pub const TABLE_ID: &str = "tableId";
/// Generation of the fences (N).
pub const GENERATION: &str = "generation";
/// Version of the layout (N).
pub const SCHEMA_VERSION: &str = "schemaVersion";
/// Largest lease duration ever used (N, nanoseconds).
pub const MAX_DURATION: &str = "maxLeaseDurationNanos";
/// Largest grace ever used (N, nanoseconds).
pub const MAX_GRACE: &str = "maxGraceNanos";
/// A reset is under way (BOOL); absent means no.
pub const RESETTING: &str = "resetting";
/// Rounds of reconciliation (N).
pub const ROUND: &str = "round";
/// Key of the hints (S, 32 hex digits: a number of the service holds 38 decimal ones).
pub const HINT_KEY: &str = "hintKey";

/// Creation time of a stream (N, Unix milliseconds).
pub const CREATED_AT: &str = "createdAtMillis";
/// Kind of start position (S).
pub const START: &str = "startPosition";
/// Time of an `AT_TIMESTAMP` start (N, Unix milliseconds).
pub const START_MILLIS: &str = "startTimestampMillis";
/// Positions of an `AFTER` start (M: shard id to S).
pub const START_AFTER: &str = "startAfter";
/// Value of [`START`]: after a position in each shard.
pub const AFTER: &str = "AFTER";
/// Leases of the first sync exist (BOOL).
pub const FIRST_SYNC_DONE: &str = "firstSyncDone";

/// Count of heartbeats (N).
pub const HEARTBEAT: &str = "heartbeat";
/// Worker state (S): `LIVE`, `MISSING`, `FENCED` or `GONE`.
pub const WORKER_STATE: &str = "workerState";
/// Leaving (BOOL).
pub const DRAINING: &str = "draining";
/// Lease duration of the worker (N, nanoseconds).
pub const DURATION: &str = "leaseDurationNanos";
/// Grace of the worker (N, nanoseconds).
pub const GRACE: &str = "graceNanos";
/// Leases that count as load (N).
pub const LOAD: &str = "load";
/// The most leases it wants to hold (N); absent if there is no bound.
pub const MAX_LEASES: &str = "maxLeases";
/// The streams it reads (S): 16 hex digits each, parted by commas; absent in an application of one.
pub const READS: &str = "readsStreams";
/// How many leases are held (N).
pub const HELD_COUNT: &str = "heldCount";
/// Exclusive-or of their hashes (N).
pub const HELD_HASHES: &str = "heldHashes";
/// Messages (M: entry id, 32 hex digits, to M); never absent.
pub const INBOX: &str = "inbox";
/// Asked to compare what it holds with the rows (BOOL).
pub const LIST: &str = "listRequested";
/// Where hints reach it (S); absent if it does not listen.
pub const ADDRESS: &str = "address";

/// Kind of an inbox entry (S): `ASK`, `REVOKE` or `GRANT`.
pub const ENTRY_KIND: &str = "kind";
/// Leases of an inbox entry (L of M with [`LEASE_KEY`] and [`LEASE_COUNTER`]).
pub const ENTRY_LEASES: &str = "leases";
/// Who asks or takes (S).
pub const ENTRY_TO: &str = "to";
/// How many leases the asker holds (N).
pub const ENTRY_HAVE: &str = "have";
