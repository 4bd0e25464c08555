//! Taking an aggregate apart.

use bytes::Bytes;
use kcl_core::PartitionKey;
use md5::{Digest, Md5};
use prost::Message;

use super::wire::{self, Aggregate, Entry};
use super::{DIGEST_BYTES, MAGIC};
use crate::hash_key;
use crate::limits::SUB_RECORDS;

/// What a record of the stream holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// A record that stands alone.
    Plain,
    /// An aggregate: its records in the order they were put, perhaps none.
    Records(Vec<SubRecord>),
    /// It begins like an aggregate, and is none that is whole.
    Broken(BrokenAggregate),
}

/// One record inside an aggregate.
#[derive(Clone, PartialEq, Eq)]
pub struct SubRecord {
    /// Its key. Equal keys of one aggregate share their text.
    pub partition_key: PartitionKey,
    /// What picks the shard in place of the key's MD5.
    pub explicit_hash_key: Option<u128>,
    /// Its payload: a slice of the aggregate, which it keeps in memory.
    pub data: Bytes,
}

impl SubRecord {
    /// Where the record belongs: the explicit hash key, else the MD5 of the partition key.
    pub fn hash_key(&self) -> u128 {
        self.explicit_hash_key.unwrap_or_else(|| hash_key(self.partition_key.as_str()))
    }
}

impl std::fmt::Debug for SubRecord {
    /// Leaves payload and key out: neither belongs in a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SubRecord({} bytes)", self.data.len())
    }
}

/// Why something that begins like an aggregate is none. The numbers count from 0.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokenAggregate {
    /// No room for a checksum.
    #[error("an aggregate of {0} bytes has no room for its checksum")]
    TooShort(usize),
    /// The checksum is of other bytes.
    #[error("the aggregate's checksum does not match its content")]
    Checksum,
    /// The content is not the message that the format says.
    #[error("the aggregate's content cannot be read: {0}")]
    Malformed(String),
    /// More than this crate takes.
    #[error("the aggregate holds more than {SUB_RECORDS} keys or records")]
    TooMany,
    /// A sub-record without a field it must have.
    #[error("sub-record {index} has no {field}")]
    Missing {
        /// Which sub-record.
        index: usize,
        /// Which field.
        field: &'static str,
    },
    /// A sub-record that names a key that is not there.
    #[error("sub-record {index} names {table} {named} of {length}")]
    NoSuchKey {
        /// Which sub-record.
        index: usize,
        /// Which table.
        table: &'static str,
        /// The entry it names.
        named: u64,
        /// How many there are.
        length: usize,
    },
    /// A sub-record whose hash key is not a decimal number below 2^128.
    #[error("sub-record {index} has a hash key that is not a number below 2^128")]
    HashKey {
        /// Which sub-record.
        index: usize,
    },
}

/// Looks into a record's data.
///
/// Only whole aggregates come out as [`Decoded::Records`]: checksum and every index are checked.
/// Data that does not begin with [`MAGIC`](super::MAGIC) is plain. Memory is bounded by a small
/// multiple of the data's size and by [`SUB_RECORDS`].
pub fn decode(data: &Bytes) -> Decoded {
    if !data.starts_with(&MAGIC) {
        return Decoded::Plain;
    }
    match open(data) {
        Ok(records) => Decoded::Records(records),
        Err(broken) => Decoded::Broken(broken),
    }
}

fn open(data: &Bytes) -> Result<Vec<SubRecord>, BrokenAggregate> {
    let end = data.len().checked_sub(DIGEST_BYTES).filter(|end| *end >= MAGIC.len());
    let end = end.ok_or(BrokenAggregate::TooShort(data.len()))?;
    let message = data.slice(MAGIC.len()..end);
    if Md5::digest(&message)[..] != data[end..] {
        return Err(BrokenAggregate::Checksum);
    }
    let no_message = || BrokenAggregate::Malformed("no protobuf message".into());
    let counts = wire::count_fields(&message).ok_or_else(no_message)?;
    if counts.iter().any(|count| *count > SUB_RECORDS) {
        return Err(BrokenAggregate::TooMany);
    }
    let aggregate = Aggregate::decode(message)
        .map_err(|error| BrokenAggregate::Malformed(error.to_string()))?;
    let keys: Vec<_> = aggregate.partition_keys.into_iter().map(PartitionKey::from).collect();
    let hash_keys: Vec<_> = aggregate.hash_keys.iter().map(|text| parse_hash_key(text)).collect();
    let entries = aggregate.entries.into_iter().enumerate();
    entries.map(|(index, entry)| sub_record(index, entry, &keys, &hash_keys)).collect()
}

fn sub_record(
    index: usize,
    entry: Entry,
    keys: &[PartitionKey],
    hash_keys: &[Option<u128>],
) -> Result<SubRecord, BrokenAggregate> {
    let missing = |field| BrokenAggregate::Missing { index, field };
    let key_index = entry.key_index.ok_or_else(|| missing("partition key index"))?;
    let partition_key = named(index, "partition key", keys, key_index)?.clone();
    let explicit_hash_key = match entry.hash_key_index {
        None => None,
        Some(at) => {
            let parsed = *named(index, "explicit hash key", hash_keys, at)?;
            Some(parsed.ok_or(BrokenAggregate::HashKey { index })?)
        }
    };
    let data = entry.data.ok_or_else(|| missing("data"))?;
    Ok(SubRecord { partition_key, explicit_hash_key, data })
}

fn named<'a, T>(
    index: usize,
    table: &'static str,
    entries: &'a [T],
    named: u64,
) -> Result<&'a T, BrokenAggregate> {
    let entry = usize::try_from(named).ok().and_then(|at| entries.get(at));
    let length = entries.len();
    entry.ok_or(BrokenAggregate::NoSuchKey { index, table, named, length })
}

/// A hash key is decimal digits alone; `parse` would also take a sign.
fn parse_hash_key(text: &str) -> Option<u128> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}
