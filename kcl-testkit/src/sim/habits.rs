//! How the application of a seed is written and configured: no fault, but each way has its own.

use std::time::Duration;

use kcl_core::RetryThenStop;
use kcl_core::{Acks, Action, Attempt, Config, ConsumerConfig, ErrorPolicy, ProcessorError};

use super::draw::Draws;

/// When records count as done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acking {
    /// When the call returns.
    OnReturn,
    /// When effects of the user's own are committed with them.
    WithEffects,
    /// One by one, in any order, from tasks of their own.
    Explicit,
}

/// What becomes of a record that keeps failing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Giving {
    /// The shard is parked.
    Up,
    /// The record goes to the dead letters.
    ToDeadLetters,
    /// The shard goes to another worker first.
    ToOthers,
}

/// The habits of a seed.
#[derive(Clone, Copy, Debug)]
pub struct Habits {
    /// When records count as done.
    pub acking: Acking,
    /// Batches are prepared first and committed then, in some seeds.
    pub in_two_phases: bool,
    giving: Giving,
    /// No worker takes more leases than this, in some seeds.
    most_leases: Option<u32>,
    /// Shards without progress for so long are given up, in some seeds.
    max_progress: Option<Duration>,
}

impl Habits {
    /// Of a seed, in a fleet of this size.
    pub fn of(draws: &Draws, workers: usize, shards: u32) -> Self {
        let draw = |what, bound| draws.below("habits", what, 0, bound);
        let each = shards.div_ceil(u32::try_from(workers.max(1)).unwrap_or(u32::MAX));
        Self {
            acking: match draw("acking", 4) {
                0 => Acking::WithEffects,
                1 => Acking::Explicit,
                _ => Acking::OnReturn,
            },
            in_two_phases: draw("two phases", 4) == 0,
            giving: match draw("giving", 4) {
                0 => Giving::ToDeadLetters,
                1 => Giving::ToOthers,
                _ => Giving::Up,
            },
            // Room for every shard, and for those that splits add, but not for a dead worker's.
            most_leases: (draw("most leases", 4) == 0).then_some(each + each.max(4)),
            max_progress: (draw("max progress", 3) == 0).then_some(Duration::from_secs(20)),
        }
    }

    /// A configuration with these habits.
    pub fn apply(self, config: Config) -> Config {
        let consumer = ConsumerConfig {
            acks: match self.acking {
                Acking::Explicit => Acks::Explicit,
                Acking::OnReturn | Acking::WithEffects => Acks::OnReturn,
            },
            max_unacked_records: 500,
            max_progress: self.max_progress,
            ..ConsumerConfig::default()
        };
        let config = config.consumer(consumer).error_policy(Policy(self.giving));
        let config = config.effects(self.acking == Acking::WithEffects);
        match self.most_leases {
            Some(most) => config.max_leases_per_worker(most),
            None => config,
        }
    }
}

struct Policy(Giving);

impl ErrorPolicy for Policy {
    fn decide(&self, error: &ProcessorError, attempt: Attempt) -> Action {
        match self.0 {
            Giving::ToDeadLetters if attempt.number > 3 => Action::DeadLetter,
            Giving::ToOthers if attempt.number == 4 => Action::YieldShard,
            _ => RetryThenStop::default().decide(error, attempt),
        }
    }
}
