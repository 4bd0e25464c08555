//! What some writes look like, with the placeholders put back.

use std::time::Duration;

use kcl_protocol::{
    Checkpoint, ConditionalWrite, EntryId, Fence, HashKeyRange, InboxEntry, Lease, LeaseChange,
    LeaseCondition, LeaseKey, LeaseWrite, Ordinal, Row, TableRow, TableWrite, WorkerChange,
    WorkerCondition, WorkerId, WorkerState, WorkerWrite,
};

use super::{Alone, needs_pin, render};
use aws_sdk_dynamodb::types::AttributeValue as V;

/// Condition and update, with names and values in place of their placeholders.
fn shown(write: &ConditionalWrite, pin: Option<&Row>) -> (String, String) {
    let rendered = render(write, pin, Alone::InTransaction).unwrap();
    let expression = rendered.expression;
    let mut places: Vec<(String, String)> = expression.names().into_iter().collect();
    for (place, value) in expression.values().unwrap_or_default() {
        let value = match value {
            V::S(text) => format!("'{text}'"),
            V::N(digits) => digits,
            V::Bool(flag) => flag.to_string(),
            V::Ss(texts) => format!("{texts:?}"),
            V::M(_) => "{..}".into(),
            other => panic!("{other:?}"),
        };
        places.push((place, value));
    }
    // Longest first: `:v1` is the beginning of `:v10`.
    places.sort_by_key(|(place, _)| std::cmp::Reverse(place.len()));
    let put_back = |text: Option<String>| {
        let text = text.unwrap_or_default();
        places.iter().fold(text, |text, (place, value)| text.replace(place, value))
    };
    (put_back(expression.condition()), put_back(expression.update()))
}

fn update(when: Vec<LeaseCondition>, change: Vec<LeaseChange>) -> ConditionalWrite {
    let key = LeaseKey::new("shardId-000000000001");
    ConditionalWrite::Lease(LeaseWrite::Update { key, when, change })
}

#[test]
fn a_take_counts_the_change_of_owner_it_can_see_from_its_conditions() {
    let write = update(
        vec![LeaseCondition::OwnerIs(WorkerId::new("a")), LeaseCondition::FenceIs(Fence(7))],
        vec![LeaseChange::Owner(Some(WorkerId::new("b"))), LeaseChange::Fence(Fence(8))],
    );
    assert!(!needs_pin(&write));
    let (condition, change) = shown(&write, None);
    assert_eq!(condition, "attribute_exists(leaseKey) AND leaseOwner = 'a' AND leaseCounter = 7");
    assert_eq!(
        change,
        "SET checkpointOrdinal = 0, leaseCounter = 8, leaseOwner = 'b', \
         ownerSwitchesSinceCheckpoint = ownerSwitchesSinceCheckpoint + 1"
    );
}

#[test]
fn adopting_ones_own_lease_counts_no_change_of_owner() {
    let me = WorkerId::new("a");
    let write = update(
        vec![LeaseCondition::OwnerIs(me.clone())],
        vec![LeaseChange::Owner(Some(me)), LeaseChange::Fence(Fence(8))],
    );
    assert!(!shown(&write, None).1.contains("ownerSwitches"));
}

#[test]
fn a_hand_over_with_a_checkpoint_restarts_the_count_and_then_counts_itself() {
    let write = update(
        vec![LeaseCondition::OwnerIs(WorkerId::new("a"))],
        vec![LeaseChange::Checkpoint(Checkpoint::TrimHorizon), LeaseChange::Owner(None)],
    );
    assert_eq!(
        shown(&write, None).1,
        "SET checkpoint = 'TRIM_HORIZON', checkpointSubSequenceNumber = 0, \
         ownerSwitchesSinceCheckpoint = 1 REMOVE checkpointTimestampMillis, leaseOwner"
    );
}

#[test]
fn a_change_of_owner_that_names_none_before_is_pinned_to_the_row_as_read() {
    let write = update(vec![], vec![LeaseChange::Owner(Some(WorkerId::new("b")))]);
    assert!(needs_pin(&write));
    let key = LeaseKey::new("shardId-000000000001");
    let mut row = Lease::unowned(key, Checkpoint::TrimHorizon, HashKeyRange::FULL);
    let unowned = shown(&write, Some(&Row::Lease(row.clone())));
    assert_eq!(unowned.0, "attribute_exists(leaseKey) AND attribute_not_exists(leaseOwner)");
    assert!(unowned.1.contains("+ 1"));
    row.owner = Some(WorkerId::new("b"));
    let same = shown(&write, Some(&Row::Lease(row)));
    assert_eq!(same.0, "attribute_exists(leaseKey) AND leaseOwner = 'b'");
    assert!(!same.1.contains("+ 1"));
}

