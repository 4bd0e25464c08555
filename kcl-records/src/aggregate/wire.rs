//! The protobuf messages, written by hand: three fields need no generated code.

use bytes::Bytes;

/// Tags of the fields of [`Aggregate`] and [`Entry`] with their wire types, as on the wire.
pub const PARTITION_KEY: u8 = 0x0a;
pub const HASH_KEY: u8 = 0x12;
pub const ENTRY: u8 = 0x1a;
pub const KEY_INDEX: u8 = 0x08;
pub const HASH_KEY_INDEX: u8 = 0x10;
pub const DATA: u8 = 0x1a;

/// The protobuf part of an aggregate.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Aggregate {
    #[prost(string, repeated, tag = "1")]
    pub partition_keys: Vec<String>,
    /// Decimal, 0 to 2^128 - 1.
    #[prost(string, repeated, tag = "2")]
    pub hash_keys: Vec<String>,
    #[prost(message, repeated, tag = "3")]
    pub entries: Vec<Entry>,
}

/// One sub-record. Fields that the format requires are optional here, for a decoder that makes
/// up what is missing could not tell. Tags (field 4) are skipped: nobody reads them.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Entry {
    #[prost(uint64, optional, tag = "1")]
    pub key_index: Option<u64>,
    #[prost(uint64, optional, tag = "2")]
    pub hash_key_index: Option<u64>,
    /// Shares the bytes it was decoded from.
    #[prost(bytes = "bytes", optional, tag = "3")]
    pub data: Option<Bytes>,
}

/// Counts the fields of the three kinds at the top level; `None` if the bytes are no such message.
/// A cheap look before anything is allocated.
pub fn count_fields(mut rest: &[u8]) -> Option<[usize; 3]> {
    let mut counts = [0; 3];
    while !rest.is_empty() {
        let tag = prost::decode_length_delimiter(&mut rest).ok()?;
        match tag & 7 {
            0 => drop(prost::decode_length_delimiter(&mut rest).ok()?),
            1 => rest = rest.get(8..)?,
            2 => {
                let length = prost::decode_length_delimiter(&mut rest).ok()?;
                rest = rest.get(length..)?;
            }
            5 => rest = rest.get(4..)?,
            // Groups are older than the format.
            _ => return None,
        }
        if let field @ 1..=3 = tag >> 3 {
            counts[field - 1] += 1;
        }
    }
    Some(counts)
}
