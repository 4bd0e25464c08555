//! How a stream's capacity is set: its mode, warm throughput, and what picks a record's shard.

use serde::{Deserialize, Serialize};

use super::StreamOnly;
use crate::dispatch::Body;
use crate::error::ApiError;
use crate::limits::{MODE_UPDATES, ON_DEMAND_STREAMS, WARM_MIBPS};
use crate::names::arn;
use crate::state::{Distribution, Mode, State};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ModeDetails {
    pub stream_mode: String,
}

#[derive(Deserialize)]
pub(crate) struct Update {
    #[serde(flatten)]
    stream: StreamOnly,
    #[serde(rename = "StreamModeDetails")]
    details: ModeDetails,
    #[serde(rename = "WarmThroughputMiBps")]
    warm_mibps: Option<i64>,
}

/// Whether a stream of this mode may have this warm throughput.
pub(crate) fn check_warm(state: &State, mode: Mode, mibps: i64) -> Result<(), ApiError> {
    let now = state.clock.wall_millis();
    if mode != Mode::OnDemand {
        return Err(ApiError::invalid("Warm throughput is for streams in ON_DEMAND mode only."));
    }
    if !state.commitment().is_enabled(now) {
        return Err(ApiError::invalid(
            "Warm throughput needs MinimumThroughputBillingCommitment: enable it with \
             UpdateAccountSettings.",
        ));
    }
    if mibps > WARM_MIBPS {
        return Err(ApiError::limit_exceeded(format!(
            "Warm throughput is at most {WARM_MIBPS} MiB/s, not {mibps}."
        )));
    }
    Ok(())
}

/// Whether one more stream may be in on-demand mode.
pub(crate) fn check_on_demand(state: &State) -> Result<(), ApiError> {
    if state.streams_of(Mode::OnDemand).len() < ON_DEMAND_STREAMS {
        return Ok(());
    }
    Err(ApiError::limit_exceeded(format!(
        "An account has at most {ON_DEMAND_STREAMS} streams in ON_DEMAND mode."
    )))
}

pub(crate) fn update(state: &State, request: Update) -> Result<(), ApiError> {
    let name = request.stream.stream(state)?;
    let (_, change) = state.begin_update(&name)?;
    let mode = Mode::of(&request.details.stream_mode);
    if let Some(mibps) = request.warm_mibps {
        check_warm(state, mode, mibps)?;
    }
    let before = state.settings(&name, |settings| settings.mode);
    if before != mode {
        if mode == Mode::OnDemand {
            check_on_demand(state)?;
        }
        state.take_daily(&name, MODE_UPDATES, "UpdateStreamMode", |settings| {
            &mut settings.mode_updated
        })?;
    }
    state.change_settings(&name, |settings| {
        settings.mode = mode;
        settings.warm_mibps = request.warm_mibps;
        if mode == Mode::Provisioned {
            settings.distribution = Distribution::default();
        }
    })?;
    change.made();
    Ok(())
}

#[derive(Deserialize)]
pub(crate) struct UpdateWarm {
    #[serde(flatten)]
    stream: StreamOnly,
    #[serde(rename = "WarmThroughputMiBps")]
    mibps: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct UpdatedWarm {
    stream_name: String,
    #[serde(rename = "StreamARN")]
    stream_arn: String,
    warm_throughput: WarmThroughput,
}

/// Warm throughput on the wire.
#[derive(Serialize)]
pub(crate) struct WarmThroughput {
    #[serde(rename = "TargetMiBps")]
    pub target: i64,
    #[serde(rename = "CurrentMiBps")]
    pub current: i64,
}

pub(crate) fn update_warm_throughput(
    state: &State,
    request: UpdateWarm,
) -> Result<Body<UpdatedWarm>, ApiError> {
    let name = request.stream.stream(state)?;
    let (_, change) = state.begin_update(&name)?;
    let (mode, before) = state.settings(&name, |settings| (settings.mode, settings.warm_mibps));
    check_warm(state, mode, request.mibps)?;
    state.change_settings(&name, |settings| settings.warm_mibps = Some(request.mibps))?;
    change.made();
    let warm_throughput =
        WarmThroughput { target: request.mibps, current: before.unwrap_or_default() };
    Ok(Body(UpdatedWarm { stream_arn: arn(&name), stream_name: name, warm_throughput }))
}

#[derive(Deserialize)]
pub(crate) struct UpdateDistribution {
    #[serde(flatten)]
    stream: StreamOnly,
    #[serde(rename = "RecordDistributionStrategy")]
    strategy: String,
}

pub(crate) fn update_distribution(
    state: &State,
    request: UpdateDistribution,
) -> Result<(), ApiError> {
    let name = request.stream.stream(state)?;
    // At once: it is not UPDATING afterwards.
    let (_, _change) = state.begin_update(&name)?;
    let distribution = Distribution::of(&request.strategy);
    let mode = state.settings(&name, |settings| settings.mode);
    check_distribution(mode, distribution)?;
    state.change_settings(&name, |settings| settings.distribution = distribution)
}

/// Whether a stream of this mode may distribute its records so.
pub(crate) fn check_distribution(mode: Mode, distribution: Distribution) -> Result<(), ApiError> {
    if mode == Mode::Provisioned && distribution == Distribution::Auto {
        return Err(ApiError::invalid_argument(
            "RecordDistributionStrategy AUTO is for streams in ON_DEMAND mode only.",
        ));
    }
    Ok(())
}
