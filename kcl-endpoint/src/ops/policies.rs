//! Resource policies of streams and consumers: kept and given back, not enforced.

use serde::{Deserialize, Serialize};

use crate::dispatch::Body;
use crate::error::ApiError;
use crate::limits::POLICY_BYTES;
use crate::names::resource_of;
use crate::state::State;

#[derive(Deserialize)]
pub(crate) struct Put {
    #[serde(rename = "ResourceARN")]
    arn: String,
    #[serde(rename = "Policy")]
    policy: String,
}

pub(crate) fn put(state: &State, request: Put) -> Result<(), ApiError> {
    let resource = resource_of(&request.arn)?;
    // Read only if it is small: what it says takes many times its bytes.
    let is_object = || {
        let document = serde_json::from_str::<serde_json::Value>(&request.policy);
        document.is_ok_and(|policy| policy.is_object())
    };
    if request.policy.len() > POLICY_BYTES || !is_object() {
        return Err(ApiError::invalid_argument(format!(
            "Policy must be a JSON object of at most {POLICY_BYTES} bytes."
        )));
    }
    state.attached(&resource, |attached| attached.policy = Some(request.policy))
}

#[derive(Deserialize)]
pub(crate) struct ResourceOnly {
    #[serde(rename = "ResourceARN")]
    arn: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Got {
    policy: String,
}

fn none(arn: &str) -> ApiError {
    ApiError::not_found(format!("No policy is attached to {arn}."))
}

pub(crate) fn get(state: &State, request: ResourceOnly) -> Result<Body<Got>, ApiError> {
    let resource = resource_of(&request.arn)?;
    let policy = state.attached(&resource, |attached| attached.policy.clone())?;
    let policy = policy.ok_or_else(|| none(&request.arn))?;
    Ok(Body(Got { policy }))
}

pub(crate) fn delete(state: &State, request: ResourceOnly) -> Result<(), ApiError> {
    let resource = resource_of(&request.arn)?;
    let policy = state.attached(&resource, |attached| attached.policy.take())?;
    policy.map(drop).ok_or_else(|| none(&request.arn))
}
