//! Every checker of histories and rows, on what it must pass and on what it must not: a checker
//! that finds nothing anywhere proves nothing.

#[path = "checkers/lease_rows.rs"]
mod lease_rows;
#[path = "checkers/sessions.rs"]
mod sessions;

use std::collections::BTreeMap;
use std::time::Duration;

use kcl_core::event::{BatchOutcome, EventKind, HoldReason, Span};
use kcl_core::protocol::{
    Checkpoint, Fence, HashKeyRange, Lease, LeaseKey, Moment, Ordinal, Parked, Position, Prepared,
    SequenceNumber, ShardId, WorkerId,
};
use kcl_core::{DeadLetter, Event, Record};
use kcl_testkit::history::{
    Entry, Violation, What, check_safety, checkpoints_only_rise,
    effects_apply_once_and_never_below_an_accepted_fence, every_backlog_is_done,
    every_record_given_up_on_is_kept, every_record_is_delivered,
    no_checkpoint_passes_an_unacked_record, no_fence_has_two_holders, no_shard_is_dropped,
    no_two_workers_deliver_one_shard, no_worker_delivers_beside_its_own_call,
    nobody_goes_on_past_an_open_record, nothing_moves, nothing_parks,
    prepared_checkpoints_are_found_until_reached, records_come_in_order,
};

#[path = "checkers/rows.rs"]
mod rows;

fn s(seconds: u64) -> Moment {
    Moment(Duration::from_secs(seconds))
}
fn lease() -> LeaseKey {
    LeaseKey::from("a")
}
fn shard() -> ShardId {
    ShardId::from("a")
}
fn p(number: u64) -> Position {
    SequenceNumber::from_parts(0, u128::from(number)).into()
}
fn ps(numbers: &[u64]) -> Vec<Position> {
    numbers.iter().copied().map(p).collect()
}
fn up_to(number: u64) -> Checkpoint {
    Checkpoint::At(p(number))
}

/// One entry a second.
fn history(what: impl IntoIterator<Item = What>) -> Vec<Entry> {
    (1..).zip(what).map(|(at, what)| Entry { at: s(at), what }).collect()
}
fn event(worker: &str, at: u64, kind: EventKind) -> What {
    What::Event(Event { worker: WorkerId::new(worker), at: s(at), kind })
}
fn put(numbers: &[u64]) -> What {
    What::Put { shard: shard(), positions: ps(numbers) }
}
fn given(numbers: &[u64]) -> What {
    What::Given { lease: lease(), positions: ps(numbers) }
}
fn acked(fence: u64, numbers: &[u64]) -> What {
    What::Acked { lease: lease(), fence: Fence(fence), positions: ps(numbers) }
}
fn trimmed(numbers: &[u64]) -> What {
    What::Trimmed { shard: shard(), positions: ps(numbers) }
}
fn started(fence: u64, checkpoint: Checkpoint) -> What {
    event("w", 0, EventKind::ConsumerStarted { lease: lease(), fence: Fence(fence), checkpoint })
}
fn checkpointed(fence: u64, checkpoint: Checkpoint) -> What {
    let (fence, ordinal) = (Fence(fence), Ordinal(1));
    event("w", 0, EventKind::Checkpointed { lease: lease(), fence, checkpoint, ordinal })
}
/// By a worker whose clock shows `at` and whose validity ends at `until`.
fn batch(worker: &str, fence: u64, at: u64, until: u64) -> What {
    let span = Span { first: p(1), last: p(1), count: 1 };
    let (fence, valid_until) = (Fence(fence), s(until));
    event(worker, at, EventKind::BatchStarted { lease: lease(), fence, span, valid_until })
}
fn polled(fence: u64, at: u64, until: u64) -> What {
    What::Polled { lease: lease(), fence: Fence(fence), at: s(at), valid_until: s(until) }
}
fn held(worker: &str, fence: u64) -> What {
    let (fence, from, reason) = (Fence(fence), None, HoldReason::Started);
    event(worker, 0, EventKind::LeaseHeld { lease: lease(), fence, from, reason })
}

fn leased(key: &str, owner: Option<&str>, checkpoint: Checkpoint) -> Lease {
    let mut lease = Lease::unowned(LeaseKey::from(key), checkpoint, HashKeyRange::FULL);
    lease.owner = owner.map(WorkerId::new);
    lease
}

