//! Numbers of the files, each with its reason.

/// Bytes after which a segment is followed by another: small enough that retention frees room in
/// steps, large enough that a full stream (1 GiB) has few files.
pub const SEGMENT_BYTES: u64 = 64 << 20;
/// How long a segment takes records (milliseconds): an hour, a 24th of the shortest retention, so
/// that expired records stay on the disk for an hour more at most.
pub const SEGMENT_MILLIS: u64 = 3_600_000;
/// Bytes of records written and synced at once: some puts of 10 MiB and less than a second of a
/// slow disk.
pub const BATCH_BYTES: usize = 16 << 20;
/// Bytes that may wait to be written before puts are told to come back: four batches.
pub const QUEUE_BYTES: usize = 64 << 20;
/// Zeros written ahead when a segment begins: a sync of a file that does not grow is several times
/// cheaper.
pub const FIRST_RESERVE_BYTES: u64 = 256 << 10;
/// The most zeros written ahead: a pause of some milliseconds on a slow disk.
pub const LARGEST_RESERVE_BYTES: u64 = 8 << 20;
