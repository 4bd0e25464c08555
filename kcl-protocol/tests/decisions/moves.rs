//! Ownership writes, and who gives what to whom.

use kcl_protocol::lineage::startable;
use kcl_protocol::moves::{
    Child, Terms, adopt, end, granted, hand_over, is_free, receiver, release, send, send_list,
    started, take, transactions,
};
use kcl_protocol::rows::Parked;
use kcl_protocol::{
    Checkpoint, ConditionalWrite, EntryId, Fence, HashKeyRange, Holdings, InboxEntry, Lease,
    LeaseKey, Ordinal, Row, Rules, ShardId, WorkerId, WorkerRow, WorkerState, hash,
};

use super::{applied, at, id, key, lease, row, told};

#[test]
fn a_take_needs_the_owner_and_the_fence_that_were_seen_and_an_open_shard() {
    let parked = Some(Parked { reason: "poison".into(), at: None });
    let seen = Lease { ordinal: Ordinal(3), parked, ..lease(Some("dead"), 4) };
    let write = take(&seen, &id("me"), 0);
    let after = applied(&write, &seen).unwrap();
    assert_eq!((after.owner, after.fence), (Some(id("me")), Fence(5)));
    assert_eq!((after.ordinal, after.parked), (Ordinal(0), None));
    assert_eq!(after.checkpoint, at(5));
    assert_eq!(applied(&write, &Lease { fence: Fence(5), ..seen.clone() }), None);
    assert_eq!(applied(&write, &Lease { owner: Some(id("other")), ..seen.clone() }), None);
    assert_eq!(applied(&write, &Lease { owner: None, ..seen.clone() }), None);
    assert_eq!(applied(&write, &Lease { checkpoint: Checkpoint::ShardEnd, ..seen }), None);
    let unowned = take(&lease(None, 4), &id("me"), 0);
    assert!(applied(&unowned, &lease(None, 4)).is_some());
    assert_eq!(applied(&unowned, &lease(Some("other"), 4)), None);
}

#[test]
fn a_later_generation_lifts_fences_above_all_earlier_ones() {
    assert_eq!(Terms::from(2), Terms { generation: 2, rules: Rules::ALL });
    let first = 2 * Fence::PER_GENERATION;
    let after = applied(&take(&lease(None, 4), &id("me"), 2), &lease(None, 4)).unwrap();
    assert_eq!(after.fence, Fence(first));
    let again = applied(&adopt(&key("a"), after.fence, &id("me"), 2), &after).unwrap();
    assert_eq!(again.fence, Fence(first + 1));
}

#[test]
fn letting_go_needs_owner_and_fence_and_carries_the_checkpoint() {
    let (me, to) = (id("me"), id("to"));
    let mine = Lease { ordinal: Ordinal(3), ..lease(Some("me"), 4) };
    let given = hand_over(&key("a"), Fence(4), &me, 0, &to, Some(at(9).into()));
    let after = applied(&given, &mine).unwrap();
    assert_eq!((after.owner, after.fence, after.checkpoint), (Some(to), Fence(5), at(9)));
    assert_eq!(after.ordinal, Ordinal(0));
    let released = release(&key("a"), Fence(4), &me, 0, None);
    let after = applied(&released, &mine).unwrap();
    assert_eq!((after.owner, after.fence, after.checkpoint), (None, Fence(5), at(5)));
    let adopted = adopt(&key("a"), Fence(4), &me, 0);
    let after = applied(&adopted, &mine).unwrap();
    assert_eq!((after.owner, after.fence), (Some(me), Fence(5)));
    for write in [given, released, adopted] {
        assert_eq!(applied(&write, &lease(Some("me"), 5)), None);
        assert_eq!(applied(&write, &lease(Some("other"), 4)), None);
    }
}