#[test]
fn an_ordinal_that_is_missing_counts_as_zero() {
    let condition = |condition| shown(&update(vec![condition], vec![]), None).0;
    let missing = "(attribute_not_exists(checkpointOrdinal) OR checkpointOrdinal";
    assert!(condition(LeaseCondition::OrdinalAtMost(Ordinal(0))).contains(missing));
    assert!(condition(LeaseCondition::OrdinalBelow(Ordinal(1))).contains(missing));
    let never = condition(LeaseCondition::OrdinalBelow(Ordinal(0)));
    assert_eq!(never, "attribute_exists(leaseKey) AND checkpointOrdinal < 0");
}

#[test]
fn a_heartbeat_is_one_conditional_update() {
    let write = ConditionalWrite::Worker(WorkerWrite::Update {
        id: WorkerId::new("w"),
        when: vec![WorkerCondition::StateIs(WorkerState::Live)],
        change: vec![
            WorkerChange::Beat,
            WorkerChange::Load(3),
            WorkerChange::InboxRemove(EntryId(0xAB)),
        ],
    });
    let (condition, change) = shown(&write, None);
    assert_eq!(condition, "attribute_exists(rowKey) AND workerState = 'LIVE'");
    assert_eq!(
        change,
        "SET heartbeat = heartbeat + 1, load = 3 REMOVE inbox.000000000000000000000000000000ab"
    );
}

#[test]
fn of_an_entry_put_and_removed_in_one_write_the_last_word_stands() {
    let entry = InboxEntry::Grant { leases: vec![] };
    let put = WorkerChange::InboxPut(EntryId(1), entry);
    let remove = WorkerChange::InboxRemove(EntryId(1));
    let change = |change| {
        let write = WorkerWrite::Update { id: WorkerId::new("w"), when: vec![], change };
        shown(&ConditionalWrite::Worker(write), None).1
    };
    assert!(change(vec![put.clone(), remove.clone()]).starts_with("REMOVE inbox."));
    assert!(change(vec![remove, put]).starts_with("SET inbox."));
}

#[test]
fn ensuring_a_lease_sets_each_attribute_only_if_absent_and_takes_fresh_ones_only() {
    let key = LeaseKey::new("shardId-000000000001");
    let mut lease = Lease::unowned(key, Checkpoint::TrimHorizon, HashKeyRange::FULL);
    let write = ConditionalWrite::Lease(LeaseWrite::Ensure(lease.clone()));
    let (condition, change) = shown(&write, None);
    assert_eq!(condition, "");
    let sets = change.strip_prefix("SET ").unwrap().split(", ").collect::<Vec<_>>();
    // Each ends in the closing bracket of `if_not_exists(name, value)`, which the split cut.
    assert!(sets.chunks(2).all(|set| set[0].contains("= if_not_exists(")), "{change}");
    lease.owner = Some(WorkerId::new("w"));
    let owned = ConditionalWrite::Lease(LeaseWrite::Ensure(lease));
    assert!(render(&owned, None, Alone::InTransaction).is_err());
    assert!(render(&owned, None, Alone::Yes).is_ok());
}

#[test]
fn maxima_are_raised_from_what_was_read() {
    let write = ConditionalWrite::Table(TableWrite::RaiseMaxima {
        duration: Duration::from_nanos(5),
        grace: Duration::from_nanos(5),
    });
    let row = Row::Table(TableRow {
        table_id: "id".into(),
        generation: 0,
        schema: TableRow::SCHEMA,
        max_duration: Duration::from_nanos(9),
        max_grace: Duration::from_nanos(1),
        round: 0,
        hint_key: 0,
        resetting: false,
    });
    let (condition, change) = shown(&write, Some(&row));
    assert_eq!(
        condition,
        "attribute_exists(rowKey) AND maxLeaseDurationNanos = 9 AND maxGraceNanos = 1"
    );
    assert_eq!(change, "SET maxLeaseDurationNanos = 9, maxGraceNanos = 5");
}
