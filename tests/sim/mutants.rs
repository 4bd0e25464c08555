//! The real scheduler with one rule broken, in a simulated fleet: somebody must notice.

use kcl_core::protocol::Mutant::{self, *};
use kcl_core::protocol::Rules;
use kcl_testkit::sim::{Options, run, silence_simulated_panics};

/// Each with a seed that shows it.
const BROKEN: [(Mutant, u64); 22] = [
    (CheckpointPastUnacked, 0),
    (CachedCheckpoint, 0),
    (CheckpointWithoutOrdinal, 16),
    (CheckpointPastEffect, 5),
    (EffectsAtSameOrdinal, 5),
    (HandOverKeepsOrdinal, 5),
    (ChildAfterOneParent, 6),
    (LiveLeaseTaken, 0),
    (AbsentIsDead, 7),
    (HeldDuringHandOver, 0),
    (HoldAtSpentFence, 34),
    (TakeByOwnerAlone, 32),
    (TakeExtendsValidity, 14),
    (ForceWithoutWait, 6),
    (ForceRereadsFence, 32),
    (RevokeAfterValidity, 110),
    (ValidityFromReply, 42),
    (FenceWithoutHeartbeat, 0),
    (IdUsedTwice, 1),
    (MissingCanBeat, 42),
    (MarkInAsk, 235),
    (RevokeWithoutFence, 235),
];

/// Faults that are drawn otherwise one day move the seed, not the fact.
const SEEDS: u64 = 60;

#[test]
fn a_fleet_that_breaks_a_rule_is_seen_to_break_a_promise() {
    silence_simulated_panics();
    for (mutant, first) in BROKEN {
        let breaks = |seed: &u64| {
            let whole = Options::seed(*seed);
            let broken = Options { rules: Rules::breaking(mutant), ..whole.clone() };
            !run(&broken).violations.is_empty() && run(&whole).violations.is_empty()
        };
        let seed = (first..first + SEEDS).find(breaks);
        assert!(seed.is_some(), "{mutant:?} goes unnoticed: is a check missing?");
        println!("| {mutant:?} | {} |", seed.unwrap_or_default());
    }
}