type Checker = fn(&[Entry]) -> Vec<Violation>;

fn passes(check: Checker, what: impl IntoIterator<Item = What>) {
    assert_eq!(check(&history(what)), []);
}
/// Finds one violation of this property, and says this of it.
fn finds(check: Checker, property: &str, words: &str, what: impl IntoIterator<Item = What>) {
    is_found(&check(&history(what)), property, words);
}
fn is_found(found: &[Violation], property: &str, words: &str) {
    let [one] = found else { panic!("{found:?}, not one that says {words}") };
    assert_eq!(one.property, property);
    assert!(one.what.contains(words), "{one}, not {words}");
}

#[test]
fn a_record_that_nobody_was_given_is_found() {
    let check: Checker = every_record_is_delivered;
    passes(check, [put(&[1, 2, 3]), given(&[1, 2]), given(&[2]), trimmed(&[3])]);
    finds(check, "P1", "1 records of a were never", [put(&[1, 2, 3]), given(&[1, 3])]);
    // Of another shard it is another record.
    let other = What::Given { lease: LeaseKey::from("b"), positions: ps(&[2]) };
    finds(check, "P1", "never delivered", [put(&[1, 2]), given(&[1]), other]);
}

#[test]
fn a_shard_whose_checkpoint_did_not_reach_its_last_record_is_found() {
    let row = |checkpoint| BTreeMap::from([(lease(), leased("a", None, checkpoint))]);
    let check = |leases: &BTreeMap<LeaseKey, Lease>, what: Vec<What>| {
        every_backlog_is_done(s(9), leases, &history(what))
    };
    let (all, last) = (vec![put(&[1, 2, 3])], up_to(3));
    assert_eq!(check(&row(last), all.clone()), []);
    assert_eq!(check(&row(Checkpoint::ShardEnd), all.clone()), []);
    assert_eq!(check(&row(up_to(2)), vec![put(&[1, 2, 3]), trimmed(&[3])]), []);
    assert_eq!(check(&row(Checkpoint::TrimHorizon), Vec::new()), []);
    let made = What::ShardMade { shard: "b".into(), parents: vec![shard()] };
    assert_eq!(check(&BTreeMap::new(), vec![put(&[1]), made]), []);
    is_found(&check(&row(up_to(2)), all.clone()), "P1", "not up to");
    is_found(&check(&row(Checkpoint::TrimHorizon), all.clone()), "P1", "not up to");
    is_found(&check(&BTreeMap::new(), all), "P1", "no lease");
    // Ended, and by nobody who told of it: what was given is to be done too.
    let ended = |what: &[What]| {
        let given = [put(&[1, 2, 3]), given(&[1, 2, 3]), acked(1, &[1])];
        let what = given.into_iter().chain(what.iter().cloned()).collect();
        check(&row(Checkpoint::ShardEnd), what)
    };
    let letter = EventKind::DeadLettered { lease: lease(), fence: Fence(1), at: p(3) };
    let letter = event("w", 0, letter);
    assert_eq!(ended(&[acked(2, &[2, 3])]), []);
    assert_eq!(ended(&[trimmed(&[2]), letter.clone()]), []);
    is_found(&ended(&[letter]), "P1", "a was ended, and");
    // Its last checkpoint was written by somebody who did not live to tell of it.
    let open = |what: &[What]| check(&row(up_to(3)), [&[put(&[1, 2, 3])], what].concat());
    assert_eq!(open(&[acked(1, &[1]), acked(2, &[2, 3])]), []);
    is_found(&open(&[acked(1, &[1]), acked(2, &[3])]), "P1", "a is done up to 3, and 2 is not");
    // What lies before the first start nobody owes, and what lies before a later one somebody does.
    assert_eq!(open(&[started(1, up_to(2)), acked(1, &[3])]), []);
    let later = [started(1, up_to(1)), started(2, up_to(2)), acked(2, &[3])];
    is_found(&open(&later), "P1", "and 2 is not");
}

