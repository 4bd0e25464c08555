//! Shards that split and merge while workers die.

use std::time::Duration;

use kcl_core::{Clock, Shard, SystemClock};

use super::Round;
use crate::stage::{Stage, Trouble, await_active};

/// A split or a merge, and a kill right behind it.
pub(super) async fn reshard(round: &mut Round<'_>) -> Result<(), Trouble> {
    split_or_merge(round.stage, round.number).await?;
    SystemClock.sleep(Duration::from_millis(50 * round.draw("pause", 10) as u64)).await;
    super::lose::kill(round).await
}

/// Splits the widest open shard or merges the two narrowest neighbours, in turns.
async fn split_or_merge(stage: &Stage, turn: usize) -> Result<(), Trouble> {
    let mut open: Vec<_> =
        stage.list_shards().await?.into_iter().filter(|shard| shard.is_open).collect();
    open.sort_by_key(|shard| shard.range);
    let width = |shard: &Shard| shard.range.end - shard.range.start;
    if turn.is_multiple_of(2) {
        let widest = open.iter().max_by_key(|shard| width(shard)).ok_or("no open shard")?;
        let middle = widest.range.start + width(widest) / 2 + 1;
        let split = stage.kinesis.split_shard().stream_name(&stage.stream);
        let split = split.shard_to_split(widest.id.as_str());
        split.new_starting_hash_key(middle.to_string()).send().await?;
    } else {
        let pair = open.windows(2).min_by_key(|pair| width(&pair[0]) / 2 + width(&pair[1]) / 2);
        let pair = pair.ok_or("no two shards touch")?;
        let merge = stage.kinesis.merge_shards().stream_name(&stage.stream);
        let merge = merge.shard_to_merge(pair[0].id.as_str());
        merge.adjacent_shard_to_merge(pair[1].id.as_str()).send().await?;
    }
    await_active(&stage.kinesis, &stage.stream).await
}
