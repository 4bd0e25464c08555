//! Each test breaks one rule of the protocol; the model must find what goes wrong, and that it is
//! what `docs/model.md` says.

use kcl_protocol::Mutant::*;
use kcl_protocol::{Mutant, Rules};
use kcl_testkit::model::cases::*;
use kcl_testkit::model::latest::FirstSync;
use kcl_testkit::model::outage::Fleet;
use stateright::{Checker, HasDiscoveries, Model};

/// What the model finds: in which case, what goes wrong, after how many steps.
type Found = (&'static str, &'static str, usize);

macro_rules! caught {
    ($($name:ident: $case:literal, $model:expr, $mutant:ident, $promise:literal, $steps:literal;)*
     ; not modelled: $($other:ident),*) => {
        $(
            #[test]
            fn $name() {
                is_caught($model.breaking($mutant), $mutant, $promise, $steps);
            }
        )*

        /// Every rule is in the table below, or not in the model at all: one that is new does not
        /// compile before it is.
        fn found(mutant: Mutant) -> Option<Found> {
            match mutant {
                $($mutant => Some(($case, $promise, $steps)),)*
                $($other => None,)*
            }
        }

        const ALL: &[Mutant] = &[$($mutant,)* $($other,)*];
    };
}

caught! {
    validity_from_reply: "takeover", takeover(4), ValidityFromReply, "P3", 15;
    own_duration_judges_others: "unequal", unequal(5), OwnDurationJudgesOthers, "P3", 11;
    fence_without_heartbeat: "takeover", takeover(3), FenceWithoutHeartbeat, "P3", 14;
    id_used_twice: "reborn", reborn(2), IdUsedTwice, "P3", 5;
    absent_is_dead: "deleted", deleted(2), AbsentIsDead, "P3", 4;
    missing_can_beat: "put back", put_back(3), MissingCanBeat, "P3", 17;
    take_extends_validity: "orphan", orphan(3), TakeExtendsValidity, "P3", 14;
    live_lease_taken: "takeover", takeover(3), LiveLeaseTaken, "P3", 3;
    take_by_owner_alone: "force", force(3), TakeByOwnerAlone, "P5", 16;
    force_without_wait: "force", force(3), ForceWithoutWait, "P3", 8;
    force_rereads_fence: "force", force(3), ForceRereadsFence, "P3", 18;
    revoke_after_validity: "force", force(4), RevokeAfterValidity, "P3", 14;
    mark_in_ask: "force", force(4), MarkInAsk, "P3", 19;
    mark_removed_by_taker: "force", force(4), MarkRemovedByTaker, "P3", 15;
    revoke_without_fence: "unheard", unheard(3), RevokeWithoutFence, "P3", 17;
    hold_at_spent_fence: "hand over", hand_over(), HoldAtSpentFence, "held at a spent fence", 4;
    held_during_hand_over: "hand over", hand_over(), HeldDuringHandOver, "P3", 4;
    hand_over_keeps_ordinal: "data", data(), HandOverKeepsOrdinal, "P5", 15;
    ask_at_any_fence: "ask", ask(3), AskAtAnyFence, "P7", 24;
    checkpoint_without_ordinal: "data", data(), CheckpointWithoutOrdinal, "P4", 7;
    effects_at_same_ordinal: "data", data(), EffectsAtSameOrdinal, "P5", 6;
    effects_at_any_fence: "data", data(), EffectsAtAnyFence, "P5", 9;
    checkpoint_past_effect: "data", data(), CheckpointPastEffect, "P5", 9;
    cached_checkpoint: "data", data(), CachedCheckpoint, "P4", 6;
    checkpoint_past_unacked: "data", data(), CheckpointPastUnacked, "P4", 3;
    hand_over_past_unacked: "data", data(), HandOverPastUnacked, "P4", 3;
    end_in_two_writes: "split", split(), EndInTwoWrites, "P8", 2;
    end_keeps_fence: "split", split(), EndKeepsFence, "P5", 2;
    child_after_one_parent: "merge", merge(), ChildAfterOneParent, "P2", 5;
    absent_parent_has_ended: "merge of a child", merge_of_child(), AbsentParentHasEnded, "P2", 5;
    closed_gap_ignored: "outage of two", Fleet::outage(2, 9, 9, 9), ClosedGapIgnored, "P7", 24;
    open_gap_ignored: "outage of two", Fleet::outage(2, 9, 9, 9), OpenGapIgnored, "P7", 25;
    fence_after_outage: "outage of two, D = 6", Fleet::outage(2, 6, 6, 8),
        FenceAfterOutage, "P7", 25;
    beats_without_replies: "unanswered", Fleet::unheard(2, 3), BeatsWithoutReplies, "P6", 65;
    latest_resolved_twice: "latest", FirstSync { workers: 2, records: 2, rules: Rules::ALL },
        LatestResolvedTwice, "P1", 5;
    ; not modelled: CheckpointErasesPrepared
}

