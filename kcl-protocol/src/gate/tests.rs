//! Ordinals, repeated writes and effects.

use proptest::prelude::*;

use super::*;
use crate::hash_range::HashKeyRange;
use crate::rows::Row;
use crate::sequence::SequenceNumber;

const INTERVAL: Duration = Duration::from_secs(5);

fn at(number: u128) -> Progress {
    let position = SequenceNumber::from_parts(0, number).into();
    Progress { checkpoint: Checkpoint::At(position), prepared: None, parked: None }
}

fn now(seconds: u64) -> Moment {
    Moment(Duration::from_secs(seconds))
}

fn row() -> Lease {
    let key = LeaseKey::new("shardId-000000000000");
    let mut lease = Lease::unowned(key, Checkpoint::TrimHorizon, HashKeyRange::FULL);
    (lease.owner, lease.fence) = (Some(WorkerId::new("w")), Fence(7));
    lease
}

fn gate() -> Gate {
    Gate::new(&row(), WorkerId::new("w"), INTERVAL)
}

fn apply(write: &ConditionalWrite, row: &mut Lease) -> Answer {
    match write.apply(Some(&Row::Lease(row.clone()))) {
        Ok(after) => {
            *row = after.and_then(Row::into_lease).unwrap();
            Answer::Won
        }
        Err(_) => Answer::Lost(Some(row.clone())),
    }
}

#[test]
fn writes_are_coalesced_to_one_per_interval() {
    let mut gate = gate();
    assert_eq!(gate.due(), None);
    gate.moved(now(1));
    gate.moved(now(3));
    assert_eq!(gate.due(), Some(now(6)));
    gate.send(at(9), Carries::CheckpointOnly);
    assert_eq!(gate.due(), None);
}

#[test]
fn the_row_lacks_what_no_answer_said_it_has() {
    let mut gate = gate().with_rules(Rules::ALL);
    assert_eq!((gate.rules(), gate.written().checkpoint), (Rules::ALL, Checkpoint::TrimHorizon));
    assert!(gate.lacks(&at(1)));
    gate.send(at(1), Carries::CheckpointOnly);
    assert!(gate.lacks(&at(1)) && gate.pending().is_some());
    gate.answered(Answer::Won, now(0));
    assert!(!gate.lacks(&at(1)) && gate.lacks(&at(2)) && gate.pending().is_none());
}

#[test]
fn a_checkpoint_may_apply_again_under_its_ordinal_and_an_effect_may_not() {
    for (carries, second) in [(Carries::CheckpointOnly, true), (Carries::Effects, false)] {
        let (mut gate, mut row) = (gate(), row());
        let write = gate.send(at(1), carries);
        assert_eq!(apply(&write, &mut row), Answer::Won);
        assert_eq!(apply(&write, &mut row) == Answer::Won, second, "{carries:?}");
    }
}

#[test]
fn nothing_applies_once_the_lease_is_anothers_or_was_taken_again() {
    let other = Lease { owner: Some(WorkerId::new("v")), ..row() };
    let again = Lease { fence: Fence(8), ..row() };
    for carries in [Carries::CheckpointOnly, Carries::Prepare, Carries::Effects] {
        let write = gate().send(at(1), carries);
        for taken in [&other, &again] {
            let lost = Answer::Lost(Some(taken.clone()));
            assert_eq!(apply(&write, &mut taken.clone()), lost, "{carries:?}");
        }
    }
}

#[test]
fn a_new_owner_counts_on_from_the_ordinal_it_finds() {
    let found = Lease { ordinal: Ordinal(7), ..row() };
    let mut gate = Gate::new(&found, WorkerId::new("w"), INTERVAL).with_rules(Rules::ALL);
    gate.send(at(1), Carries::CheckpointOnly);
    assert_eq!(gate.ordinal(), Ordinal(8));
}

#[test]
fn a_new_value_gets_a_new_ordinal_and_a_repeated_one_keeps_its_own() {
    let mut gate = gate();
    let first = gate.send(at(1), Carries::CheckpointOnly);
    gate.answered(Answer::Unknown, now(0));
    assert_eq!(gate.send(at(1), Carries::CheckpointOnly), first);
    assert_eq!(gate.ordinal(), Ordinal(1));
    gate.answered(Answer::Unknown, now(0));
    gate.send(at(2), Carries::CheckpointOnly);
    assert_eq!(gate.ordinal(), Ordinal(2));
}

#[test]
fn a_late_checkpoint_does_not_go_over_a_newer_one() {
    let (mut gate, mut row) = (gate(), row());
    let late = gate.send(at(1), Carries::CheckpointOnly);
    gate.answered(Answer::Unknown, now(0));
    let newer = gate.send(at(2), Carries::CheckpointOnly);
    let answer = apply(&newer, &mut row);
    assert!(matches!(gate.answered(answer, now(0)), Ruling::Written(_)));
    assert!(matches!(apply(&late, &mut row), Answer::Lost(_)));
    assert_eq!(row.checkpoint, at(2).checkpoint);
}

