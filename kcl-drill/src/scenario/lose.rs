//! Workers that are lost: killed, frozen, overloaded.

use std::time::Duration;

use kcl_core::{Clock, SystemClock};

use super::Round;
use crate::stage::Trouble;

/// SIGKILL, and nobody tells the others.
pub(super) async fn kill(round: &mut Round<'_>) -> Result<(), Trouble> {
    let victim = round.victim();
    let loss = round.stage.loss_of(victim, round.number);
    round.stage.fleet.kill(victim).await?;
    round.stage.moved(loss).await?;
    round.stage.fleet.start().await?;
    round.stage.settle().await?;
    Ok(())
}

/// SIGKILL by a supervisor that reaps the worker and says so in the table.
pub(super) async fn kill_reaped(round: &mut Round<'_>) -> Result<(), Trouble> {
    // A supervisor at work has its connection to the table.
    round.stage.fence("nobody").await?;
    let victim = round.victim();
    let loss = round.stage.loss_of(victim, round.number);
    let mut dead = round.stage.fleet.reap(victim).await?;
    round.stage.fence(&loss.worker).await?;
    dead.hear_out().await;
    round.stage.moved(loss).await?;
    round.stage.fleet.start().await?;
    round.stage.settle().await?;
    Ok(())
}

/// SIGSTOP, from half a lease duration to ten, then SIGCONT: the worker wakes and must do nothing
/// that is not its own any more.
pub(super) async fn zombie(round: &mut Round<'_>) -> Result<(), Trouble> {
    let victim = round.victim();
    let shortest = round.stage.args.lease_duration() / 2;
    // 0.5 D to 10 D, in steps of half a D.
    let asleep = shortest * (1 + u32::try_from(round.draw("asleep", 20))?);
    round.stage.fleet.freeze(victim)?;
    SystemClock.sleep(asleep).await;
    round.stage.fleet.thaw(victim)?;
    // One that was declared dead has lost its shards by two lease durations after it fell asleep:
    // from there on an even fleet is one in which it takes part again.
    let rest = round.stage.args.lease_duration() * 2;
    SystemClock.sleep(rest.saturating_sub(asleep)).await;
    round.stage.settle().await?;
    Ok(())
}

/// More work than the fleet can do, while workers join and die.
pub(super) async fn slow(round: &mut Round<'_>) -> Result<(), Trouble> {
    let joined = round.stage.fleet.start().await?;
    SystemClock.sleep(round.stage.args.lease_duration() * 2).await;
    let victim = round.draw("victim", joined);
    let loss = round.stage.loss_of(victim, round.number);
    round.stage.fleet.kill(victim).await?;
    round.stage.moved(loss).await?;
    SystemClock.sleep(Duration::from_secs(2)).await;
    Ok(())
}
