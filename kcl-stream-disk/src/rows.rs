//! What is known of streams besides their records: one row a stream, as JSON in a redb table.

use kcl_core::protocol::HashKeyRange;
use kcl_stream_local::{ClosedRow, ShardNumber, ShardRow, StreamOptions, StreamRow, Throughput};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Stream {
    name: String,
    created: u64,
    unlimited: bool,
    retention_hours: u32,
    max_record_bytes: usize,
    memory_bytes: u64,
    floor: u64,
    shards: Vec<Shard>,
}

#[derive(Serialize, Deserialize)]
struct Shard {
    number: u32,
    /// Hexadecimal: JSON has no such numbers.
    start: String,
    end: String,
    parents: Vec<u32>,
    created: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    closed: Option<Closed>,
}

#[derive(Serialize, Deserialize)]
struct Closed {
    at: u64,
    next: u64,
}

pub(crate) fn encode(row: &StreamRow) -> Vec<u8> {
    let shards = row.shards.iter().map(|shard| Shard {
        number: shard.number.0,
        start: format!("{:x}", shard.range.start),
        end: format!("{:x}", shard.range.end),
        parents: shard.parents.iter().map(|parent| parent.0).collect(),
        created: shard.created_at_millis,
        closed: shard.closed.map(|closed| Closed { at: closed.at_millis, next: closed.next }),
    });
    let stream = Stream {
        name: row.name.to_string(),
        created: row.created_at_millis,
        unlimited: row.options.throughput == Throughput::Unlimited,
        retention_hours: row.options.retention_hours,
        max_record_bytes: row.options.max_record_bytes,
        memory_bytes: row.options.memory_bytes,
        floor: row.floor_millis,
        shards: shards.collect(),
    };
    // Plain values of our own serialize.
    serde_json::to_vec(&stream).unwrap_or_default()
}

pub(crate) fn decode(bytes: &[u8]) -> Result<StreamRow, String> {
    let stream: Stream = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let key = |text: &str| u128::from_str_radix(text, 16).map_err(|error| error.to_string());
    let shards = stream.shards.into_iter().map(|shard| {
        Ok(ShardRow {
            number: ShardNumber(shard.number),
            range: HashKeyRange { start: key(&shard.start)?, end: key(&shard.end)? },
            parents: shard.parents.into_iter().map(ShardNumber).collect(),
            created_at_millis: shard.created,
            closed: shard
                .closed
                .map(|closed| ClosedRow { at_millis: closed.at, next: closed.next }),
        })
    });
    Ok(StreamRow {
        name: stream.name.into(),
        created_at_millis: stream.created,
        options: StreamOptions {
            throughput: match stream.unlimited {
                true => Throughput::Unlimited,
                false => Throughput::Provisioned,
            },
            retention_hours: stream.retention_hours,
            max_record_bytes: stream.max_record_bytes,
            memory_bytes: stream.memory_bytes,
        },
        floor_millis: stream.floor,
        shards: shards.collect::<Result<_, String>>()?,
    })
}

/// When the stream of this row was created (Unix milliseconds); `None` of a damaged row.
pub(crate) fn created(bytes: &[u8]) -> Option<u64> {
    decode(bytes).ok().map(|row| row.created_at_millis)
}
