//! The shards of a stream, page by page.

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::types::{Shard, ShardFilter};

use super::{Failure, told};

/// All shards that the filter lets through.
pub async fn shards(
    client: &Client,
    stream: &str,
    filter: Option<ShardFilter>,
) -> Result<Vec<Shard>, Failure> {
    let mut shards = Vec::new();
    let mut token: Option<String> = None;
    loop {
        let request = client.list_shards();
        let request = match token.take() {
            Some(token) => request.next_token(token),
            None => request.stream_name(stream).set_shard_filter(filter.clone()),
        };
        let page = request.send().await.map_err(told)?;
        shards.extend(page.shards.unwrap_or_default());
        match page.next_token {
            Some(next) => token = Some(next),
            None => return Ok(shards),
        }
    }
}
