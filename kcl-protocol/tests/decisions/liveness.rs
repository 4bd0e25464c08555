//! When a worker heartbeats, how long it is valid, and when it may judge others.

use kcl_protocol::liveness::{apply_revocations, heartbeat, removable};
use kcl_protocol::{
    Beat, CasOutcome, Due, EntryId, Fence, HeldDigest, Holdings, InboxEntry, Liveness, Rules,
    WorkerRow, WorkerState,
};

use super::{TIMING, id, key, ms, row, told};

fn registered() -> Liveness {
    Liveness::registered(TIMING, ms(1000), ms(1010))
}

/// Heartbeat `count`, sent and answered at these times.
fn beat(life: &mut Liveness, count: u64, sent: u64, answered: u64) -> Beat {
    life.sent(ms(sent));
    life.beat_answered(&row("me", count), ms(sent), ms(answered), &mut Holdings::default())
}

fn revoke(lease: &str, fence: u64) -> InboxEntry {
    InboxEntry::Revoke { lease: key(lease), fence: Fence(fence), to: id("other") }
}

fn with_inbox(entries: &[(u128, InboxEntry)]) -> WorkerRow {
    let inbox = entries.iter().map(|(id, entry)| (EntryId(*id), entry.clone())).collect();
    WorkerRow { inbox, ..row("me", 2) }
}

#[test]
fn validity_counts_from_before_the_heartbeat_was_sent_and_never_shrinks() {
    let mut life = registered();
    assert_eq!(life.valid_until(), ms(1000 + 2977));
    assert_eq!(life.timing(), TIMING);
    beat(&mut life, 2, 2000, 2500);
    assert_eq!(life.valid_until(), ms(2000 + 2977));
    beat(&mut life, 3, 1500, 2600);
    assert_eq!(life.valid_until(), ms(2000 + 2977));
}

#[test]
fn a_registration_needs_a_row_of_its_own() {
    assert!(Liveness::is_registered(&CasOutcome::Won(None), Rules::ALL));
    assert!(!Liveness::is_registered(&CasOutcome::Lost(None), Rules::ALL));
}

#[test]
fn a_heartbeat_is_due_every_third_of_the_lease_duration() {
    let mut life = registered();
    assert_eq!(life.due(ms(1999)), Due::Nothing(ms(2000)));
    assert_eq!(life.due(ms(2000)), Due::Heartbeat);
    life.sent(ms(2000));
    assert_eq!(life.due(ms(2001)), Due::Nothing(ms(3000)));
}

#[test]
fn a_hint_brings_the_next_heartbeat_forward_and_never_puts_it_off() {
    let mut life = registered();
    life.hurry(ms(1500));
    assert_eq!(life.due(ms(1500)), Due::Heartbeat);
    life.hurry(ms(1700));
    assert_eq!(life.due(ms(1600)), Due::Heartbeat);
}

#[test]
fn without_answers_for_the_lease_duration_a_worker_only_reads() {
    let mut life = registered();
    life.sent(ms(3000));
    assert_eq!(life.due(ms(4009)), Due::Heartbeat);
    assert_eq!(life.due(ms(4010)), Due::ReadRow);
    life.sent(ms(4010));
    life.hurry(ms(4100));
    assert_eq!(life.due(ms(4100)), Due::Nothing(ms(5010)), "a hint is no answer");
    assert_eq!(life.due(ms(5010)), Due::ReadRow);
}

#[test]
fn an_answered_read_allows_one_heartbeat_and_then_silence_again() {
    let mut life = registered();
    assert_eq!(life.due(ms(4010)), Due::ReadRow);
    life.sent(ms(4010));
    life.read_answered(ms(4050));
    assert_eq!(life.due(ms(4050)), Due::Heartbeat);
    life.sent(ms(4050));
    life.beat_unanswered(ms(5050));
    let silence = ms(5050 + 3003 + 2000);
    assert_eq!(life.due(ms(5051)), Due::Nothing(silence));
    assert_eq!(life.due(silence), Due::ReadRow);
}

#[test]
fn an_answered_probe_brings_the_usual_pace_back() {
    let mut life = registered();
    life.due(ms(4010));
    life.read_answered(ms(4050));
    beat(&mut life, 2, 4050, 4060);
    assert_eq!(life.due(ms(5050)), Due::Heartbeat);
    life.sent(ms(5050));
    life.beat_unanswered(ms(6050));
    assert_eq!(life.due(ms(6050)), Due::Heartbeat, "one lost answer changes nothing");
}

#[test]
fn an_answered_read_means_nothing_while_heartbeats_go_on() {
    let mut life = registered();
    life.read_answered(ms(1100));
    assert_eq!(life.due(ms(1100)), Due::Nothing(ms(2000)));
}

