//! ListShards, and the pages of listings.

use kcl_stream_local::{ShardFilter, ShardNumber};
use serde::{Deserialize, Serialize};

use super::WireShard;
use super::streams::page_of;
use crate::dispatch::Body;
use crate::error::ApiError;
use crate::limits::{SHARD_LISTINGS_A_SECOND, SHARDS_PER_PAGE, TOKEN_LIFE_MILLIS};
use crate::state::State;
use crate::token::PageToken;
use crate::wire::Time;

/// Before the stream's name in what a token is of.
const SHARDS_OF: &str = "shards of ";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListShards {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    stream_id: Option<String>,
    next_token: Option<String>,
    exclusive_start_shard_id: Option<String>,
    max_results: Option<i64>,
    shard_filter: Option<Filter>,
    stream_creation_timestamp: Option<Time>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Filter {
    #[serde(rename = "Type")]
    kind: String,
    shard_id: Option<String>,
    timestamp: Option<Time>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListedShards {
    shards: Vec<WireShard>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

/// Seals the place where the next page begins of a listing of the stream that was created then.
pub(crate) fn token(
    state: &State,
    (of, created): (&str, u64),
    after: &str,
    filter: Option<String>,
) -> String {
    let (of, after, t) = (of.to_owned(), after.to_owned(), state.clock.wall_millis());
    state.seal.close(&PageToken { of, created, after, filter, t })
}

/// Opens a place of this listing, of the stream that was created then.
pub(crate) fn page(
    state: &State,
    token: &str,
    (of, created): (&str, u64),
) -> Result<PageToken, ApiError> {
    let page = any_page(state, token)?;
    if page.of != of || page.created != created {
        return Err(other_listing());
    }
    Ok(page)
}

fn other_listing() -> ApiError {
    ApiError::invalid_argument("NextToken is of another listing.")
}

/// Opens a place of any listing.
fn any_page(state: &State, token: &str) -> Result<PageToken, ApiError> {
    let page: PageToken = state.seal.open(token).ok_or_else(|| {
        ApiError::invalid_argument("NextToken is invalid: it was not given here.")
    })?;
    let age = state.clock.wall_millis().saturating_sub(page.t);
    if age > TOKEN_LIFE_MILLIS {
        return Err(ApiError::expired_token());
    }
    Ok(page)
}

fn filter(filter: Option<&Filter>) -> Result<ShardFilter, ApiError> {
    let Some(Filter { kind, shard_id, timestamp }) = filter else {
        return Ok(ShardFilter::FromTrimHorizon);
    };
    let stray = match kind.as_str() {
        "AFTER_SHARD_ID" => timestamp.map(|_| "Timestamp"),
        "AT_TIMESTAMP" | "FROM_TIMESTAMP" => shard_id.as_ref().map(|_| "ShardId"),
        _ => shard_id.as_ref().map(|_| "ShardId").or(timestamp.map(|_| "Timestamp")),
    };
    if let Some(member) = stray {
        let stray = format!("A ShardFilter of the type {kind} takes no {member}.");
        return Err(ApiError::invalid_argument(stray));
    }
    let time = || {
        let missing = "A ShardFilter with a time needs a Timestamp.";
        timestamp.map(|time| time.0).ok_or_else(|| ApiError::invalid_argument(missing))
    };
    Ok(match kind.as_str() {
        "AFTER_SHARD_ID" => {
            let missing = "A ShardFilter AFTER_SHARD_ID needs a ShardId.";
            let shard = shard_id.as_ref().ok_or_else(|| ApiError::invalid_argument(missing))?;
            ShardFilter::AfterShard(shard.as_str().into())
        }
        "AT_TRIM_HORIZON" => ShardFilter::AtTrimHorizon,
        "FROM_TRIM_HORIZON" => ShardFilter::FromTrimHorizon,
        "AT_LATEST" => ShardFilter::AtLatest,
        "AT_TIMESTAMP" => ShardFilter::AtTimestamp(time()?),
        "FROM_TIMESTAMP" => ShardFilter::FromTimestamp(time()?),
        _ => return Err(ApiError::invalid(&format!("{kind:?} is no type of a ShardFilter."))),
    })
}

/// A filter as text, for the token of the next page.
fn as_text(filter: &ShardFilter) -> String {
    match filter {
        ShardFilter::FromTrimHorizon => "FROM_TRIM_HORIZON".into(),
        ShardFilter::AtTrimHorizon => "AT_TRIM_HORIZON".into(),
        ShardFilter::AtLatest => "AT_LATEST".into(),
        ShardFilter::AtTimestamp(millis) => format!("AT_TIMESTAMP {millis}"),
        ShardFilter::FromTimestamp(millis) => format!("FROM_TIMESTAMP {millis}"),
        // The page's own place is above it.
        ShardFilter::AfterShard(_) => "FROM_TRIM_HORIZON".into(),
    }
}

fn from_text(text: &str) -> Result<ShardFilter, ApiError> {
    let (kind, time) = text.split_once(' ').unwrap_or((text, ""));
    let timestamp = time.parse().ok().map(Time);
    filter(Some(&Filter { kind: kind.to_owned(), shard_id: None, timestamp }))
}

pub(crate) fn list(state: &State, request: ListShards) -> Result<Body<ListedShards>, ApiError> {
    let limit = page_of("maxResults", request.max_results, SHARDS_PER_PAGE)?;
    let (name, filter, after, created) = match &request.next_token {
        Some(token) => {
            let is_alone = request.stream_name.is_none()
                && request.stream_arn.is_none()
                && request.exclusive_start_shard_id.is_none()
                && request.stream_creation_timestamp.is_none()
                && request.shard_filter.is_none();
            if !is_alone {
                return Err(ApiError::invalid_argument(
                    "NextToken cannot be provided together with StreamName, StreamARN, \
                     ExclusiveStartShardId, StreamCreationTimestamp or ShardFilter.",
                ));
            }
            let page = any_page(state, token)?;
            let filter = from_text(page.filter.as_deref().unwrap_or("FROM_TRIM_HORIZON"))?;
            let name = page.of.strip_prefix(SHARDS_OF).ok_or_else(other_listing)?.to_owned();
            (name, filter, Some(page.after), Some(page.created))
        }
        None => {
            let name = state.named(
                request.stream_name.as_deref(),
                request.stream_arn.as_deref(),
                request.stream_id.as_deref(),
            )?;
            let filter = filter(request.shard_filter.as_ref())?;
            (name, filter, request.exclusive_start_shard_id, None)
        }
    };
    let stream = state.stream(&name)?;
    state.take_stream_rate("ListShards", &name, SHARD_LISTINGS_A_SECOND)?;
    let created_at = stream.describe()?.created_at_millis;
    if created.is_some_and(|created| created != created_at) {
        return Err(other_listing());
    }
    if let Some(Time(created)) = request.stream_creation_timestamp
        && created / 1000 != created_at / 1000
    {
        return Err(ApiError::not_found(format!("Stream {name} was not created at that time.")));
    }
    if let ShardFilter::AtTimestamp(millis) | ShardFilter::FromTimestamp(millis) = filter
        && millis > state.clock.wall_millis()
    {
        return Err(ApiError::invalid_argument("The ShardFilter's Timestamp is in the future."));
    }
    let mut shards = stream.list_shards(&filter)?;
    if let Some(after) = after {
        let unknown = || ApiError::invalid_argument(format!("{after:?} is no shard id."));
        let after: ShardNumber = after.parse().map_err(|()| unknown())?;
        shards.retain(|shard| shard.number > after);
    }
    let has_more = shards.len() > limit;
    shards.truncate(limit);
    let last = shards.last().filter(|_| has_more).map(|shard| shard.number.to_string());
    let of = format!("{SHARDS_OF}{name}");
    let next_token =
        last.map(|last| token(state, (&of, created_at), &last, Some(as_text(&filter))));
    let shards = shards.into_iter().map(WireShard::from).collect();
    Ok(Body(ListedShards { shards, next_token }))
}
