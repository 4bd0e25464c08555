//! How far behind a consumer is said to be before its stream has answered.

use super::world::*;
use crate::SourceError;

#[tokio::test(start_paused = true)]
async fn a_shard_not_read_yet_is_behind_since_its_consumer_began() {
    let world = World::new();
    world.shelf.fail(SourceError::Throttled { retry_after: secs(30) });
    let running = world.start(ok);
    let lag = || running.status.borrow().clone().at(world.clock.monotonic()).lag_millis;
    tokio::time::sleep(secs(7)).await;
    assert_eq!(lag(), 7_000);
    tokio::time::sleep(secs(30)).await;
    assert_eq!(lag(), 0, "it was empty");
}
