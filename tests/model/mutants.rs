//! Each test breaks one rule of the protocol; the model must find what goes wrong.

use kcl_protocol::Mutant::*;
use kcl_protocol::{Mutant, Rules};
use kcl_testkit::model::cases::*;
use kcl_testkit::model::checks::MOVES;
use kcl_testkit::model::latest::FirstSync;
use kcl_testkit::model::outage::Fleet;
use stateright::{Checker, HasDiscoveries, Model};

macro_rules! caught {
    ($($name:ident: $model:expr, $mutant:ident;)*) => { $(
        #[test]
        fn $name() {
            is_caught($model.breaking($mutant), $mutant);
        }
    )* };
}

caught! {
    validity_from_reply: takeover(4), ValidityFromReply;
    own_duration_judges_others: unequal(5), OwnDurationJudgesOthers;
    fence_without_heartbeat: takeover(3), FenceWithoutHeartbeat;
    id_used_twice: reborn(2), IdUsedTwice;
    absent_is_dead: deleted(2), AbsentIsDead;
    missing_can_beat: put_back(3), MissingCanBeat;
    take_extends_validity: orphan(3), TakeExtendsValidity;
    live_lease_taken: takeover(3), LiveLeaseTaken;
    take_by_owner_alone: force(3), TakeByOwnerAlone;
    force_without_wait: force(3), ForceWithoutWait;
    force_rereads_fence: force(3), ForceRereadsFence;
    revoke_after_validity: force(4), RevokeAfterValidity;
    mark_in_ask: force(4), MarkInAsk;
    mark_removed_by_taker: force(4), MarkRemovedByTaker;
    revoke_without_fence: unheard(3), RevokeWithoutFence;
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
    closed_gap_ignored: Fleet::outage(2, 9, 9, 9), ClosedGapIgnored;
    open_gap_ignored: Fleet::outage(2, 9, 9, 9), OpenGapIgnored;
    fence_after_outage: Fleet::outage(2, 6, 6, 8), FenceAfterOutage;
    beats_without_replies: Fleet::unheard(2, 3), BeatsWithoutReplies;
    latest_resolved_twice: FirstSync { workers: 2, records: 2, rules: Rules::ALL },
        LatestResolvedTwice;
}

/// Breadth first, so that the trace is a shortest one.
fn is_caught<M>(broken: M, mutant: Mutant)
where
    M: Model + Send + Sync + 'static,
    M::State: std::fmt::Debug + Clone + std::hash::Hash + PartialEq + Send + Sync,
    M::Action: std::fmt::Debug + Clone + PartialEq + Send + Sync,
{
    let start = super::stopwatch();
    let done = broken.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let found = done.discoveries().into_iter().filter(|(promise, _)| *promise != MOVES);
    let shortest = found.map(|(promise, path)| (path.into_actions(), promise));
    let (path, promise) = shortest.min_by_key(|(path, _)| path.len()).unwrap_or_else(|| {
        panic!("{mutant:?} goes unnoticed: a check is missing, or the rule is needless")
    });
    let took = start.elapsed().as_secs_f64();
    println!("| {mutant:?} | {promise} | {} | {took:.1} s |", path.len());
}
