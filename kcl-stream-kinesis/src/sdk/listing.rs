//! Every shard of a stream, page by page.

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::DateTime;
use kcl_core::{Shard, SourceError};

use super::decode;
use super::errors::{classify, classify_listing};
use crate::limits::LISTING_PAGES;
use crate::stream_ref::StreamRef;

/// Every shard within the retention of the stream created at this time, in the order of ids,
/// parents first.
pub(super) async fn list(
    client: &Client,
    stream: &StreamRef,
    created: Option<&DateTime>,
) -> Result<Vec<Shard>, SourceError> {
    let mut shards = Vec::new();
    let mut token = None;
    for _ in 0..LISTING_PAGES {
        let request = client.list_shards().set_stream_id(stream.id());
        // A token stands for the stream; both in one request are refused.
        let request = match token {
            Some(token) => request.next_token(token),
            None => request
                .set_stream_name(stream.name())
                .set_stream_arn(stream.arn())
                .set_stream_creation_timestamp(created.copied()),
        };
        let what = format!("stream {stream}");
        let page = request.send().await.map_err(|error| classify_listing(&error, &what))?;
        for wire in page.shards() {
            shards.push(decode::shard(wire)?);
        }
        token = page.next_token;
        if token.is_none() {
            shards.sort_by(|a, b| a.id.cmp(&b.id));
            return Ok(shards);
        }
    }
    Err(SourceError::Refused(format!("the listing of stream {stream} has no end")))
}

/// Asks for the stream created at this time and no other. (A listing may be asked for far more
/// often than a description.)
///
/// # Errors
/// `NotFound` if there is none.
pub(super) async fn check_created(
    client: &Client,
    stream: &StreamRef,
    created: &DateTime,
) -> Result<(), SourceError> {
    let request = client
        .list_shards()
        .set_stream_name(stream.name())
        .set_stream_arn(stream.arn())
        .set_stream_id(stream.id())
        .stream_creation_timestamp(*created)
        .max_results(1);
    let answer = request.send().await;
    answer.map(drop).map_err(|error| classify(&error, &format!("stream {stream}")))
}
