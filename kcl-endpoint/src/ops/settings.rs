//! Retention, monitoring, encryption and record size of a stream.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::StreamOnly;
use crate::dispatch::Body;
use crate::error::ApiError;
use crate::limits::{ENCRYPTION_CHANGES, LONGEST_RETENTION_HOURS, SHORTEST_RETENTION_HOURS};
use crate::names::arn;
use crate::state::{Daily, Settings, State};

#[derive(Deserialize)]
pub(crate) struct Retention {
    #[serde(flatten)]
    stream: StreamOnly,
    #[serde(rename = "RetentionPeriodHours")]
    hours: i64,
}

/// A retention within what the service allows.
fn hours(hours: i64) -> Result<u32, ApiError> {
    if hours < SHORTEST_RETENTION_HOURS {
        return Err(ApiError::invalid_argument(format!(
            "Minimum allowed retention period is {SHORTEST_RETENTION_HOURS} hours. Requested \
             retention period ({hours} hours) is too short."
        )));
    }
    u32::try_from(hours).ok().filter(|_| hours <= LONGEST_RETENTION_HOURS).ok_or_else(|| {
        ApiError::invalid_argument(format!(
            "Maximum allowed retention period is {LONGEST_RETENTION_HOURS} hours. Requested \
             retention period ({hours} hours) is too long."
        ))
    })
}

pub(crate) fn increase_retention(state: &State, request: Retention) -> Result<(), ApiError> {
    let name = request.stream.stream(state)?;
    let hours = hours(request.hours)?;
    // At once: it is not UPDATING afterwards.
    let (stream, _change) = state.begin_update(&name)?;
    let before = stream.describe()?.options.retention_hours;
    if hours < before {
        return Err(ApiError::invalid_argument(format!(
            "Requested retention period ({hours} hours) for stream {name} can not be shorter than \
             existing retention period ({before} hours). Use DecreaseStreamRetentionPeriod API."
        )));
    }
    Ok(stream.set_retention_hours(hours)?)
}

pub(crate) fn decrease_retention(state: &State, request: Retention) -> Result<(), ApiError> {
    let name = request.stream.stream(state)?;
    let hours = hours(request.hours)?;
    let (stream, _change) = state.begin_update(&name)?;
    let before = stream.describe()?.options.retention_hours;
    if hours > before {
        return Err(ApiError::invalid_argument(format!(
            "Requested retention period ({hours} hours) for stream {name} can not be longer than \
             existing retention period ({before} hours). Use IncreaseStreamRetentionPeriod API."
        )));
    }
    Ok(stream.set_retention_hours(hours)?)
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
    combine: fn(&BTreeSet<String>, &BTreeSet<String>) -> BTreeSet<String>,
) -> Result<Body<Monitored>, ApiError> {
    let name = request.stream.stream(state)?;
    let (_, change) = state.begin_update(&name)?;
    let mut asked: BTreeSet<String> = request.metrics.into_iter().collect();
    if asked.remove("ALL") {
        asked.extend(METRICS.map(str::to_owned));
    }
    let (current, desired) = state.change_settings(&name, |settings| {
        let desired = combine(&settings.metrics, &asked);
        (std::mem::replace(&mut settings.metrics, desired.clone()), desired)
    })?;
    // At once: it is not UPDATING afterwards.
    drop(change);

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

/// Starts or stops, which are two quotas.
fn encryption(
    state: &State,
    request: Encryption,
    operation: &str,
    quota: fn(&mut Settings) -> &mut Daily,
    key: fn(String) -> Option<String>,
) -> Result<(), ApiError> {
    let name = request.stream.stream(state)?;
    let (_, change) = state.begin_update(&name)?;
    if request.encryption_type != "KMS" {
        return Err(ApiError::invalid_argument("EncryptionType must be KMS."));
    }
    state.take_daily(&name, ENCRYPTION_CHANGES, operation, quota)?;
    state.change_settings(&name, |settings| settings.key = key(request.key_id))?;
    change.made();
    Ok(())
}

pub(crate) fn start_encryption(state: &State, request: Encryption) -> Result<(), ApiError> {
    encryption(state, request, "StartStreamEncryption", |it| &mut it.encryption_started, Some)
}

pub(crate) fn stop_encryption(state: &State, request: Encryption) -> Result<(), ApiError> {
    encryption(state, request, "StopStreamEncryption", |it| &mut it.encryption_stopped, |_| None)
}

#[derive(Deserialize)]
pub(crate) struct RecordSize {
    #[serde(flatten)]
    stream: StreamOnly,
    #[serde(rename = "MaxRecordSizeInKiB")]
    kib: usize,
}

pub(crate) fn update_max_record_size(state: &State, request: RecordSize) -> Result<(), ApiError> {
    let name = request.stream.stream(state)?;
    let (stream, change) = state.begin_update(&name)?;
    stream.set_max_record_bytes(request.kib * 1024)?;
    change.made();
    Ok(())
}
