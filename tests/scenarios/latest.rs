//! "Latest" on a stream whose shards have no known tip, as on Kinesis.

use std::sync::Arc;
use std::time::Duration;

use kcl_core::protocol::{Position, ShardId};
use kcl_core::{
    InitialPosition, ReadFrom, Shard, ShardReader, SourceError, StreamDescription, StreamSource,
    async_trait,
};
use kcl_stream_local::{LocalSource, NewRecord};
use kcl_testkit::history::{What, every_record_is_delivered};

use crate::fleet::{Fleet, Worker};

/// Hides where its shards end.
struct NoTips(LocalSource);

#[async_trait]
impl StreamSource for NoTips {
    async fn describe(&self) -> Result<StreamDescription, SourceError> {
        self.0.describe().await
    }
    async fn list_shards(&self) -> Result<Vec<Shard>, SourceError> {
        let mut shards = self.0.list_shards().await?;
        shards.iter_mut().for_each(|shard| shard.tip = None);
        Ok(shards)
    }
    async fn open(
        &self,
        shard: &ShardId,
        from: ReadFrom,
    ) -> Result<Box<dyn ShardReader>, SourceError> {
        self.0.open(shard, from).await
    }
}

fn start(fleet: &mut Fleet) -> Worker {
    let config = fleet.config().initial_position(InitialPosition::Latest);
    let source = Arc::new(NoTips(fleet.stream.source()));
    fleet.start_on(config, source, fleet.note())
}

#[tokio::test(start_paused = true)]
async fn latest_without_tips_is_five_seconds_before_the_first_start_for_every_worker() {
    let mut fleet = Fleet::new(2);
    let put_old = |key: &str| fleet.stream.put(NewRecord::new(key, "old")).unwrap().sequence;
    let long_before = [put_old("a"), put_old("b")];
    fleet.pass(Duration::from_secs(20)).await;
    fleet.put(10);
    fleet.pass(Duration::from_secs(3)).await;
    let first = start(&mut fleet);
    fleet.pass(Duration::from_secs(1)).await;
    first.kill();
    fleet.put(10);
    fleet.pass(Duration::from_secs(60)).await;
    let _second = start(&mut fleet);
    fleet.pass(Duration::from_secs(20)).await;
    let history = fleet.recorder.history();
    assert_eq!(every_record_is_delivered(&history), []);
    for entry in &history {
        let What::Given { positions, .. } = &entry.what else { continue };
        for old in long_before {
            assert!(!positions.contains(&Position::from(old)), "from before the slack");
        }
    }
}
