//! What happens to the workers, one function a scenario. Each leaves a settled fleet behind.

mod leave;
mod lose;
mod table;

use std::time::Duration;

use kcl_core::protocol::hash;

use crate::args::Scenario;
use crate::stage::{Stage, Trouble};

/// What a scenario came to, beyond what the journal tells.
#[derive(Debug, Default)]
pub(crate) struct Played {
    /// Rounds in which the table was so slow that they say nothing.
    pub invalid: Vec<usize>,
    /// What went wrong.
    pub broken: Vec<String>,
    /// How long the fleet took to catch up afterwards, where that counts.
    pub caught_up_after: Option<Duration>,
}

/// Plays a scenario; `progress` hears of each round.
///
/// # Errors
/// What kept it from going on.
pub(crate) async fn play(
    stage: &mut Stage,
    scenario: Scenario,
    rounds: u32,
    progress: &mut (dyn FnMut(u32) + Send),
) -> Result<Played, Trouble> {
    let mut played = Played::default();
    stage.settle().await?;
    stage.was_table_slow();
    for round in 0..rounds {
        let mut play = Round { stage, number: round as usize, played: &mut played };
        match scenario {
            Scenario::Kill => lose::kill(&mut play).await?,
            Scenario::KillReaped => lose::kill_reaped(&mut play).await?,
            Scenario::Zombie => lose::zombie(&mut play).await?,
            Scenario::Slow => lose::slow(&mut play).await?,
            Scenario::Reshard => lose::reshard(&mut play).await?,
            Scenario::Stop => leave::stop(&mut play).await?,
            Scenario::Rolling => leave::rolling(&mut play).await?,
            Scenario::Partition => table::partition(&mut play).await?,
            Scenario::Throttle => table::throttle(&mut play).await?,
            Scenario::Outage => table::outage(&mut play).await?,
            Scenario::TableRestart => table::restart(&mut play).await?,
            Scenario::All => return Err("`all` is played one by one".into()),
        }
        progress(round + 1);
    }
    Ok(played)
}

/// One round of a scenario.
struct Round<'a> {
    stage: &'a mut Stage,
    number: usize,
    played: &'a mut Played,
}

impl Round<'_> {
    /// A number that follows from the drill's seed, below `bound`.
    fn draw(&self, what: &str, bound: usize) -> usize {
        let seed = hash::of_bytes(self.stage.args.seed, what.as_bytes());
        let drawn = hash::mix(seed ^ hash::mix(self.number as u64));
        usize::try_from(drawn % bound.max(1) as u64).unwrap_or(0)
    }
    /// The place of a worker to do something to.
    fn victim(&self) -> usize {
        self.draw("victim", self.stage.fleet.workers.len())
    }
    /// Ends a round: was it worth anything?
    fn close(&mut self) {
        if self.stage.was_table_slow() {
            self.played.invalid.push(self.number);
        }
    }
}