#[test]
fn records_out_of_order_and_children_before_their_parents_are_found() {
    let check: Checker = records_come_in_order;
    passes(check, [put(&[1, 2, 3]), given(&[1, 2]), given(&[2, 3])]);
    passes(check, [put(&[1, 2, 3]), trimmed(&[2]), given(&[1]), given(&[3])]);
    finds(check, "P2", "not in order", [put(&[1, 2]), given(&[1, 2, 1])]);
    finds(check, "P2", "was not delivered", [put(&[1, 2, 3]), given(&[1]), given(&[3])]);
    // Within a batch, and although it comes at last.
    finds(check, "P2", "2 was not delivered", [put(&[1, 2, 3]), given(&[1, 3]), given(&[2])]);
    let made = || What::ShardMade { shard: "b".into(), parents: vec![shard()] };
    let child = || What::Given { lease: LeaseKey::from("b"), positions: ps(&[7]) };
    let put_both = || [made(), put(&[1, 2])];
    passes(check, put_both().into_iter().chain([given(&[1, 2]), child()]));
    finds(
        check,
        "P2",
        "before its parent a was done",
        put_both().into_iter().chain([given(&[1]), child()]),
    );
}

#[test]
fn two_workers_on_one_shard_and_a_batch_or_a_poll_past_validity_are_found() {
    let check: Checker = no_two_workers_deliver_one_shard;
    passes(check, [batch("v", 1, 1, 3), polled(1, 2, 3), batch("w", 2, 3, 6), polled(2, 4, 6)]);
    finds(check, "P3", "after w at 2", [batch("w", 2, 1, 3), batch("v", 1, 2, 4)]);
    finds(check, "P3", "after v at 1", [batch("v", 1, 1, 3), batch("w", 1, 2, 4)]);
    finds(check, "P3", "past its validity", [batch("v", 1, 3, 3)]);
    let late = [batch("v", 1, 1, 3), batch("w", 2, 2, 5), polled(1, 2, 3)];
    finds(check, "P3", "was polled at fence 1 after w started", late);
    finds(
        check,
        "P3",
        "polled at fence 1 past its validity",
        [batch("v", 1, 1, 3), polled(1, 3, 3)],
    );
}

fn batch_ended(worker: &str, fence: u64) -> What {
    let span = Span { first: p(1), last: p(1), count: 1 };
    let (fence, outcome) = (Fence(fence), BatchOutcome::Dropped);
    event(worker, 0, EventKind::BatchEnded { lease: lease(), fence, span, outcome })
}

#[test]
fn a_batch_that_starts_beside_its_workers_call_before_is_found() {
    let check: Checker = no_worker_delivers_beside_its_own_call;
    let first = || [batch("v", 1, 1, 9)];
    let then = |what: [What; 2]| first().into_iter().chain(what);
    passes(check, then([batch_ended("v", 1), batch("v", 1, 2, 9)]));
    // A worker that died in its call has no end of it, and its successor another id.
    passes(check, then([batch("w", 2, 2, 9), batch_ended("w", 2)]));
    finds(check, "P3", "beside its call before", then([batch("v", 1, 2, 9), batch_ended("v", 1)]));
    finds(check, "P3", "at fence 3 beside", then([batch_ended("w", 1), batch("v", 3, 2, 9)]));
    let beside = history(first().into_iter().chain(first()));
    assert_eq!(check_safety(&beside).len(), 1);
    // Under another id it is the same process.
    finds(check, "P3", "of the same process", [What::CalledTwice { lease: lease() }]);
}

#[test]
fn a_record_that_was_given_up_on_and_that_nobody_kept_is_found() {
    let letter = |number, shard: &str| DeadLetter {
        stream: "s".into(),
        shard: shard.into(),
        worker: WorkerId::new("w"),
        fence: Fence(1),
        record: Record {
            position: p(number),
            partition_key: "key".into(),
            data: Default::default(),
            arrival_millis: 0,
            unreadable: None,
        },
        error: "poisoned".into(),
        attempts: 4,
    };
    let given_up = [1, 2].map(|number| {
        let (lease, fence, at) = (lease(), Fence(1), p(number));
        event("w", 0, EventKind::DeadLettered { lease, fence, at })
    });
    let given_up = history(given_up);
    let check = |letters: &[DeadLetter]| every_record_given_up_on_is_kept(&given_up, letters);
    assert_eq!(check(&[letter(1, "a"), letter(2, "a"), letter(2, "a"), letter(3, "a")]), []);
    is_found(&check(&[letter(1, "a")]), "P1", "of a is in no dead letter");
    is_found(&check(&[letter(1, "a"), letter(2, "b")]), "P1", "of a is in no dead letter");
}

