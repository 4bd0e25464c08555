//! The account: its limits and its one setting.

use serde::{Deserialize, Serialize};

use crate::dispatch::Body;
use crate::error::ApiError;
use crate::limits::{ON_DEMAND_STREAMS, SHARDS};
use crate::state::{Commitment, Mode, State};
use crate::wire::Time;

#[derive(Deserialize)]
pub(crate) struct Nothing {}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Limits {
    shard_limit: usize,
    open_shard_count: usize,
    on_demand_stream_count: usize,
    on_demand_stream_count_limit: usize,
    channel_count: usize,
    channel_count_limit: usize,
}

pub(crate) fn limits(state: &State, _: Nothing) -> Result<Body<Limits>, ApiError> {
    Ok(Body(Limits {
        shard_limit: SHARDS,
        open_shard_count: state.open_shards(Mode::Provisioned),
        on_demand_stream_count: state.streams_of(Mode::OnDemand).len(),
        on_demand_stream_count_limit: ON_DEMAND_STREAMS,
        channel_count: 0,
        channel_count_limit: 0,
    }))
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Described {
    minimum_throughput_billing_commitment: WireCommitment,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct WireCommitment {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    earliest_allowed_end_at: Option<Time>,
}

fn described(commitment: Commitment, now_millis: u64) -> Body<Described> {
    let is_enabled = commitment.is_enabled(now_millis);
    let ended_at = commitment.ended_at.filter(|_| !is_enabled);
    Body(Described {
        minimum_throughput_billing_commitment: WireCommitment {
            status: commitment.status(now_millis),
            started_at: commitment.started_at.map(Time),
            ended_at: ended_at.map(Time),
            earliest_allowed_end_at: commitment.earliest_end().filter(|_| is_enabled).map(Time),
        },
    })
}

pub(crate) fn describe(state: &State, _: Nothing) -> Result<Body<Described>, ApiError> {
    Ok(described(state.commitment(), state.clock.wall_millis()))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Update {
    minimum_throughput_billing_commitment: Asked,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Asked {
    status: String,
}

pub(crate) fn update(state: &State, request: Update) -> Result<Body<Described>, ApiError> {
    let now = state.clock.wall_millis();
    let commitment = state.change_commitment(|commitment| {
        match request.minimum_throughput_billing_commitment.status.as_str() {
            "ENABLED" => commitment.enable(now),
            _ => commitment.disable(now),
        }
    })?;
    Ok(described(commitment, now))
}