#[test]
fn an_end_closes_the_parent_and_makes_its_children_in_one_transaction() {
    let half = HashKeyRange::split_evenly(2)[0];
    let child = Child {
        id: ShardId::from("b"),
        parents: [ShardId::from("a"), ShardId::from("z")].into(),
        range: half,
    };
    let writes = end(&key("a"), Fence(4), &id("me"), 0, std::slice::from_ref(&child));
    let [ConditionalWrite::Lease(parent), made] = &writes[..] else {
        unreachable!("one write for the parent and one a child: {writes:?}")
    };
    let parked = Some(Parked { reason: "poison".into(), at: None });
    let after = applied(parent, &Lease { parked, ..lease(Some("me"), 4) }).unwrap();
    assert_eq!((after.checkpoint, after.owner), (Checkpoint::ShardEnd, None));
    assert_eq!(after.parked, None, "a shard that is done is parked no more");
    assert_eq!((after.fence, after.children), (Fence(5), [child.id].into()));
    assert_eq!(applied(parent, &lease(Some("me"), 5)), None);
    assert_eq!(applied(parent, &lease(Some("other"), 4)), None);
    let fresh = made.apply(None).unwrap().and_then(Row::into_lease).unwrap();
    assert_eq!((fresh.key.clone(), fresh.checkpoint), (key("b"), Checkpoint::TrimHorizon));
    assert_eq!((fresh.parents, fresh.range, fresh.owner), (child.parents, half, None));
    let standing = Lease { key: fresh.key, ..lease(Some("other"), 8) };
    let kept = made.apply(Some(&Row::Lease(standing.clone())));
    assert_eq!(kept, Ok(Some(Row::Lease(standing))), "a child that exists stays as it is");
    assert_eq!(transactions(writes.clone(), Rules::ALL), [writes]);
}

#[test]
fn a_lease_is_free_if_nobody_owns_it_or_its_owner_is_proven_dead() {
    let free = |owner: Option<&str>, state: Option<WorkerState>| {
        let row = state.map(|state| WorkerRow { state, ..row("p", 1) });
        is_free(&lease(owner, 4), |_| row.as_ref(), Rules::ALL)
    };
    assert!(free(None, Some(WorkerState::Live)));
    assert!(free(Some("p"), Some(WorkerState::Fenced)));
    assert!(free(Some("p"), Some(WorkerState::Gone)));
    assert!(!free(Some("p"), Some(WorkerState::Live)));
    assert!(!free(Some("p"), Some(WorkerState::Missing)));
    assert!(!free(Some("p"), None), "absent is never dead");
}

#[test]
fn an_owner_starts_from_the_row_of_its_own_write_whatever_it_knew_before() {
    let won = Lease { checkpoint: at(9), ..lease(Some("me"), 5) };
    for earlier in [None, Some(&lease(Some("p"), 4))] {
        assert_eq!(started(won.clone(), earlier, Rules::ALL), won);
    }
}

#[test]
fn a_child_may_start_after_every_parent_and_only_until_it_has_ended() {
    let parent = |name: &str, checkpoint| Lease { key: key(name), checkpoint, ..lease(None, 1) };
    let child = Lease {
        parents: [ShardId::from("a"), ShardId::from("b")].into(),
        key: key("c"),
        ..lease(None, 0)
    };
    let may = |a, b, child: &Lease| {
        let rows = [parent("a", a), parent("b", b), child.clone()];
        let leases = rows.into_iter().map(|row| (row.key.clone(), row)).collect();
        startable(child, &leases, &[ShardId::from("c")].into())
    };
    let (open, ended) = (at(5), Checkpoint::ShardEnd);
    assert!(may(ended, ended, &child));
    assert!(!may(ended, open, &child) && !may(open, ended, &child));
    assert!(!may(ended, ended, &Lease { checkpoint: ended, ..child.clone() }));
}

fn entry() -> InboxEntry {
    InboxEntry::Grant { leases: vec![(key("a"), Fence(4))] }
}

