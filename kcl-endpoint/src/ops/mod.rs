//! The operations, by what they are about.

pub(crate) mod account;
pub(crate) mod consumers;
pub(crate) mod describe;
pub(crate) mod mode;
pub(crate) mod policies;
pub(crate) mod put;
pub(crate) mod read;
pub(crate) mod reshard;
pub(crate) mod settings;
pub(crate) mod shards;
pub(crate) mod streams;
pub(crate) mod subscribe;
pub(crate) mod tags;

use kcl_core::protocol::HashKeyRange;
use kcl_stream_local::ShardInfo;
use serde::Serialize;

use crate::error::ApiError;
use crate::state::State;

/// A range of hash keys on the wire.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct WireRange {
    starting_hash_key: String,
    ending_hash_key: String,
}

impl From<HashKeyRange> for WireRange {
    fn from(range: HashKeyRange) -> Self {
        Self { starting_hash_key: range.start.to_string(), ending_hash_key: range.end.to_string() }
    }
}

/// A shard on the wire.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct WireShard {
    shard_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_shard_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    adjacent_parent_shard_id: Option<String>,
    hash_key_range: WireRange,
    sequence_number_range: WireSequenceRange,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct WireSequenceRange {
    starting_sequence_number: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ending_sequence_number: Option<String>,
}

impl From<ShardInfo> for WireShard {
    fn from(info: ShardInfo) -> Self {
        let mut parents = info.parents.iter().map(ToString::to_string);
        Self {
            shard_id: info.number.to_string(),
            parent_shard_id: parents.next(),
            adjacent_parent_shard_id: parents.next(),
            hash_key_range: info.range.into(),
            sequence_number_range: WireSequenceRange {
                starting_sequence_number: info.starting_sequence.to_string(),
                ending_sequence_number: info.ending_sequence.map(|end| end.to_string()),
            },
        }
    }
}

/// A request that names a stream, and nothing else.
#[derive(Clone, Debug, serde::Deserialize)]
pub(crate) struct StreamOnly {
    #[serde(rename = "StreamName")]
    name: Option<String>,
    #[serde(rename = "StreamARN")]
    arn: Option<String>,
    #[serde(rename = "StreamId")]
    id: Option<String>,
}

impl StreamOnly {
    fn stream(&self, state: &State) -> Result<String, ApiError> {
        state.named(self.name.as_deref(), self.arn.as_deref(), self.id.as_deref())
    }
}