#[test]
fn checkpoints_that_fall_or_pass_what_was_delivered_and_starts_below_them_are_found() {
    let check: Checker = checkpoints_only_rise;
    let start = || started(1, Checkpoint::TrimHorizon);
    let two = || [start(), given(&[1, 2]), checkpointed(1, up_to(2))];
    passes(check, two().into_iter().chain([started(2, up_to(2))]));
    finds(check, "P4", "went back", two().into_iter().chain([checkpointed(1, up_to(1))]));
    finds(check, "P4", "never delivered", [start(), given(&[1]), checkpointed(1, up_to(2))]);
    finds(check, "P4", "started at", two().into_iter().chain([started(2, up_to(1))]));
    let deleted = What::RowDeleted { lease: lease() };
    passes(check, two().into_iter().chain([deleted.clone(), started(2, up_to(1))]));
    // Of whom slept through a take it is heard late: what stood last is what the deletion took.
    let slept = [started(3, up_to(2)), started(2, up_to(2)), deleted, checkpointed(3, up_to(2))];
    passes(check, two().into_iter().chain(slept).chain([started(4, up_to(1))]));
}

#[test]
fn a_checkpoint_past_a_record_that_is_not_acked_is_found() {
    let check: Checker = no_checkpoint_passes_an_unacked_record;
    let two = || [started(1, Checkpoint::TrimHorizon), given(&[1, 2])];
    passes(check, two().into_iter().chain([acked(1, &[1, 2]), checkpointed(1, up_to(2))]));
    passes(check, two().into_iter().chain([acked(1, &[1]), checkpointed(1, up_to(1))]));
    let skips = || two().into_iter().chain([acked(1, &[2])]);
    finds(check, "P4", "past unacked", skips().chain([checkpointed(1, up_to(2))]));
    finds(check, "P4", "past unacked", skips().chain([checkpointed(1, Checkpoint::ShardEnd)]));
    let at = p(1);
    let letter = event("w", 0, EventKind::DeadLettered { lease: lease(), fence: Fence(1), at });
    passes(check, skips().chain([letter, checkpointed(1, up_to(2))]));
    // Of whom slept through a take it is heard late, and it is given nothing.
    let late = || [acked(1, &[1]), started(3, up_to(1)), given(&[2]), started(2, up_to(1))];
    finds(check, "P4", "past unacked", late().into_iter().chain([checkpointed(3, up_to(2))]));
    let done = [acked(3, &[2]), checkpointed(3, up_to(2))];
    passes(check, late().into_iter().chain(done));
    // A row that was deleted may come back at any fence.
    let over = || [What::RowDeleted { lease: lease() }, started(2, up_to(1)), given(&[2])];
    let over = || late().into_iter().chain(over());
    finds(check, "P4", "past unacked", over().chain([checkpointed(2, up_to(2))]));
}

fn stopped(fence: u64, acked: Checkpoint, reason: &'static str) -> What {
    let fence = Fence(fence);
    event("w", 0, EventKind::ConsumerStopped { lease: lease(), fence, acked, reason })
}

#[test]
fn a_consumer_that_stops_past_a_record_that_is_not_acked_is_found() {
    let check: Checker = no_checkpoint_passes_an_unacked_record;
    let one = || [started(1, Checkpoint::TrimHorizon), given(&[1, 2]), acked(1, &[1])];
    passes(check, one().into_iter().chain([stopped(1, up_to(1), "handed back")]));
    let hands_over = || one().into_iter().chain([stopped(1, up_to(2), "handed back")]);
    finds(check, "P4", "stopped (handed back) at", hands_over());
    let over = || event("w", 0, EventKind::ShardEnded { lease: lease() });
    let ends = |word| one().into_iter().chain([stopped(1, up_to(1), word)]);
    finds(check, "P4", "stopped (ended) at SHARD_END, past unacked", ends("ended").chain([over()]));
    finds(check, "P4", "no consumer came to its end", ends("lost").chain([over()]));
    let done = || one().into_iter().chain([acked(1, &[2]), stopped(1, up_to(2), "ended")]);
    passes(check, done().chain([over()]));
    // What an earlier fence has out is the next one's business.
    passes(check, one().into_iter().chain([started(2, up_to(1)), stopped(1, up_to(2), "lost")]));
    assert_eq!(check_safety(&history(hands_over())).len(), 1);
}

