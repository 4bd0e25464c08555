//! Workers that leave on purpose.

use super::Round;
use crate::stage::Trouble;

/// SIGTERM: the worker hands its shards over and exits with 0.
pub(super) async fn stop(round: &mut Round<'_>) -> Result<(), Trouble> {
    let victim = round.victim();
    let loss = round.stage.loss_of(victim, round.number);
    round.stage.fleet.stop(victim).await?;
    round.stage.moved(loss).await?;
    round.close();
    round.stage.fleet.start().await?;
    round.stage.settle().await?;
    round.stage.was_table_slow();
    Ok(())
}

/// A deploy: every worker is replaced, each replacement started first.
pub(super) async fn rolling(round: &mut Round<'_>) -> Result<(), Trouble> {
    for _ in 0..round.stage.args.workers {
        round.stage.fleet.start().await?;
        round.stage.settle().await?;
        // The oldest: replacements are put behind.
        round.stage.fleet.stop(0).await?;
        round.stage.settle().await?;
    }
    round.close();
    Ok(())
}
