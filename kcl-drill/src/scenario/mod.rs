//! What happens to the workers, one function a scenario. Each but `slow` and `start` leaves a
//! settled fleet behind.

mod leave;
mod lose;
mod reshard;
mod table;

use std::time::Duration;

use kcl_core::protocol::hash;
use kcl_core::{Clock, SystemClock};

use crate::kinds::Scenario;
use crate::stage::{Stage, Trouble};

/// What a scenario came to, beyond what the journal tells.
#[derive(Debug, Default)]
pub(crate) struct Played {
    /// How long the fleet took to catch up, for each round, where that counts.
    pub caught_up_after: Vec<Duration>,
    /// From the start of a worker to its last shard, for each round, where that counts.
    pub starts: Vec<Duration>,
}

/// Plays a scenario.
///
/// # Errors
/// What kept it from going on. What was played until then is on the stage.
pub(crate) async fn play(
    stage: &mut Stage,
    scenario: Scenario,
    rounds: u32,
    played: &mut Played,
) -> Result<(), Trouble> {
    if scenario.has_records() {
        stage.produce();
    }
    if scenario.begins_settled() {
        stage.open().await?;
        stage.settle().await?;
    }
    if scenario == Scenario::Idle {
        // What the start left behind.
        SystemClock.sleep(stage.args.lease_duration() * 2).await;
    }
    for number in 0..rounds {
        stage.begin_round();
        let mut round = Round { stage, number: number as usize, played };
        let went = match scenario {
            Scenario::Kill => lose::kill(&mut round).await,
            Scenario::KillReaped => lose::kill_reaped(&mut round).await,
            Scenario::Zombie => lose::zombie(&mut round).await,
            Scenario::Slow => lose::slow(&mut round).await,
            Scenario::Reshard => reshard::reshard(&mut round).await,
            Scenario::Stop => leave::stop(&mut round).await,
            Scenario::Rolling => leave::rolling(&mut round).await,
            Scenario::Partition => table::partition(&mut round).await,
            Scenario::Throttle => table::throttle(&mut round).await,
            Scenario::Outage => table::outage(&mut round).await,
            Scenario::TableRestart => table::restart(&mut round).await,
            Scenario::Idle => leave::idle().await,
            Scenario::Start => leave::start(&mut round).await,
            Scenario::All => Err("`all` is played one by one".into()),
        };
        stage.end_round();
        went?;
    }
    Ok(())
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

    fn patience(&self) -> Duration {
        self.stage.args.patience()
    }

    /// The place of a worker to do something to: one that holds something, if any does.
    fn victim(&self) -> usize {
        let workers = &self.stage.fleet.workers;
        let holds = |place: &usize| !self.stage.journal.held_by(&workers[*place].name).is_empty();
        let holding: Vec<usize> = (0..workers.len()).filter(holds).collect();
        match holding.get(self.draw("victim", holding.len())) {
            Some(place) => *place,
            None => self.draw("victim", workers.len()),
        }
    }
}