#[test]
fn a_start_past_a_record_that_nobody_is_done_with_is_found() {
    let check: Checker = nobody_goes_on_past_an_open_record;
    let start = || [put(&[1, 2, 3]), started(1, Checkpoint::TrimHorizon), given(&[1, 2, 3])];
    let goes_on =
        |done: What, at| start().into_iter().chain([acked(1, &[1]), done, started(2, at)]);
    passes(check, goes_on(acked(1, &[2]), up_to(2)));
    passes(check, goes_on(acked(1, &[3]), up_to(1)));
    passes(check, goes_on(trimmed(&[2]), up_to(2)));
    let letter = EventKind::DeadLettered { lease: lease(), fence: Fence(1), at: p(2) };
    passes(check, goes_on(event("w", 0, letter), up_to(2)));
    finds(check, "P4", "past open", goes_on(acked(1, &[3]), up_to(3)));
    finds(check, "P4", "past open", goes_on(acked(1, &[2]), Checkpoint::ShardEnd));
    // An application that starts in the middle owes nothing before; what comes then it does.
    let latest = || [put(&[1, 2]), started(1, up_to(2)), put(&[3, 4]), given(&[3, 4])];
    passes(check, latest().into_iter().chain([acked(1, &[3]), started(2, up_to(3))]));
    finds(
        check,
        "P4",
        "past open",
        latest().into_iter().chain([acked(1, &[4]), started(2, up_to(4))]),
    );
    // Started over, it passes nothing that it was done with before.
    let deleted = [What::RowDeleted { lease: lease() }, started(2, Checkpoint::TrimHorizon)];
    passes(check, start().into_iter().chain([acked(1, &[1, 2])]).chain(deleted));
    assert_eq!(check_safety(&history(goes_on(acked(1, &[3]), up_to(3)))).len(), 1);
}

#[test]
fn a_child_that_starts_before_its_parents_are_done_is_found() {
    let check: Checker = nobody_goes_on_past_an_open_record;
    let made = || What::ShardMade { shard: "b".into(), parents: vec![shard()] };
    let child = || What::Given { lease: LeaseKey::from("b"), positions: ps(&[7]) };
    let start = || [made(), put(&[1, 2]), started(1, Checkpoint::TrimHorizon), given(&[1, 2])];
    let done = |numbers: &[u64]| start().into_iter().chain([acked(1, numbers), child()]);
    passes(check, done(&[1, 2]));
    finds(check, "P2", "b started before", done(&[1]));
    // It is judged once, and what its parent's row does then is no matter of its own.
    finds(check, "P2", "b started before", done(&[1]).chain([child()]));
    let again = [What::RowDeleted { lease: lease() }, started(2, Checkpoint::TrimHorizon)];
    passes(check, done(&[1, 2]).chain(again).chain([given(&[1]), child()]));
}

#[test]
fn what_is_left_of_a_shard_that_the_stream_dropped_nobody_owes_and_nothing_else() {
    let made = || What::ShardMade { shard: "b".into(), parents: vec![shard()] };
    let told = |kind| event("w", 0, kind);
    let left = || [made(), put(&[1, 2]), started(1, Checkpoint::TrimHorizon), given(&[1])];
    let stops = || [acked(1, &[1]), stopped(1, up_to(1), "source failed")];
    let over = || [told(EventKind::ShardEnded { lease: lease() })];
    let child = || [What::Given { lease: LeaseKey::from("b"), positions: ps(&[7]) }];
    let dropped = || [told(EventKind::ShardDropped { lease: lease() })];
    let ended = || left().into_iter().chain(stops()).chain(over()).chain(child());
    let gone = || left().into_iter().chain(stops()).chain(dropped()).chain(over()).chain(child());
    for check in [
        no_checkpoint_passes_an_unacked_record,
        nobody_goes_on_past_an_open_record,
        every_record_is_delivered,
    ] {
        passes(check, gone());
    }
    finds(no_checkpoint_passes_an_unacked_record, "P4", "no consumer came to its end", ended());
    finds(nobody_goes_on_past_an_open_record, "P2", "b started before", ended());
    finds(every_record_is_delivered, "P1", "never delivered", ended());
    passes(no_shard_is_dropped, ended());
    finds(no_shard_is_dropped, "P1", "w says that a was dropped", gone());
}

