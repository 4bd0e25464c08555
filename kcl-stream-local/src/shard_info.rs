//! Listings of shards.

use kcl_core::protocol::{HashKeyRange, SequenceNumber, ShardId};

use crate::error::EngineError;
use crate::sequence::ShardNumber;
use crate::shard::Shard;

/// One shard as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardInfo {
    /// Its number; [`ShardNumber::id`] gives its id.
    pub number: ShardNumber,
    /// The shards it came from, also if they are no longer listed.
    pub parents: Vec<ShardId>,
    /// The hash keys it takes or took.
    pub range: HashKeyRange,
    /// Below all its records.
    pub starting_sequence: SequenceNumber,
    /// The last number it has given out, or `starting_sequence`.
    pub tip: SequenceNumber,
    /// Above all its records; `None` while it is open.
    pub ending_sequence: Option<SequenceNumber>,
    /// When it was opened (Unix milliseconds). Children open when their parents close.
    pub created_at_millis: u64,
    /// When it was closed; `None` while it is open.
    pub closed_at_millis: Option<u64>,
}

impl ShardInfo {
    pub(crate) fn of(shard: &Shard) -> Self {
        let progress = shard.progress();
        Self {
            number: shard.number,
            parents: shard.parents.iter().map(|parent| parent.id()).collect(),
            range: shard.range,
            starting_sequence: shard.base.number(0),
            tip: progress.tip,
            ending_sequence: progress.closed_at_millis.map(|_| shard.base.number(progress.next)),
            created_at_millis: shard.created_at_millis,
            closed_at_millis: progress.closed_at_millis,
        }
    }

    /// True while it takes records.
    pub fn is_open(&self) -> bool {
        self.closed_at_millis.is_none()
    }
}

/// Which shards to list, as `ShardFilter` of Kinesis has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ShardFilter {
    /// Every shard that still has records or takes them.
    #[default]
    FromTrimHorizon,
    /// Those that were open at the oldest time retained.
    AtTrimHorizon,
    /// Those that are open now.
    AtLatest,
    /// Those that were open at this time (Unix milliseconds).
    AtTimestamp(u64),
    /// Those that were open at this time (Unix milliseconds) or later.
    FromTimestamp(u64),
    /// Those with a higher id than this.
    AfterShard(ShardId),
}

/// A filter in terms of what a shard says of itself.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Admission {
    Open,
    OpenAt(u64),
    OpenFrom(u64),
    Above(ShardNumber),
}

impl ShardFilter {
    pub(crate) fn resolve(&self, horizon_millis: u64) -> Result<Admission, EngineError> {
        Ok(match self {
            Self::FromTrimHorizon => Admission::OpenFrom(0),
            Self::AtTrimHorizon => Admission::OpenAt(horizon_millis),
            Self::AtLatest => Admission::Open,
            Self::AtTimestamp(millis) => Admission::OpenAt(*millis.max(&horizon_millis)),
            Self::FromTimestamp(millis) => Admission::OpenFrom(*millis),
            Self::AfterShard(id) => Admission::Above(ShardNumber::of(id).ok_or_else(|| {
                EngineError::InvalidArgument(format!(
                    "{:?} is no shard id: use shardId- and twelve digits",
                    id.as_str()
                ))
            })?),
        })
    }
}

impl Admission {
    pub(crate) fn admits(self, info: &ShardInfo) -> bool {
        let closes_after = |millis| info.closed_at_millis.is_none_or(|closed| closed > millis);
        match self {
            Self::Open => info.is_open(),
            Self::OpenAt(millis) => info.created_at_millis <= millis && closes_after(millis),
            Self::OpenFrom(millis) => closes_after(millis),
            Self::Above(number) => info.number > number,
        }
    }
}