#[test]
fn an_entry_reaches_a_live_worker_whose_inbox_has_room() {
    let write = send(&id("p"), EntryId(50), entry());
    let after = told(&write, &row("p", 1)).unwrap();
    assert_eq!(after.inbox, [(EntryId(50), entry())].into());
    let inbox = |entries: u128| (0..entries).map(|id| (EntryId(id), entry())).collect();
    assert!(told(&write, &WorkerRow { inbox: inbox(31), ..row("p", 1) }).is_some());
    assert_eq!(told(&write, &WorkerRow { inbox: inbox(32), ..row("p", 1) }), None);
    let state = WorkerState::Fenced;
    assert_eq!(told(&write, &WorkerRow { state, ..row("p", 1) }), None);
    assert!(told(&send_list(&id("p")), &row("p", 1)).unwrap().list);
    assert_eq!(told(&send_list(&id("p")), &WorkerRow { state, ..row("p", 1) }), None);
}

fn holding(count: u64) -> Holdings {
    let mut holdings = Holdings::default();
    (0..count).for_each(|number| assert!(holdings.hold(&numbered(number), Fence(4))));
    holdings
}

fn numbered(number: u64) -> LeaseKey {
    key(&format!("{number}"))
}

fn asked(count: u64) -> Vec<(LeaseKey, Fence)> {
    (0..count).map(|number| (numbered(number), Fence(4))).collect()
}

#[test]
fn a_donor_gives_while_it_stays_two_ahead() {
    let to = row("to", 1);
    let given = |mine, have| granted(&asked(mine), have, Some(&to), &holding(mine)).len();
    assert_eq!(given(6, 0), 3);
    assert_eq!(given(6, 1), 2);
    assert_eq!(given(6, 4), 1);
    assert_eq!(given(6, 5), 0);
    assert_eq!(given(2, 0), 1);
    assert_eq!(given(1, 0), 0);
    assert_eq!(granted(&asked(6), 0, Some(&to), &holding(6)), asked(3));
}

#[test]
fn a_donor_gives_only_what_it_holds_at_the_fence_that_was_asked_for() {
    let leases = [
        (numbered(0), Fence(3)),
        (numbered(1), Fence(5)),
        (numbered(9), Fence(4)),
        (numbered(2), Fence(4)),
    ];
    assert_eq!(granted(&leases, 0, Some(&row("to", 1)), &holding(6)), [(numbered(2), Fence(4))]);
}

#[test]
fn nothing_is_given_to_a_worker_that_leaves_or_may_be_dead() {
    let given = |to: Option<&WorkerRow>| granted(&asked(6), 0, to, &holding(6)).len();
    assert_eq!(given(None), 0);
    assert_eq!(given(Some(&WorkerRow { draining: true, ..row("to", 1) })), 0);
    for state in [WorkerState::Missing, WorkerState::Fenced, WorkerState::Gone] {
        assert_eq!(given(Some(&WorkerRow { state, ..row("to", 1) })), 0);
    }
}

#[test]
fn what_is_given_up_goes_to_the_least_loaded_live_worker_that_stays_and_has_room() {
    let of = |name, load| WorkerRow { load, ..row(name, 1) };
    let rows = [
        of("me", 0),
        WorkerRow { draining: true, ..of("leaving", 0) },
        WorkerRow { state: WorkerState::Fenced, ..of("dead", 0) },
        WorkerRow { max_leases: 1, ..of("full", 1) },
        of("busy", 3),
        of("idle", 2),
    ];
    assert_eq!(receiver(&key("a"), rows.iter(), &id("me")), Some(id("idle")));
    assert_eq!(receiver(&key("a"), rows[..4].iter(), &id("me")), None);
    let equals = [of("x", 2), of("y", 2), of("z", 2)];
    for number in 0..20 {
        let key = numbered(number);
        let affinity = |id: &WorkerId| hash::affinity(id, &key);
        let closest = equals.iter().map(|row| row.id.clone()).max_by_key(affinity);
        assert_eq!(receiver(&key, equals.iter(), &id("me")), closest);
    }
}
