//! What is told of one stream.

use std::collections::BTreeSet;

use kcl_stream_local::{ShardFilter, StreamSummary};
use serde::{Deserialize, Serialize};

use super::mode::WarmThroughput;
use super::streams::page_of;
use super::{StreamOnly, WireShard};
use crate::dispatch::Body;
use crate::error::ApiError;
use crate::limits::DESCRIBED_SHARDS;
use crate::names::arn;
use crate::state::{State, stream_id};
use crate::wire::Time;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct WireMode {
    stream_mode: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Monitoring {
    shard_level_metrics: BTreeSet<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Summary {
    pub stream_name: String,
    #[serde(rename = "StreamARN")]
    pub stream_arn: String,
    pub stream_status: &'static str,
    pub stream_mode_details: WireMode,
    pub stream_creation_timestamp: Time,
    retention_period_hours: u32,
    enhanced_monitoring: [Monitoring; 1],
    encryption_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<String>,
}

/// What every answer about a stream tells.
pub(crate) fn summary_of(state: &State, name: &str) -> Result<(Summary, StreamSummary), ApiError> {
    let described = state.stream(name)?.describe()?;
    let set = state.settings(name, |settings| settings.clone());
    let summary = Summary {
        stream_arn: arn(name),
        stream_name: name.to_owned(),
        stream_status: state.status(name).name(),
        stream_mode_details: WireMode { stream_mode: set.mode.name() },
        retention_period_hours: described.options.retention_hours,
        stream_creation_timestamp: Time(described.created_at_millis),
        enhanced_monitoring: [Monitoring { shard_level_metrics: set.metrics }],
        encryption_type: if set.key.is_some() { "KMS" } else { "NONE" },
        key_id: set.key,
    };
    Ok((summary, described))
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Summarized {
    stream_description_summary: FullSummary,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct FullSummary {
    #[serde(flatten)]
    summary: Summary,
    stream_id: String,
    open_shard_count: usize,
    consumer_count: usize,
    #[serde(rename = "MaxRecordSizeInKiB")]
    max_record_size_in_kib: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    warm_throughput: Option<WarmThroughput>,
    record_distribution_strategy: &'static str,
    channel_count: usize,
    queue_count: usize,
}

pub(crate) fn summary(state: &State, request: StreamOnly) -> Result<Body<Summarized>, ApiError> {
    let name = request.stream(state)?;
    let (summary, described) = summary_of(state, &name)?;
    let (warm, distribution) =
        state.settings(&name, |settings| (settings.warm_mibps, settings.distribution));
    Ok(Body(Summarized {
        stream_description_summary: FullSummary {
            summary,
            stream_id: stream_id(&name, described.created_at_millis),
            open_shard_count: described.open_shards,
            consumer_count: state.consumers_of(&name).len(),
            max_record_size_in_kib: described.options.max_record_bytes / 1024,
            warm_throughput: warm.map(|mibps| WarmThroughput { target: mibps, current: mibps }),
            record_distribution_strategy: distribution.name(),
            channel_count: 0,
            queue_count: 0,
        },
    }))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Describe {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    stream_id: Option<String>,
    limit: Option<i64>,
    exclusive_start_shard_id: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Described {
    stream_description: Description,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Description {
    #[serde(flatten)]
    summary: Summary,
    shards: Vec<WireShard>,
    has_more_shards: bool,
}

pub(crate) fn whole(state: &State, request: Describe) -> Result<Body<Described>, ApiError> {
    let name = state.named(
        request.stream_name.as_deref(),
        request.stream_arn.as_deref(),
        request.stream_id.as_deref(),
    )?;
    let limit = page_of("limit", request.limit, DESCRIBED_SHARDS)?;
    let (summary, _) = summary_of(state, &name)?;
    let filter = match request.exclusive_start_shard_id {
        Some(shard) => ShardFilter::AfterShard(shard.into()),
        None => ShardFilter::FromTrimHorizon,
    };
    let mut shards = state.stream(&name)?.list_shards(&filter)?;
    let has_more_shards = shards.len() > limit;
    shards.truncate(limit);
    let shards = shards.into_iter().map(WireShard::from).collect();
    let stream_description = Description { summary, shards, has_more_shards };
    Ok(Body(Described { stream_description }))
}