#[test]
fn a_count_not_above_the_last_one_answered_is_a_restored_row() {
    let mut life = registered();
    assert_eq!(beat(&mut life, 1, 2000, 2010), Beat::Restored);
    assert!(matches!(beat(&mut life, 5, 2000, 2010), Beat::Valid { .. }));
    assert_eq!(beat(&mut life, 5, 3000, 3010), Beat::Restored);
    assert_eq!(life.valid_until(), ms(2000 + 2977));
}

#[test]
fn more_than_one_and_a_half_beats_between_answered_heartbeats_are_a_gap() {
    let mut life = registered();
    let is_gap = |beat| matches!(beat, Beat::Valid { gap: true, .. });
    assert!(!is_gap(beat(&mut life, 2, 2500, 2501)));
    assert!(is_gap(beat(&mut life, 3, 4001, 4002)));
    assert!(!is_gap(beat(&mut life, 4, 5001, 5002)));
}

#[test]
fn two_beats_without_an_answered_heartbeat_interrupt_a_workers_view() {
    let life = registered();
    assert!(!life.is_interrupted(ms(2999)));
    assert!(life.is_interrupted(ms(3000)));
    assert!(life.may_fence(ms(2999)));
    assert!(!life.may_fence(ms(3000)));
}

#[test]
fn a_worker_judges_nobody_at_the_end_of_its_validity_or_soon_after_it_had_run_out() {
    let mut life = registered();
    // Valid until 3977; answered just in time.
    beat(&mut life, 2, 3000, 3976);
    assert!(life.may_fence(ms(3980)));
    // Valid until 5977; out at the very moment of the next answer.
    beat(&mut life, 3, 5000, 5977);
    let from = 5977 + 3 * 3003;
    for (count, sent) in (4..).zip((6000..from).step_by(1000)) {
        beat(&mut life, count, sent, sent + 10);
        assert!(!life.may_fence(ms(sent + 20)));
    }
    assert!(!life.may_fence(ms(from - 1)));
    assert!(life.may_fence(ms(from)));
}

#[test]
fn validity_ends_at_its_very_moment() {
    let timing =
        kcl_protocol::LeaseTiming { slack: std::time::Duration::from_millis(1100), ..TIMING };
    // D_own is 1897 ms, so validity ends before the view counts as interrupted.
    let life = Liveness::registered(timing, ms(1000), ms(1010));
    assert!(life.may_fence(ms(2896)));
    assert!(!life.may_fence(ms(2897)));
    assert!(!life.may_fence(ms(2898)));
}

#[test]
fn revocations_take_effect_before_validity_is_raised() {
    let mut life = registered();
    let mut holdings = Holdings::default();
    for name in ["a", "b"] {
        holdings.hold(&key(name), Fence(4));
    }
    let shown = with_inbox(&[(1, revoke("a", 4)), (2, revoke("b", 3)), (3, revoke("c", 9))]);
    let beat = life.beat_answered(&shown, ms(2000), ms(2010), &mut holdings);
    assert_eq!(beat, Beat::Valid { lost: vec![key("a")], gap: false });
    assert_eq!(holdings.fence(&key("a")), None);
    assert_eq!(holdings.fence(&key("b")), Some(Fence(4)), "an older fence was revoked");
    assert!(!holdings.hold(&key("c"), Fence(9)), "what is not held yet is spent all the same");
    assert_eq!(apply_revocations(&shown, &mut holdings), []);
}

#[test]
fn only_decided_entries_and_spent_revocations_are_removed() {
    let ask = InboxEntry::Ask { leases: Vec::new(), to: id("other"), have: 0 };
    let grant = InboxEntry::Grant { leases: Vec::new() };
    let shown = with_inbox(&[
        (1, ask.clone()),
        (2, ask),
        (3, grant),
        (4, revoke("a", 4)),
        (5, revoke("b", 4)),
    ]);
    let mut holdings = Holdings::default();
    holdings.spend(&key("a"), Fence(4));
    let decided = [EntryId(2), EntryId(3), EntryId(5)];
    let removed = removable(&shown, &holdings, |id| decided.contains(id));
    assert_eq!(removed, [EntryId(2), EntryId(3), EntryId(4)]);
}

#[test]
fn a_heartbeat_applies_to_a_live_row_only_and_leaves_what_others_wrote_meanwhile() {
    let digest = HeldDigest { count: 7, hashes: 9 };
    let write = heartbeat(Rules::ALL, &id("me"), 7, digest, [EntryId(1)]);
    let before = with_inbox(&[(1, revoke("a", 4)), (2, revoke("b", 4))]);
    let after = told(&write, &before).unwrap();
    assert_eq!((after.heartbeat, after.load, after.digest), (3, 7, digest));
    assert_eq!(after.inbox.keys().collect::<Vec<_>>(), [&EntryId(2)]);
    for state in [WorkerState::Missing, WorkerState::Fenced, WorkerState::Gone] {
        assert_eq!(told(&write, &WorkerRow { state, ..before.clone() }), None);
    }
}
