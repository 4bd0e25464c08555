//! SplitShard, MergeShards and UpdateShardCount.

use serde::{Deserialize, Serialize};

use super::StreamOnly;
use super::streams::within;
use crate::dispatch::Body;
use crate::error::ApiError;
use crate::limits::SHARD_COUNT_UPDATES;
use crate::names::arn;
use crate::state::{Mode, State};

/// Refuses what is only for streams whose shards are changed by hand.
fn check_provisioned(state: &State, name: &str) -> Result<(), ApiError> {
    if state.settings(name, |settings| settings.mode) == Mode::Provisioned {
        return Ok(());
    }
    Err(ApiError::invalid(&format!(
        "Stream {name} is in ON_DEMAND mode: its shards are only changed in PROVISIONED mode."
    )))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Split {
    #[serde(flatten)]
    stream: StreamOnly,
    shard_to_split: Option<String>,
    new_starting_hash_key: Option<String>,
}

pub(crate) fn split(state: &State, request: Split) -> Result<(), ApiError> {
    let name = request.stream.stream(state)?;
    let shard = request.shard_to_split.ok_or_else(|| ApiError::missing("shardToSplit"))?;
    let key = request.new_starting_hash_key;
    let key = key.ok_or_else(|| ApiError::missing("newStartingHashKey"))?;
    let at = key.parse().map_err(|_| {
        ApiError::invalid_argument(format!("NewStartingHashKey {key} is not in [0, 2^128-1]."))
    })?;
    let (stream, change) = state.begin_reshard(&name)?;
    check_provisioned(state, &name)?;
    state.check_open_shards(1)?;
    stream.split_shard(&shard.as_str().into(), at)?;
    change.made();
    Ok(())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Merge {
    #[serde(flatten)]
    stream: StreamOnly,
    shard_to_merge: Option<String>,
    adjacent_shard_to_merge: Option<String>,
}

pub(crate) fn merge(state: &State, request: Merge) -> Result<(), ApiError> {
    let name = request.stream.stream(state)?;
    let shard = request.shard_to_merge.ok_or_else(|| ApiError::missing("shardToMerge"))?;
    let adjacent = request.adjacent_shard_to_merge;
    let adjacent = adjacent.ok_or_else(|| ApiError::missing("adjacentShardToMerge"))?;
    let (stream, change) = state.begin_reshard(&name)?;
    check_provisioned(state, &name)?;
    stream.merge_shards(&shard.as_str().into(), &adjacent.as_str().into())?;
    change.made();
    Ok(())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct UpdateCount {
    #[serde(flatten)]
    stream: StreamOnly,
    target_shard_count: Option<i64>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct UpdatedCount {
    stream_name: String,
    #[serde(rename = "StreamARN")]
    stream_arn: String,
    current_shard_count: usize,
    target_shard_count: u32,
}

pub(crate) fn update_count(
    state: &State,
    request: UpdateCount,
) -> Result<Body<UpdatedCount>, ApiError> {
    let name = request.stream.stream(state)?;
    let target = request.target_shard_count;
    let target = target.ok_or_else(|| ApiError::missing("targetShardCount"))?;
    let target = within("targetShardCount", target, 1, i64::from(u32::MAX))?;
    let (stream, change) = state.begin_update(&name)?;
    check_provisioned(state, &name)?;
    let current = stream.describe()?.open_shards;
    let (most, least) = (current * 2, current.div_ceil(2));
    if !(least..=most).contains(&(target as usize)) {
        return Err(ApiError::invalid_argument(format!(
            "UpdateShardCount takes half to double the open shards of a stream: {name} has \
             {current}, so {least} to {most}, not {target}"
        )));
    }
    state.check_open_shards((target as usize).saturating_sub(current))?;
    state.take_daily(&name, SHARD_COUNT_UPDATES, "UpdateShardCount", |settings| {
        &mut settings.resharded
    })?;
    stream.update_shard_count(target)?;
    change.made();
    Ok(Body(UpdatedCount {
        stream_arn: arn(&name),
        stream_name: name,
        current_shard_count: current,
        target_shard_count: target,
    }))
}
