//! The scenarios and profiles, by name.

use std::time::Duration;

use clap::ValueEnum;

/// What happens to the workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Scenario {
    /// SIGKILL; the others find out by themselves
    Kill,
    /// SIGKILL; the supervisor reaps the worker and tells the table
    KillReaped,
    /// SIGSTOP for half a lease duration to ten, then SIGCONT
    Zombie,
    /// SIGTERM: the worker hands its shards over
    Stop,
    /// Every worker is replaced, each replacement started first
    Rolling,
    /// A worker loses its connection to the table
    Partition,
    /// The table refuses nine requests in ten for a minute
    Throttle,
    /// The table is gone for a while
    Outage,
    /// The table is stopped and started again
    TableRestart,
    /// Shards are split and merged while workers are killed
    Reshard,
    /// A handler that takes 30 ms a record, overloaded, while workers join and die
    Slow,
    /// Nothing happens and nothing is put: what the table is asked all the same
    Idle,
    /// One worker starts on a new table: how long until it holds every shard
    Start,
    /// All but the last two, one after the other
    All,
}

impl Scenario {
    /// Every one that something happens in, in the order of `all`.
    pub(crate) const EACH: [Self; 11] = [
        Self::Kill,
        Self::KillReaped,
        Self::Zombie,
        Self::Stop,
        Self::Rolling,
        Self::Partition,
        Self::Throttle,
        Self::Outage,
        Self::TableRestart,
        Self::Reshard,
        Self::Slow,
    ];

    /// Its name on the command line.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// How often it happens if nobody says.
    pub(crate) fn usual_rounds(self) -> u32 {
        match self {
            Self::Kill | Self::KillReaped | Self::Stop => 10,
            Self::Zombie | Self::Partition | Self::Reshard => 4,
            Self::Slow | Self::Start => 3,
            _ => 1,
        }
    }

    /// True if nothing may move because of it.
    pub(crate) fn moves_nothing(self) -> bool {
        matches!(self, Self::Outage | Self::TableRestart | Self::Idle)
    }

    /// True if a slow table makes a round worthless. One that restarts is slow by itself.
    pub(crate) fn needs_a_quick_table(self) -> bool {
        self != Self::TableRestart
    }

    /// True if what is measured has no wait of the protocol in it, but requests alone: how long one
    /// usually takes decides it all.
    pub(crate) fn is_of_requests_alone(self) -> bool {
        matches!(self, Self::KillReaped | Self::Stop | Self::Rolling)
    }

    /// True if records are put all along.
    pub(crate) fn has_records(self) -> bool {
        !matches!(self, Self::Idle | Self::Start)
    }

    /// True if it needs a fleet before its first round.
    pub(crate) fn begins_settled(self) -> bool {
        self != Self::Start
    }

    /// True if all rounds are played on one lease table.
    pub(crate) fn has_one_table(self) -> bool {
        self != Self::Start
    }

    /// How often workers look for records, where that is no matter of the service's limits: with
    /// hundreds of shards every 20 ms is more than the machine can do.
    pub(crate) fn poll_millis(self) -> Option<u32> {
        match self {
            Self::Idle => Some(1000),
            Self::Start => Some(250),
            _ => None,
        }
    }
}

/// How quickly the fleet reacts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Profile {
    /// D = 1.5 s
    Fast,
    /// D = 3 s
    Default,
}

impl Profile {
    /// `D`.
    pub(crate) fn lease_duration(self) -> Duration {
        match self {
            Self::Fast => Duration::from_millis(1500),
            Self::Default => Duration::from_secs(3),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_every_scenario_but_those_in_which_nothing_happens() {
        let apart = [Scenario::Idle, Scenario::Start, Scenario::All];
        let every = Scenario::value_variants().iter().copied();
        let rest: Vec<_> = every.filter(|scenario| !apart.contains(scenario)).collect();
        assert_eq!(Scenario::EACH.to_vec(), rest);
    }
}
