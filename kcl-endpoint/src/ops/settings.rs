//! Retention, monitoring, encryption and record size of a stream.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::StreamOnly;
use crate::dispatch::Body;
use crate::error::ApiError;
use crate::limits::{ENCRYPTION_CHANGES, LONGEST_RETENTION_HOURS, SHORTEST_RETENTION_HOURS};
use crate::names::arn;
use crate::state::{State, Status};

#[derive(Deserialize)]
pub(crate) struct Retention {
    #[serde(flatten)]
    stream: StreamOnly,
    #[serde(rename = "RetentionPeriodHours")]
    hours: i64,
}

/// The stream, and its retention before and after.
fn retention(state: &State, request: &Retention) -> Result<(String, u32, u32), ApiError> {
    let name = request.stream.stream()?;
    let hours = request.hours;
    if hours < SHORTEST_RETENTION_HOURS {
        return Err(ApiError::invalid_argument(format!(
            "Minimum allowed retention period is {SHORTEST_RETENTION_HOURS} hours. Requested \
             retention period ({hours} hours) is too short."
        )));
    }
    if hours > LONGEST_RETENTION_HOURS {
        return Err(ApiError::invalid_argument(format!(
            "Maximum allowed retention period is {LONGEST_RETENTION_HOURS} hours. Requested \
             retention period ({hours} hours) is too long."
        )));
    }
    let before = state.changeable(&name)?.describe()?.options.retention_hours;
    // Within the bounds above.
    Ok((name, before, u32::try_from(hours).unwrap_or(before)))
}

pub(crate) fn increase_retention(state: &State, request: Retention) -> Result<(), ApiError> {
    let (name, before, hours) = retention(state, &request)?;
    if hours < before {
        return Err(ApiError::invalid_argument(format!(
            "Requested retention period ({hours} hours) for stream {name} can not be shorter than \
             existing retention period ({before} hours). Use DecreaseStreamRetentionPeriod API."
        )));
    }
    Ok(state.stream(&name)?.set_retention_hours(hours)?)
}

pub(crate) fn decrease_retention(state: &State, request: Retention) -> Result<(), ApiError> {
    let (name, before, hours) = retention(state, &request)?;
    if hours > before {
        return Err(ApiError::invalid_argument(format!(
            "Requested retention period ({hours} hours) for stream {name} can not be longer than \
             existing retention period ({before} hours). Use IncreaseStreamRetentionPeriod API."
        )));
    }
    Ok(state.stream(&name)?.set_retention_hours(hours)?)
}

#[derive(Deserialize)]
pub(crate) struct Monitoring {
    #[serde(flatten)]
    stream: StreamOnly,
    #[serde(rename = "ShardLevelMetrics")]
    metrics: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Monitored {
    stream_name: String,
    #[serde(rename = "StreamARN")]
    stream_arn: String,
    current_shard_level_metrics: BTreeSet<String>,
    desired_shard_level_metrics: BTreeSet<String>,
}

/// All that `ALL` stands for.
const METRICS: [&str; 7] = [
    "IncomingBytes",
    "IncomingRecords",
    "IteratorAgeMilliseconds",
    "OutgoingBytes",
    "OutgoingRecords",
    "ReadProvisionedThroughputExceeded",
    "WriteProvisionedThroughputExceeded",
];

fn monitoring(
    state: &State,
    request: Monitoring,
    change: fn(&BTreeSet<String>, &BTreeSet<String>) -> BTreeSet<String>,
) -> Result<Body<Monitored>, ApiError> {
    let name = request.stream.stream()?;
    state.changeable(&name)?;
    let mut asked: BTreeSet<String> = request.metrics.into_iter().collect();
    if asked.remove("ALL") {
        asked.extend(METRICS.map(str::to_owned));
    }
    let (current, desired) = state.settings(&name, |settings| {
        let desired = change(&settings.metrics, &asked);
        (std::mem::replace(&mut settings.metrics, desired.clone()), desired)
    });
    Ok(Body(Monitored {
        stream_arn: arn(&name),
        stream_name: name,
        current_shard_level_metrics: current,
        desired_shard_level_metrics: desired,
    }))
}

pub(crate) fn enable_monitoring(
    state: &State,
    request: Monitoring,
) -> Result<Body<Monitored>, ApiError> {
    monitoring(state, request, |before, asked| before | asked)
}

pub(crate) fn disable_monitoring(
    state: &State,
    request: Monitoring,
) -> Result<Body<Monitored>, ApiError> {
    monitoring(state, request, |before, asked| before - asked)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Encryption {
    #[serde(flatten)]
    stream: StreamOnly,
    encryption_type: String,
    key_id: String,
}

fn encryption(state: &State, request: &Encryption) -> Result<String, ApiError> {
    let name = request.stream.stream()?;
    state.changeable(&name)?;
    if request.encryption_type != "KMS" {
        return Err(ApiError::invalid_argument("EncryptionType must be KMS."));
    }
    Ok(name)
}

pub(crate) fn start_encryption(state: &State, request: Encryption) -> Result<(), ApiError> {
    let name = encryption(state, &request)?;
    state.take_daily(&name, ENCRYPTION_CHANGES, "StartStreamEncryption", |settings| {
        &mut settings.encryption_started
    })?;
    state.settings(&name, |settings| settings.key = Some(request.key_id));
    state.begin(&name, Status::Updating);
    Ok(())
}

pub(crate) fn stop_encryption(state: &State, request: Encryption) -> Result<(), ApiError> {
    let name = encryption(state, &request)?;
    state.take_daily(&name, ENCRYPTION_CHANGES, "StopStreamEncryption", |settings| {
        &mut settings.encryption_stopped
    })?;
    state.settings(&name, |settings| settings.key = None);
    state.begin(&name, Status::Updating);
    Ok(())
}

#[derive(Deserialize)]
pub(crate) struct RecordSize {
    #[serde(flatten)]
    stream: StreamOnly,
    #[serde(rename = "MaxRecordSizeInKiB")]
    kib: usize,
}

pub(crate) fn update_max_record_size(state: &State, request: RecordSize) -> Result<(), ApiError> {
    let name = request.stream.stream()?;
    state.changeable(&name)?.set_max_record_bytes(request.kib * 1024)?;
    state.begin(&name, Status::Updating);
    Ok(())
}