#[test]
fn an_effect_below_an_accepted_fence_or_applied_twice_is_found() {
    let check: Checker = effects_apply_once_and_never_below_an_accepted_fence;
    let effect = |fence, ordinal| What::Effects {
        lease: lease(),
        fence: Fence(fence),
        ordinal: Ordinal(ordinal),
    };
    passes(check, [effect(1, 1), effect(1, 2), effect(2, 1)]);
    finds(check, "P5", "applied after one at 2", [effect(2, 1), effect(1, 1)]);
    finds(check, "P5", "applied twice", [effect(1, 1), effect(1, 1)]);
}

#[test]
fn one_fence_with_two_holders_is_found() {
    let check: Checker = no_fence_has_two_holders;
    passes(check, [held("v", 1), held("v", 1), held("w", 2)]);
    finds(check, "P5", "v and w both held a at fence 1", [held("v", 1), held("w", 1)]);
}

#[test]
fn a_prepared_checkpoint_that_is_not_found_again_is_found() {
    let check: Checker = prepared_checkpoints_are_found_until_reached;
    let found = |fence, checkpoint, at: Option<u64>| What::Found {
        lease: lease(),
        fence: Fence(fence),
        checkpoint,
        prepared: at.map(|at| Prepared {
            checkpoint: up_to(at),
            state: p(at).to_string().into_bytes().into(),
        }),
    };
    let stands = || {
        let prepared = EventKind::Prepared { lease: lease(), fence: Fence(1), at: p(5) };
        let asked = What::Preparing { lease: lease(), position: p(5) };
        [found(1, up_to(1), None), asked, event("w", 0, prepared)]
    };
    passes(check, stands().into_iter().chain([found(2, up_to(2), Some(5))]));
    passes(check, stands().into_iter().chain([found(2, up_to(5), None)]));
    let lost = || stands().into_iter().chain([found(2, up_to(2), None)]);
    finds(check, "P4", "prepared, not Some(", lost());
    // Whoever slept through a take finds what stood there since: it is given nothing.
    let slept = [found(3, up_to(2), Some(5)), found(2, up_to(2), None)];
    passes(check, stands().into_iter().chain(slept));
    // With the row goes what was prepared in it, and its owner may go on by it.
    let deleted = || stands().into_iter().chain([What::RowDeleted { lease: lease() }]);
    passes(check, deleted().chain([found(2, up_to(2), None)]));
    passes(check, deleted().chain([found(2, up_to(2), Some(5))]));
    let other = stands().into_iter().chain([found(2, up_to(2), Some(4))]);
    finds(check, "P4", "prepared, not Some(", other);
    let state = "of another".into();
    let foreign = What::Found {
        lease: lease(),
        fence: Fence(2),
        checkpoint: up_to(2),
        prepared: Some(Prepared { checkpoint: up_to(5), state }),
    };
    finds(check, "P4", "of another", stands().into_iter().chain([foreign]));
    // The whole of the safety checks has it too, as it has all that look at a history alone.
    assert_eq!(check_safety(&history(lost())).len(), 1);
}

#[test]
fn a_shard_that_is_parked_with_no_fault_left_is_found() {
    let parks = history(
        [EventKind::Parked { lease: lease(), fence: Fence(1), reason: "refused".into(), at: None }]
            .map(|kind| event("w", 0, kind)),
    );
    let row = leased("a", Some("v"), Checkpoint::TrimHorizon);
    let parked = Lease { parked: Some(Parked { reason: "old".into(), at: None }), ..row.clone() };
    let rows = |row| BTreeMap::from([(lease(), row)]);
    assert_eq!(nothing_parks(s(2), s(9), &parks, &rows(row.clone())), []);
    is_found(&nothing_parks(s(1), s(9), &parks, &rows(row)), "P6", "no fault left: refused");
    is_found(&nothing_parks(s(2), s(9), &parks, &rows(parked)), "P6", "a is still parked: old");
}

#[test]
fn a_lease_that_moves_in_a_quiet_time_is_found() {
    let moved = history([held("v", 1), held("w", 2)]);
    assert_eq!(nothing_moves(&moved, s(3), s(9)), []);
    is_found(&nothing_moves(&moved, s(2), s(9)), "P7", "1 leases changed hands");
}
