//! Every shard of a stream, page by page.

use aws_sdk_kinesis::Client;
use kcl_core::{ChildShard, Shard, SourceError};
use kcl_protocol::ShardId;

use crate::decode;
use crate::errors::classify;
use crate::limits::LISTING_PAGES;
use crate::stream_ref::StreamRef;

/// Every shard within the stream's retention, in the order of ids, parents first.
pub(crate) async fn list(client: &Client, stream: &StreamRef) -> Result<Vec<Shard>, SourceError> {
    let mut shards = Vec::new();
    let mut token = None;
    for _ in 0..LISTING_PAGES {
        let request = client.list_shards();
        // A token stands for the stream; both in one request are refused.
        let request = match token {
            Some(token) => request.next_token(token),
            None => request.set_stream_name(stream.name()).set_stream_arn(stream.arn()),
        };
        let what = format!("stream {}", stream.as_str());
        let page = request.send().await.map_err(|error| listing_error(classify(&error, &what)))?;
        for wire in page.shards() {
            shards.push(decode::shard(wire)?);
        }
        token = page.next_token;
        if token.is_none() {
            shards.sort_by(|a, b| a.id.cmp(&b.id));
            return Ok(shards);
        }
    }
    let name = stream.as_str();
    Err(SourceError::Refused(format!("the listing of stream {name} has no end")))
}

/// Of a listing an expired token means: list anew.
fn listing_error(error: SourceError) -> SourceError {
    match error {
        SourceError::Refused(why) if why.contains("ExpiredNextTokenException") => {
            SourceError::Unavailable(why)
        }
        other => other,
    }
}

/// The shards that follow one, for a service that names none when it ends.
pub(crate) async fn children_of(
    client: &Client,
    stream: &StreamRef,
    parent: &ShardId,
) -> Result<Vec<ChildShard>, SourceError> {
    let shards = list(client, stream).await?;
    let children = shards.into_iter().filter(|shard| shard.parents.contains(parent));
    Ok(children
        .map(|shard| ChildShard { id: shard.id, parents: shard.parents, range: shard.range })
        .collect())
}
