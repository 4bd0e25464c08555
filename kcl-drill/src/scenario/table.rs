//! Trouble with the table.

use std::time::Duration;

use kcl_core::{Clock, SystemClock};

use super::Round;
use crate::proxy::Harm;
use crate::stage::Trouble;

/// How long the table refuses most of what it is asked.
const THROTTLED: Duration = Duration::from_secs(60);
/// How much of it, in thousandths.
const THROTTLED_SHARE: u64 = 900;
/// How long the table is gone.
const OUTAGE: Duration = Duration::from_secs(20);

/// One worker loses its connection to the table, and gets it back.
pub(super) async fn partition(round: &mut Round<'_>) -> Result<(), Trouble> {
    let victim = round.victim();
    let loss = round.stage.loss_of(victim, round.number);
    let door = round.stage.fleet.workers[victim].door.clone();
    door.set_shut(true);
    let moved = round.stage.moved(loss).await;
    door.set_shut(false);
    moved?;
    round.close();
    SystemClock.sleep(round.stage.args.lease_duration()).await;
    round.stage.settle().await?;
    round.stage.was_table_slow();
    Ok(())
}

/// Nine requests in ten are refused for a minute.
pub(super) async fn throttle(round: &mut Round<'_>) -> Result<(), Trouble> {
    let harm = Harm { throttle: THROTTLED_SHARE, ..Harm::default() };
    round.stage.proxy.set_harm(harm);
    SystemClock.sleep(THROTTLED).await;
    round.stage.proxy.set_harm(Harm::default());
    round.played.caught_up_after = Some(round.stage.catch_up().await?);
    round.stage.settle().await?;
    round.close();
    Ok(())
}

/// The table is gone for everybody, and nothing may move.
pub(super) async fn outage(round: &mut Round<'_>) -> Result<(), Trouble> {
    let before = round.stage.journal.owners();
    round.stage.proxy.set_harm(Harm { outage: true, ..Harm::default() });
    SystemClock.sleep(OUTAGE).await;
    round.stage.proxy.set_harm(Harm::default());
    round.played.caught_up_after = Some(round.stage.catch_up().await?);
    round.stage.settle().await?;
    let after = round.stage.journal.owners();
    let moved = before.iter().filter(|(shard, owner)| after.get(*shard) != Some(*owner)).count();
    if moved > 0 {
        round.played.broken.push(format!("{moved} shards moved because the table was away"));
    }
    round.close();
    Ok(())
}

/// The table is stopped and started again, with everything in it.
pub(super) async fn restart(round: &mut Round<'_>) -> Result<(), Trouble> {
    let before = round.stage.journal.owners();
    round.stage.restart_table().await?;
    round.played.caught_up_after = Some(round.stage.catch_up().await?);
    round.stage.settle().await?;
    let after = round.stage.journal.owners();
    let moved = before.iter().filter(|(shard, owner)| after.get(*shard) != Some(*owner)).count();
    if moved > 0 {
        round.played.broken.push(format!("{moved} shards moved because the table restarted"));
    }
    round.close();
    Ok(())
}
