//! Tags of streams and consumers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::StreamOnly;
use crate::dispatch::Body;
use crate::error::ApiError;
use crate::limits::TAGS;
use crate::names::resource_of;
use crate::state::{Attached, Resource, State};

#[derive(Deserialize)]
pub(crate) struct AddToStream {
    #[serde(flatten)]
    stream: StreamOnly,
    #[serde(rename = "Tags")]
    tags: BTreeMap<String, String>,
}

pub(crate) fn add_to_stream(state: &State, request: AddToStream) -> Result<(), ApiError> {
    let stream = Resource::Stream(request.stream.stream(state)?);
    state.attached(&stream, |attached| attached.tag(request.tags))?
}

#[derive(Deserialize)]
pub(crate) struct RemoveFromStream {
    #[serde(flatten)]
    stream: StreamOnly,
    #[serde(rename = "TagKeys")]
    keys: Vec<String>,
}

fn untag(attached: &mut Attached, keys: &[String]) {
    attached.tags.retain(|key, _| !keys.contains(key));
}

pub(crate) fn remove_from_stream(state: &State, request: RemoveFromStream) -> Result<(), ApiError> {
    let stream = Resource::Stream(request.stream.stream(state)?);
    state.attached(&stream, |attached| untag(attached, &request.keys))
}

#[derive(Deserialize)]
pub(crate) struct ListForStream {
    #[serde(flatten)]
    stream: StreamOnly,
    #[serde(rename = "ExclusiveStartTagKey")]
    after: Option<String>,
    #[serde(rename = "Limit")]
    limit: Option<usize>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Tag {
    key: String,
    value: String,
}

fn listed(tags: &BTreeMap<String, String>) -> Vec<Tag> {
    tags.iter().map(|(key, value)| Tag { key: key.clone(), value: value.clone() }).collect()
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListedForStream {
    tags: Vec<Tag>,
    has_more_tags: bool,
}

pub(crate) fn list_for_stream(
    state: &State,
    request: ListForStream,
) -> Result<Body<ListedForStream>, ApiError> {
    let stream = Resource::Stream(request.stream.stream(state)?);
    let mut tags = state.attached(&stream, |attached| listed(&attached.tags))?;
    if let Some(after) = request.after {
        tags.retain(|tag| tag.key > after);
    }
    let limit = request.limit.unwrap_or(TAGS);
    let has_more_tags = tags.len() > limit;
    tags.truncate(limit);
    Ok(Body(ListedForStream { tags, has_more_tags }))
}

#[derive(Deserialize)]
pub(crate) struct Add {
    #[serde(rename = "ResourceARN")]
    arn: String,
    #[serde(rename = "Tags")]
    tags: BTreeMap<String, String>,
}

pub(crate) fn add(state: &State, request: Add) -> Result<(), ApiError> {
    state.attached(&resource_of(&request.arn)?, |attached| attached.tag(request.tags))?
}

#[derive(Deserialize)]
pub(crate) struct Remove {
    #[serde(rename = "ResourceARN")]
    arn: String,
    #[serde(rename = "TagKeys")]
    keys: Vec<String>,
}

pub(crate) fn remove(state: &State, request: Remove) -> Result<(), ApiError> {
    state.attached(&resource_of(&request.arn)?, |attached| untag(attached, &request.keys))
}

#[derive(Deserialize)]
pub(crate) struct List {
    #[serde(rename = "ResourceARN")]
    arn: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Listed {
    tags: Vec<Tag>,
}

pub(crate) fn list(state: &State, request: List) -> Result<Body<Listed>, ApiError> {
    let tags = state.attached(&resource_of(&request.arn)?, |attached| listed(&attached.tags))?;
    Ok(Body(Listed { tags }))
}
