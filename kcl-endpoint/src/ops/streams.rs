//! Streams: made, described, listed, removed.

use kcl_stream_local::ShardFilter;
use serde::{Deserialize, Serialize};

use super::{StreamOnly, WireShard};
use crate::dispatch::Body;
use crate::error::ApiError;
use crate::limits::{DESCRIBED_SHARDS, MOST_SHARDS_PER_PAGE, STREAMS_PER_PAGE};
use crate::names::{arn, stream_of};
use crate::state::{State, Status};
use crate::wire::Time;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Create {
    stream_name: Option<String>,
    shard_count: Option<i64>,
    #[serde(rename = "MaxRecordSizeInKiB")]
    max_record_size_in_kib: Option<i64>,
}

/// A number within bounds.
pub(crate) fn within(member: &str, value: i64, least: i64, most: i64) -> Result<u32, ApiError> {
    if value < least {
        let rule = format!("Member must have value greater than or equal to {least}");
        return Err(ApiError::validation(member, &format!("'{value}'"), &rule));
    }
    if value > most {
        let rule = format!("Member must have value less than or equal to {most}");
        return Err(ApiError::validation(member, &format!("'{value}'"), &rule));
    }
    u32::try_from(value).map_err(|_| ApiError::missing(member))
}

pub(crate) fn create(state: &State, request: Create) -> Result<(), ApiError> {
    let name = request.stream_name.ok_or_else(|| ApiError::missing("streamName"))?;
    let name = stream_of(Some(&name), None)?;
    let shards = within("shardCount", request.shard_count.unwrap_or(1), 1, i64::from(u32::MAX))?;
    let mut options = state.options;
    if let Some(kib) = request.max_record_size_in_kib {
        let kib = within("maxRecordSizeInKiB", kib, 1024, 10_240)?;
        options.max_record_bytes = kib as usize * 1024;
    }
    // Before it can be seen: nobody finds it ACTIVE first.
    if state.engine.stream(&name).is_err() {
        state.begin(&name, Status::Creating);
    }
    state.engine.create_stream(name, shards, options)?;
    Ok(())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Delete {
    #[serde(flatten)]
    stream: StreamOnly,
    enforce_consumer_deletion: Option<bool>,
}

pub(crate) fn delete(state: &State, request: Delete) -> Result<(), ApiError> {
    let name = request.stream.stream()?;
    state.stream(&name)?;
    if request.enforce_consumer_deletion != Some(true) && !state.consumers_of(&name).is_empty() {
        return Err(ApiError::in_use(format!(
            "Stream {name} has registered consumers: deregister them, or set \
             EnforceConsumerDeletion."
        )));
    }
    state.engine.delete_stream(&name)?;
    state.forget(&name);
    Ok(())
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Mode {
    stream_mode: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Monitoring {
    shard_level_metrics: [&'static str; 0],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Summary {
    stream_name: String,
    #[serde(rename = "StreamARN")]
    stream_arn: String,
    stream_status: &'static str,
    stream_mode_details: Mode,
    retention_period_hours: u32,
    stream_creation_timestamp: Time,
    enhanced_monitoring: [Monitoring; 1],
    encryption_type: &'static str,
}

fn summary(state: &State, name: &str) -> Result<(Summary, usize, usize), ApiError> {
    let described = state.stream(name)?.describe()?;
    let summary = Summary {
        stream_arn: arn(name),
        stream_name: name.to_owned(),
        stream_status: state.status(name).name(),
        stream_mode_details: Mode { stream_mode: "PROVISIONED" },
        retention_period_hours: described.options.retention_hours,
        stream_creation_timestamp: Time(described.created_at_millis),
        enhanced_monitoring: [Monitoring { shard_level_metrics: [] }],
        encryption_type: "NONE",
    };
    Ok((summary, described.open_shards, described.options.max_record_bytes))
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
    open_shard_count: usize,
    consumer_count: usize,
    #[serde(rename = "MaxRecordSizeInKiB")]
    max_record_size_in_kib: usize,
}

pub(crate) fn describe_summary(
    state: &State,
    request: StreamOnly,
) -> Result<Body<Summarized>, ApiError> {
    let name = request.stream()?;
    let (summary, open_shard_count, bytes) = summary(state, &name)?;
    let consumer_count = state.consumers_of(&name).len();
    let max_record_size_in_kib = bytes / 1024;
    Ok(Body(Summarized {
        stream_description_summary: FullSummary {
            summary,
            open_shard_count,
            consumer_count,
            max_record_size_in_kib,
        },
    }))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Describe {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
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

pub(crate) fn describe(state: &State, request: Describe) -> Result<Body<Described>, ApiError> {
    let name = stream_of(request.stream_name.as_deref(), request.stream_arn.as_deref())?;
    let most = MOST_SHARDS_PER_PAGE as i64;
    let limit = within("limit", request.limit.unwrap_or(DESCRIBED_SHARDS as i64), 1, most)?;
    let (summary, ..) = summary(state, &name)?;
    let filter = match request.exclusive_start_shard_id {
        Some(shard) => ShardFilter::AfterShard(shard.into()),
        None => ShardFilter::FromTrimHorizon,
    };
    let mut shards = state.stream(&name)?.list_shards(&filter)?;
    let has_more_shards = shards.len() > limit as usize;
    shards.truncate(limit as usize);
    let shards = shards.into_iter().map(WireShard::from).collect();
    let stream_description = Description { summary, shards, has_more_shards };
    Ok(Body(Described { stream_description }))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct List {
    limit: Option<i64>,
    exclusive_start_stream_name: Option<String>,
    next_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Listed {
    stream_names: Vec<String>,
    has_more_streams: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
    stream_summaries: Vec<ListedStream>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListedStream {
    stream_name: String,
    #[serde(rename = "StreamARN")]
    stream_arn: String,
    stream_status: &'static str,
    stream_mode_details: Mode,
    stream_creation_timestamp: Time,
}

pub(crate) fn list(state: &State, request: List) -> Result<Body<Listed>, ApiError> {
    let limit = within("limit", request.limit.unwrap_or(STREAMS_PER_PAGE as i64), 1, 10_000)?;
    let after = match request.next_token {
        Some(token) => super::shards::page(state, &token, "streams")?.after,
        None => request.exclusive_start_stream_name.unwrap_or_default(),
    };
    let mut names: Vec<_> = state.engine.list_streams().iter().map(ToString::to_string).collect();
    names.retain(|name| *name > after);
    let has_more_streams = names.len() > limit as usize;
    names.truncate(limit as usize);
    let mut stream_summaries = Vec::new();
    for name in &names {
        // One that was deleted meanwhile is listed by its name alone.
        let Ok((summary, ..)) = summary(state, name) else { continue };
        stream_summaries.push(ListedStream {
            stream_name: summary.stream_name,
            stream_arn: summary.stream_arn,
            stream_status: summary.stream_status,
            stream_mode_details: summary.stream_mode_details,
            stream_creation_timestamp: summary.stream_creation_timestamp,
        });
    }
    let last = names.last().filter(|_| has_more_streams);
    let next_token = last.map(|last| super::shards::token(state, "streams", last, None));
    Ok(Body(Listed { stream_names: names, has_more_streams, next_token, stream_summaries }))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Retention {
    #[serde(flatten)]
    stream: StreamOnly,
    retention_period_hours: Option<i64>,
}

fn retention(state: &State, request: &Retention) -> Result<(String, u32, u32), ApiError> {
    let name = request.stream.stream()?;
    let hours = request.retention_period_hours;
    let hours = hours.ok_or_else(|| ApiError::missing("retentionPeriodHours"))?;
    let before = state.changeable(&name)?.describe()?.options.retention_hours;
    Ok((name, within("retentionPeriodHours", hours, 24, 8760)?, before))
}

pub(crate) fn increase_retention(state: &State, request: Retention) -> Result<(), ApiError> {
    let (name, hours, before) = retention(state, &request)?;
    if hours < before {
        return Err(ApiError::invalid_argument(format!(
            "Requested retention period ({hours} hours) must not be less than the current one \
             ({before} hours)."
        )));
    }
    Ok(state.stream(&name)?.set_retention_hours(hours)?)
}

pub(crate) fn decrease_retention(state: &State, request: Retention) -> Result<(), ApiError> {
    let (name, hours, before) = retention(state, &request)?;
    if hours > before {
        return Err(ApiError::invalid_argument(format!(
            "Requested retention period ({hours} hours) must not be more than the current one \
             ({before} hours)."
        )));
    }
    Ok(state.stream(&name)?.set_retention_hours(hours)?)
}
