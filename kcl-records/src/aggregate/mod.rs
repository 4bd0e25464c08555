//! Several records of a producer in one record of the stream, in the format of the Kinesis
//! Producer Library (`aggregation-format.md` in
//! <https://github.com/awslabs/amazon-kinesis-producer>):
//!
//! ```text
//! F3 89 9A C2 | protobuf: partition keys, explicit hash keys, records | MD5 of the protobuf
//! ```
//!
//! Other readers and writers of the format understand what is written here, and the reverse.

mod builder;
mod decode;
mod wire;

pub use builder::AggregateBuilder;
pub use decode::{BrokenAggregate, Decoded, SubRecord, decode};

/// What an aggregate begins with.
pub const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];
/// Bytes of the checksum at the end.
const DIGEST_BYTES: usize = 16;