/// What breaks first, and how, in as few steps as can be. The checker looks at many states at a
/// time, and of those that break a promise it keeps the last: what it finds is looked for again in
/// fewer steps, until there is nothing.
fn shortest<M>(broken: &M) -> Option<(&'static str, Vec<M::Action>)>
where
    M: Model + Clone + Send + Sync + 'static,
    M::State: std::fmt::Debug + Clone + std::hash::Hash + PartialEq + Send + Sync,
    M::Action: std::fmt::Debug + Clone + PartialEq + Send + Sync,
{
    let mut shortest: Option<(&'static str, Vec<M::Action>)> = None;
    loop {
        let mut checker = broken.clone().checker().finish_when(HasDiscoveries::AnyFailures);
        if let Some((_, actions)) = &shortest {
            // The state at the start is counted too.
            checker = checker.target_max_depth(actions.len() + 1);
        }
        let done = checker.spawn_bfs().join();
        let found = done.discoveries().into_iter();
        let found = found.filter(|(promise, _)| super::is_broken(&done, promise));
        let traces = found.map(|(promise, path)| (promise, path.into_actions()));
        match traces.min_by_key(|(promise, actions)| (actions.len(), *promise)) {
            Some(shorter) => shortest = Some(shorter),
            None => return shortest,
        }
    }
}

fn is_caught<M>(broken: M, mutant: Mutant, promise: &str, steps: usize)
where
    M: Model + Clone + Send + Sync + 'static,
    M::State: std::fmt::Debug + Clone + std::hash::Hash + PartialEq + Send + Sync,
    M::Action: std::fmt::Debug + Clone + PartialEq + Send + Sync,
{
    let start = super::stopwatch();
    let shortest = shortest(&broken);
    let Some((broken, actions)) = shortest else {
        panic!("{mutant:?} goes unnoticed: a check is missing, or the rule is needless")
    };
    let took = start.elapsed().as_secs_f64();
    println!("| {mutant:?} | {broken} | {} | {took:.1} s |", actions.len());
    assert!(broken.contains(promise), "{mutant:?} breaks {broken}, not {promise}");
    assert_eq!(actions.len(), steps, "{mutant:?}");
    let trace: Vec<_> = actions.iter().map(|action| format!("{action:?}")).collect();
    let trace = trace.join(", ");
    let kept = page("traces.md");
    let kept =
        kept.split("\n## ").find_map(|section| section.strip_prefix(&format!("{mutant:?}\n")));
    let is_kept = kept.is_some_and(|kept| kept.split_whitespace().eq(trace.split_whitespace()));
    assert!(is_kept, "docs/traces.md has not this trace:\n## {mutant:?}\n{trace}");
}

fn page(name: &str) -> String {
    std::fs::read_to_string(format!("{}/../docs/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// What is smaller for mutants than what is explored for the whole rules breaks nothing with them:
/// it is the mutant that fails there, not the case.
#[test]
fn the_bounds_of_mutants_break_nothing_by_themselves() {
    super::explore("outage of two, D = 6", Fleet::outage(2, 6, 6, 8));
    super::explore("unanswered, two workers", Fleet::unheard(2, 3));
    super::explore("latest, small", FirstSync { workers: 2, records: 2, rules: Rules::ALL });
}

#[test]
fn the_table_in_the_docs_says_what_the_model_finds() {
    let page = page("model.md");
    for mutant in ALL {
        let start = format!("| {mutant:?} |");
        let row = page.lines().find(|line| line.starts_with(&start));
        let row = row.unwrap_or_else(|| panic!("docs/model.md has no row of {mutant:?}"));
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let (case, promise, steps) = (cells[3], cells[4], cells[5]);
        match found(*mutant) {
            Some((in_case, breaks, after)) => {
                assert_eq!((case, steps), (in_case, after.to_string().as_str()), "{mutant:?}");
                assert!(promise.starts_with(breaks), "{mutant:?}: {promise}, not {breaks}");
            }
            None => assert_eq!((case, steps), ("", ""), "{mutant:?}"),
        }
    }
}
