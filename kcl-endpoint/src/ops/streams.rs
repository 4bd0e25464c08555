//! Streams: made, listed, removed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::StreamOnly;
use super::describe::{WireMode, summary_of};
use super::mode::{ModeDetails, check_distribution, check_on_demand, check_warm};
use crate::dispatch::Body;
use crate::error::ApiError;
use crate::limits::{LARGEST_PAGE, ON_DEMAND_SHARDS, STREAMS_PER_PAGE};
use crate::names::stream_of;
use crate::state::{Attached, Distribution, Mode, Settings, State};
use crate::wire::Time;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Create {
    stream_name: Option<String>,
    shard_count: Option<i64>,
    stream_mode_details: Option<ModeDetails>,
    tags: Option<BTreeMap<String, String>>,
    #[serde(rename = "WarmThroughputMiBps")]
    warm_mibps: Option<i64>,
    #[serde(rename = "MaxRecordSizeInKiB")]
    max_record_size_in_kib: Option<usize>,
    record_distribution_strategy: Option<String>,
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

/// How long a page is: as the request says, but no longer than this.
pub(crate) fn page_of(member: &str, asked: Option<i64>, most: usize) -> Result<usize, ApiError> {
    let asked = within(member, asked.unwrap_or(LARGEST_PAGE), 1, LARGEST_PAGE)?;
    Ok(most.min(asked as usize))
}

/// The settings a new stream begins with.
fn first_settings(state: &State, request: &mut Create) -> Result<Settings, ApiError> {
    let mode = request.stream_mode_details.as_ref();
    let mode = mode.map_or(Mode::default(), |details| Mode::of(&details.stream_mode));
    if mode == Mode::OnDemand {
        check_on_demand(state)?;
    }
    if let Some(mibps) = request.warm_mibps {
        check_warm(state, mode, mibps)?;
    }
    let strategy = request.record_distribution_strategy.as_deref();
    let distribution = strategy.map_or(Distribution::default(), Distribution::of);
    check_distribution(mode, distribution)?;
    let mut attached = Attached::default();
    attached.tag(request.tags.take().unwrap_or_default())?;
    let warm_mibps = request.warm_mibps;
    Ok(Settings { mode, distribution, warm_mibps, attached, ..Settings::default() })
}

pub(crate) fn create(state: &State, mut request: Create) -> Result<(), ApiError> {
    let name = request.stream_name.take().ok_or_else(|| ApiError::missing("streamName"))?;
    let name = stream_of(Some(&name), None)?;
    let settings = first_settings(state, &mut request)?;
    let shards = match (settings.mode, request.shard_count) {
        // The service picks the number itself.
        (Mode::OnDemand, _) => ON_DEMAND_SHARDS,
        (Mode::Provisioned, Some(shards)) => shards,
        (Mode::Provisioned, None) => return Err(ApiError::missing("shardCount")),
    };
    let shards = within("shardCount", shards, 1, i64::from(u32::MAX))?;
    if settings.mode == Mode::Provisioned {
        state.check_open_shards(shards as usize)?;
    }
    let mut options = state.options;
    if let Some(kib) = request.max_record_size_in_kib {
        options.max_record_bytes = kib * 1024;
    }
    let change = state.begin_create(&name)?;
    state.begin_settings(&name, settings);
    state.engine.create_stream(name.as_str(), shards, options)?;
    change.made();
    state.keep().inspect_err(|_| {
        // It may be there after a restart, without its settings: nobody was told of it.
        let _ = state.engine.delete_stream(&name);
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Delete {
    #[serde(flatten)]
    stream: StreamOnly,
    enforce_consumer_deletion: Option<bool>,
}

pub(crate) fn delete(state: &State, request: Delete) -> Result<(), ApiError> {
    let name = request.stream.stream(state)?;
    state.stream(&name)?;
    if request.enforce_consumer_deletion != Some(true) && !state.consumers_of(&name).is_empty() {
        return Err(ApiError::in_use(format!(
            "Stream {name} has registered consumers: deregister them, or set \
             EnforceConsumerDeletion."
        )));
    }
    state.delete_stream(&name)
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
    stream_mode_details: WireMode,
    stream_creation_timestamp: Time,
}

/// What a page of streams is of.
const STREAMS: (&str, u64) = ("streams", 0);

pub(crate) fn list(state: &State, request: List) -> Result<Body<Listed>, ApiError> {
    let limit = page_of("limit", request.limit, STREAMS_PER_PAGE)?;
    let after = match request.next_token {
        Some(token) => super::shards::page(state, &token, STREAMS)?.after,
        None => request.exclusive_start_stream_name.unwrap_or_default(),
    };
    let mut names: Vec<_> = state.engine.list_streams().iter().map(ToString::to_string).collect();
    names.retain(|name| *name > after);
    let has_more_streams = names.len() > limit;
    names.truncate(limit);
    let mut stream_summaries = Vec::new();
    for name in &names {
        // One that was deleted meanwhile is listed by its name alone.
        let Ok((summary, _)) = summary_of(state, name) else { continue };
        stream_summaries.push(ListedStream {
            stream_name: summary.stream_name,
            stream_arn: summary.stream_arn,
            stream_status: summary.stream_status,
            stream_mode_details: summary.stream_mode_details,
            stream_creation_timestamp: summary.stream_creation_timestamp,
        });
    }
    let last = names.last().filter(|_| has_more_streams);
    let next_token = last.map(|last| super::shards::token(state, STREAMS, last, None));
    Ok(Body(Listed { stream_names: names, has_more_streams, next_token, stream_summaries }))
}