#[test]
fn an_undecided_effect_is_repeated_with_the_same_ordinal_whatever_comes() {
    let mut gate = gate();
    let effects = gate.send(at(1), Carries::Effects);
    assert!(gate.is_undecided());
    for answer in [Answer::Unknown, Answer::NotApplied] {
        assert_eq!(gate.answered(answer, now(0)), Ruling::Again);
        assert!(gate.is_undecided());
        assert_eq!(gate.send(at(2), Carries::CheckpointOnly), effects);
    }
}

#[test]
fn what_is_refused_after_a_try_that_may_still_apply_is_decided_by_a_new_fence() {
    for carries in [Carries::Effects, Carries::Prepare] {
        let mut gate = gate();
        gate.send(at(1), carries);
        assert_eq!(gate.answered(Answer::Unknown, now(0)), Ruling::Again);
        gate.send(at(1), carries);
        assert_eq!(gate.answered(Answer::Refused, now(0)), Ruling::LeaseLost, "{carries:?}");
    }
}

#[test]
fn effects_lost_with_their_own_ordinal_are_already_done() {
    let (mut gate, mut row) = (gate(), row());
    let effects = gate.send(at(1), Carries::Effects);
    apply(&effects, &mut row);
    gate.answered(Answer::Unknown, now(0));
    let answer = apply(&effects, &mut row);
    assert!(matches!(answer, Answer::Lost(_)), "the strict condition applies once");
    assert!(matches!(gate.answered(answer, now(0)), Ruling::Written(_)));
    assert!(!gate.is_undecided());
    assert_eq!(gate.written(), &at(1));
}

#[test]
fn effects_refused_at_the_first_try_are_given_up() {
    let mut gate = gate();
    gate.send(at(1), Carries::Effects);
    assert!(matches!(gate.answered(Answer::Refused, now(0)), Ruling::Refused(_)));
    assert!(!gate.is_undecided());
    gate.send(at(1), Carries::Effects);
    assert_eq!(gate.ordinal(), Ordinal(2));
}

#[test]
fn another_fence_or_owner_or_no_row_means_lost() {
    let mut other_fence = row();
    other_fence.fence = Fence(8);
    let mut other_owner = row();
    other_owner.owner = Some(WorkerId::new("v"));
    let mut overtaken = row();
    overtaken.ordinal = Ordinal(5);
    for found in [Some(other_fence), Some(other_owner), Some(overtaken), None] {
        let mut gate = gate();
        gate.send(at(1), Carries::CheckpointOnly);
        assert_eq!(gate.answered(Answer::Lost(found), now(0)), Ruling::LeaseLost);
    }
}

#[test]
fn the_parked_mark_goes_with_the_checkpoint_under_one_ordinal() {
    let (mut gate, mut row) = (gate(), row());
    let parked = Progress { parked: Some(Parked { reason: "r".into(), at: None }), ..at(1) };
    let park = gate.send(parked.clone(), Carries::CheckpointOnly);
    gate.answered(Answer::Unknown, now(0));
    let resume = gate.send(at(1), Carries::CheckpointOnly);
    apply(&resume, &mut row);
    assert!(matches!(apply(&park, &mut row), Answer::Lost(_)), "a late park changes nothing");
    assert_eq!(row.parked, None);
}

/// What happens to one write on its way.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Applied,
    ReplyLost,
    Throttled,
    /// Applied only after so many other writes, long after its sender gave up.
    Late(usize),
    AppliedTwice,
}

fn fates() -> impl Strategy<Value = Fate> {
    prop_oneof![
        4 => Just(Fate::Applied),
        1 => Just(Fate::ReplyLost),
        1 => Just(Fate::Throttled),
        1 => (1usize..6).prop_map(Fate::Late),
        1 => Just(Fate::AppliedTwice),
    ]
}

/// A row, with the effects that came into it and the writes still on their way.
struct Store {
    row: Lease,
    effects: Vec<Ordinal>,
    late: Vec<(usize, ConditionalWrite, Carries)>,
    highest: Checkpoint,
}

