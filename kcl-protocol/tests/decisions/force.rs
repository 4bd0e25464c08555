//! Revoke, wait, take.

use std::time::Duration;

use kcl_protocol::force::{ask_patience, due, revoke, seen};
use kcl_protocol::{EntryId, Fence, InboxEntry, LeaseTiming, Rules, WorkerRow, WorkerState};

use super::{TIMING, id, key, lease, ms, row, told};

#[test]
fn an_ask_is_forced_after_two_seconds_and_a_heartbeat() {
    assert_eq!(ask_patience(TIMING), Duration::from_secs(3));
}

#[test]
fn a_revocation_is_an_entry_of_its_own_and_needs_the_ask_and_a_live_owner() {
    let write =
        revoke(&id("p"), EntryId(1), EntryId(2), &key("a"), Fence(4), &id("me"), Rules::ALL);
    let ask = InboxEntry::Ask { leases: vec![(key("a"), Fence(4))], to: id("me"), have: 0 };
    let asked = WorkerRow { inbox: [(EntryId(1), ask.clone())].into(), ..row("p", 1) };
    let mark = InboxEntry::Revoke { lease: key("a"), fence: Fence(4), to: id("me") };
    let after = told(&write, &asked).unwrap();
    assert_eq!(after.inbox, [(EntryId(1), ask), (EntryId(2), mark)].into());
    assert_eq!(told(&write, &row("p", 1)), None, "the ask was decided");
    assert_eq!(told(&write, &WorkerRow { state: WorkerState::Fenced, ..asked }), None);
}

#[test]
fn a_forced_take_waits_for_the_owners_own_time() {
    let slow = LeaseTiming::new(Duration::from_secs(30), Duration::from_millis(250));
    assert_eq!(due(ms(100), slow, Rules::ALL), ms(100 + 30_030 + 250));
}

#[test]
fn a_forced_take_goes_by_the_fence_of_the_ask() {
    let asked = lease(Some("p"), 4);
    assert_eq!(seen(&asked, None, Rules::ALL), &asked);
    assert_eq!(seen(&asked, Some(&lease(Some("p"), 6)), Rules::ALL), &asked);
}
