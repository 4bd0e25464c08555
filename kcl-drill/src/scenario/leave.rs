//! Workers that leave on purpose, that start, and that have nothing to do.

use kcl_core::{Clock, SystemClock};

use super::Round;
use crate::limits::IDLE_FOR;
use crate::stage::Trouble;

/// SIGTERM: the worker hands its shards over and exits with 0.
pub(super) async fn stop(round: &mut Round<'_>) -> Result<(), Trouble> {
    let victim = round.victim();
    let loss = round.stage.loss_of(victim, round.number);
    round.stage.stop_worker(victim).await?;
    round.stage.moved(loss).await?;
    round.stage.fleet.start().await?;
    round.stage.settle().await?;
    Ok(())
}

/// A deploy: every worker is replaced. Each replacement is started first, and once it has joined,
/// the old one is asked to leave.
pub(super) async fn rolling(round: &mut Round<'_>) -> Result<(), Trouble> {
    for _ in 0..round.stage.args.workers {
        let place = round.stage.fleet.start().await?;
        let (name, patience) = (round.stage.fleet.workers[place].name.clone(), round.patience());
        let joined = "the replacement has joined";
        round.stage.until(joined, patience, |stage| stage.journal.is_ready(&name)).await?;
        // The oldest: replacements are put behind.
        round.stage.stop_worker(0).await?;
        round.stage.settle().await?;
    }
    Ok(())
}

/// Nothing happens.
pub(super) async fn idle() -> Result<(), Trouble> {
    SystemClock.sleep(IDLE_FOR).await;
    Ok(())
}

/// One worker starts on a new table, and is killed once it holds everything.
pub(super) async fn start(round: &mut Round<'_>) -> Result<(), Trouble> {
    let Round { stage, number, played } = round;
    let application = format!("{}-{number}", stage.stream);
    stage.fleet.recipe.environment.insert("APP".to_owned(), application);
    let (started, shards) = (SystemClock.monotonic(), stage.args.shards as usize);
    let place = stage.fleet.start().await?;
    let name = stage.fleet.workers[place].name.clone();
    let patience = stage.args.patience();
    stage
        .until("the worker holds every shard", patience, |stage| {
            stage.journal.held_by(&name).len() >= shards
        })
        .await?;
    played.starts.push(SystemClock.monotonic().since(started));
    stage.fleet.kill(place).await?;
    Ok(())
}
