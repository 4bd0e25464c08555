//! Trouble with the table.

use std::time::Duration;

use kcl_core::{Clock, SystemClock};

use super::Round;
use crate::proxy::{Harm, Rule};
use crate::stage::Trouble;

/// How long the table refuses most of what it is asked.
const THROTTLED: Duration = Duration::from_secs(60);
/// How much of it, in thousandths.
const THROTTLED_SHARE: u64 = 900;
/// How long the table is gone, by round and then over again, in lease durations: less than one,
/// about one, and many.
const OUTAGES: [f64; 5] = [10.0, 0.5, 1.2, 3.0, 40.0];

/// One worker loses its connection to the table, and gets it back.
pub(super) async fn partition(round: &mut Round<'_>) -> Result<(), Trouble> {
    let victim = round.victim();
    let loss = round.stage.loss_of(victim, round.number);
    let door = round.stage.fleet.workers[victim].door.clone();
    round.stage.board.says(format!("{} is cut off", loss.worker));
    door.set_shut(true);
    let moved = round.stage.moved(loss).await;
    door.set_shut(false);
    moved?;
    round.stage.settle().await?;
    Ok(())
}

/// Nine requests in ten are refused for a minute.
pub(super) async fn throttle(round: &mut Round<'_>) -> Result<(), Trouble> {
    let rules = vec![Rule::throttle(THROTTLED_SHARE)];
    round.stage.board.says("the table throttles".to_owned());
    round.stage.proxy.set_harm(Harm { is_outage: false, rules });
    SystemClock.sleep(THROTTLED).await;
    round.stage.proxy.set_harm(Harm::default());
    caught_up(round).await?;
    round.stage.settle().await?;
    Ok(())
}

/// The table is gone for everybody.
pub(super) async fn outage(round: &mut Round<'_>) -> Result<(), Trouble> {
    let share = OUTAGES[round.number % OUTAGES.len()];
    let gone = round.stage.args.lease_duration().mul_f64(share);
    round.stage.board.says(format!("the table is gone for {gone:.1?}"));
    round.stage.proxy.set_harm(Harm { is_outage: true, ..Harm::default() });
    SystemClock.sleep(gone).await;
    round.stage.proxy.set_harm(Harm::default());
    caught_up(round).await?;
    round.stage.settle().await?;
    Ok(())
}

/// The table is stopped and started again, with everything in it.
pub(super) async fn restart(round: &mut Round<'_>) -> Result<(), Trouble> {
    round.stage.board.says("the table restarts".to_owned());
    round.stage.restart_table().await?;
    caught_up(round).await?;
    round.stage.settle().await?;
    Ok(())
}

/// Waits until everything put is processed.
async fn caught_up(round: &mut Round<'_>) -> Result<(), Trouble> {
    let took = round.stage.catch_up().await?;
    round.played.caught_up_after.push(took);
    Ok(())
}
