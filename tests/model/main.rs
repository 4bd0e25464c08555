//! The coordination protocol, explored exhaustively within the bounds of `docs/model.md`.

use std::time::Instant;

use kcl_protocol::Mutant;
use kcl_testkit::model::{Case, cases};
use stateright::{Checker, HasDiscoveries, Model};

#[test]
fn takeover() {
    explore(cases::takeover(ticks(5)));
}
#[test]
fn unequal() {
    explore(cases::unequal(ticks(5)));
}
#[test]
fn orphan() {
    explore(cases::orphan(ticks(5)));
}
#[test]
fn deleted() {
    explore(cases::deleted(ticks(4)));
}
#[test]
fn reborn() {
    explore(cases::reborn(ticks(4)));
}
#[test]
fn force() {
    explore(cases::force(ticks(4)));
}
#[test]
fn force_or_grant() {
    explore(cases::force_or_grant(ticks(4)));
}
#[test]
fn unheard() {
    explore(cases::unheard(ticks(4)));
}
#[test]
fn put_back() {
    explore(cases::put_back(ticks(4)));
}
#[test]
fn ask() {
    explore(cases::ask(ticks(3)));
}
#[test]
fn hand_over() {
    explore(cases::hand_over());
}
#[test]
fn data() {
    explore(cases::data());
}
#[test]
fn split() {
    explore(cases::split());
}
#[test]
fn merge() {
    explore(cases::merge());
}

/// Each breaks one rule, and the model must find it.
macro_rules! caught {
    ($($name:ident: $case:expr, $mutant:ident;)*) => { mod caught { use super::cases::*; $(
        #[test]
        fn $name() {
            super::is_caught($case, kcl_protocol::Mutant::$mutant);
        }
    )* } };
}

caught! {
    validity_from_reply: takeover(5), ValidityFromReply;
    own_duration_judges_others: unequal(5), OwnDurationJudgesOthers;
    fence_without_heartbeat: takeover(5), FenceWithoutHeartbeat;
    id_used_twice: reborn(2), IdUsedTwice;
    absent_is_dead: deleted(2), AbsentIsDead;
    missing_can_beat: put_back(6), MissingCanBeat;
    take_extends_validity: orphan(4), TakeExtendsValidity;
    live_lease_taken: takeover(3), LiveLeaseTaken;
    take_by_owner_alone: force(6), TakeByOwnerAlone;
    force_without_wait: force(3), ForceWithoutWait;
    force_rereads_fence: force(6), ForceRereadsFence;
    revoke_after_validity: force(6), RevokeAfterValidity;
    mark_in_ask: force(6), MarkInAsk;
    mark_removed_by_taker: force(6), MarkRemovedByTaker;
    revoke_without_fence: unheard(6), RevokeWithoutFence;
    hold_at_spent_fence: hand_over(), HoldAtSpentFence;
    held_during_hand_over: hand_over(), HeldDuringHandOver;
    hand_over_keeps_ordinal: data(), HandOverKeepsOrdinal;
    ask_at_any_fence: ask(3), AskAtAnyFence;
    checkpoint_without_ordinal: data(), CheckpointWithoutOrdinal;
    effects_at_same_ordinal: data(), EffectsAtSameOrdinal;
    checkpoint_past_effect: data(), CheckpointPastEffect;
    cached_checkpoint: data(), CachedCheckpoint;
    checkpoint_past_unacked: data(), CheckpointPastUnacked;
    end_in_two_writes: split(), EndInTwoWrites;
    end_keeps_fence: split(), EndKeepsFence;
    child_after_one_parent: merge(), ChildAfterOneParent;
}

fn is_caught(case: Case, mutant: Mutant) {
    let name = case.name;
    let broken = case.breaking(mutant).checker().threads(1).finish_when(HasDiscoveries::Any);
    let done = broken.spawn_bfs().join();
    let found =
        done.discoveries().into_iter().map(|(promise, path)| (promise, path.into_actions()));
    let shortest = found.min_by_key(|(_, path)| path.len());
    let (promise, path) = shortest.expect("the model finds nothing wrong with the broken rule");
    println!("| {mutant:?} | {name} | {promise} | {} |", path.len());
    if std::env::var("TRACE").is_ok() {
        println!("{path:?}");
    }
}

fn ticks(usual: u64) -> u64 {
    std::env::var("T").ok().and_then(|t| t.parse().ok()).unwrap_or(usual)
}

fn explore(case: Case) {
    let name = case.name;
    let start = Instant::now();
    let done = case.checker().threads(2).finish_when(HasDiscoveries::Any).spawn_dfs().join();
    eprintln!("{name}: {} unique states, {:?}", done.unique_state_count(), start.elapsed());
    for (promise, path) in done.discoveries() {
        eprintln!("{promise}: {:#?}", path.into_actions());
    }
    done.assert_properties();
}