impl Store {
    fn apply(&mut self, write: &ConditionalWrite, carries: Carries) -> Answer {
        let answer = apply(write, &mut self.row);
        if answer == Answer::Won {
            assert!(self.row.checkpoint >= self.highest, "a checkpoint fell");
            self.highest = self.row.checkpoint;
            if carries == Carries::Effects {
                assert!(!self.effects.contains(&self.row.ordinal), "effects applied twice");
                self.effects.push(self.row.ordinal);
            }
        }
        answer
    }
    fn meet(&mut self, write: ConditionalWrite, carries: Carries, fate: Fate) -> Answer {
        let mut later = std::mem::take(&mut self.late);
        later.iter_mut().for_each(|(wait, ..)| *wait -= 1);
        let (due, waiting): (Vec<_>, _) = later.into_iter().partition(|(wait, ..)| *wait == 0);
        self.late = waiting;
        for (_, write, carries) in due {
            self.apply(&write, carries);
        }
        match fate {
            Fate::Applied => self.apply(&write, carries),
            Fate::Throttled => Answer::NotApplied,
            Fate::ReplyLost => {
                self.apply(&write, carries);
                Answer::Unknown
            }
            Fate::Late(wait) => {
                self.late.push((wait, write, carries));
                Answer::Unknown
            }
            Fate::AppliedTwice => {
                let answer = self.apply(&write, carries);
                self.apply(&write, carries);
                answer
            }
        }
    }
}

fn prepared(number: u128) -> Option<Prepared> {
    let state = bytes::Bytes::from_static(b"half done");
    Some(Prepared { checkpoint: at(number).checkpoint, state })
}

fn preparing(gate: &mut Gate, number: u128) -> ConditionalWrite {
    let progress = Progress { prepared: prepared(number), ..gate.progress(at(2).checkpoint, None) };
    gate.send(progress, Carries::Prepare)
}

#[test]
fn a_checkpoint_below_a_prepared_one_leaves_it_and_one_that_reaches_it_ends_it() {
    let (mut gate, mut row) = (gate(), row());
    let write = preparing(&mut gate, 5);
    gate.answered(apply(&write, &mut row), now(0));
    for (done, left) in [(4, prepared(5)), (5, None), (6, None)] {
        let progress = gate.progress(at(done).checkpoint, None);
        let write = gate.send(progress, Carries::CheckpointOnly);
        assert_eq!(gate.prepared(), row.prepared.as_ref(), "the row has it until this applies");
        gate.answered(apply(&write, &mut row), now(0));
        assert_eq!((row.checkpoint, &row.prepared), (at(done).checkpoint, &left));
    }
}

#[test]
fn a_prepared_checkpoint_whose_reply_was_lost_is_repeated_as_it_is_until_it_is_decided() {
    let (mut gate, mut row) = (gate(), row());
    let write = preparing(&mut gate, 5);
    apply(&write, &mut row);
    gate.answered(Answer::Unknown, now(0));
    gate.moved(now(0));
    // A checkpoint that comes meanwhile waits, and is still due.
    assert_eq!(gate.send(at(9), Carries::CheckpointOnly), write);
    assert!(gate.is_fixed() && !gate.is_undecided() && gate.due().is_some());
    assert_eq!(gate.answered(Answer::NotApplied, now(0)), Ruling::Again);
    assert_eq!(gate.prepared(), prepared(5).as_ref(), "what is out may be in the row");
    gate.send(at(9), Carries::CheckpointOnly);
    let ruling = gate.answered(Answer::Lost(Some(row)), now(0));
    assert!(matches!(ruling, Ruling::Written(pending) if pending.carries == Carries::Prepare));
    assert_eq!(gate.written().prepared, prepared(5));
}

#[test]
fn a_refused_prepared_checkpoint_leaves_the_former_one() {
    let (mut gate, mut row) = (gate(), row());
    let write = preparing(&mut gate, 5);
    gate.answered(apply(&write, &mut row), now(0));
    preparing(&mut gate, 7);
    assert!(matches!(gate.answered(Answer::Refused, now(0)), Ruling::Refused(_)));
    assert_eq!(gate.prepared(), prepared(5).as_ref());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]
    #[test]
    fn checkpoints_only_rise_and_effects_apply_once_whatever_happens_on_the_way(
        steps in prop::collection::vec((fates(), any::<bool>(), 0u128..3), 1..80),
    ) {
        let mut gate = gate();
        let highest = Checkpoint::TrimHorizon;
        let mut store = Store { row: row(), effects: vec![], late: vec![], highest };
        let (mut done, mut answered) = (0, vec![]);
        for (fate, with_effects, by) in steps {
            done += by;
            let carries = if with_effects { Carries::Effects } else { Carries::CheckpointOnly };
            let write = gate.send(at(done), carries);
            let sent = gate.pending().unwrap().clone();
            let answer = store.meet(write, sent.carries, fate);
            match gate.answered(answer, now(0)) {
                Ruling::Written(written) => {
                    prop_assert_eq!(&written, &sent);
                    if written.carries == Carries::Effects {
                        answered.push(written.ordinal);
                    }
                }
                Ruling::Again => {}
                ruling => prop_assert!(false, "{:?}", ruling),
            }
        }
        // Whatever was answered as written is in the store, once, and nothing else but perhaps
        // the one that is still open.
        store.effects.sort();
        let open = gate.pending().filter(|_| gate.is_undecided()).map(|each| each.ordinal);
        store.effects.retain(|ordinal| Some(*ordinal) != open);
        prop_assert_eq!(store.effects, answered);
    }
}
