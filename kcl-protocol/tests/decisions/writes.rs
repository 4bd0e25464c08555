//! What each write does to the row that stands.

use std::collections::BTreeMap;
use std::time::Duration;

use kcl_protocol::rows::Parked;
use kcl_protocol::writes::{ConditionFailed, apply_all};
use kcl_protocol::{
    CasOutcome, Checkpoint, ConditionalWrite, EntryId, Fence, HeldDigest, InboxEntry, Lease,
    LeaseChange, LeaseCondition, LeaseWrite, Ordinal, Row, RowKey, ShardId, StreamName, StreamRow,
    StreamStart, StreamWrite, TableRow, TableWrite, WorkerChange, WorkerCondition, WorkerRow,
    WorkerState, WorkerWrite,
};

use super::{applied, at, id, key, lease, row, told};

fn table() -> TableRow {
    TableRow {
        table_id: "t".into(),
        generation: 3,
        schema: TableRow::SCHEMA,
        max_duration: Duration::from_secs(3),
        max_grace: Duration::from_millis(250),
        resetting: false,
        round: 8,
        hint_key: 1,
    }
}

fn stream() -> StreamRow {
    StreamRow {
        name: StreamName::from("s"),
        created_at_millis: 1,
        start: StreamStart::TrimHorizon,
        first_sync_done: false,
    }
}

fn on_table(write: TableWrite, row: Option<TableRow>) -> Option<TableRow> {
    match ConditionalWrite::Table(write).apply(row.map(Row::Table).as_ref()) {
        Ok(Some(Row::Table(row))) => Some(row),
        Ok(other) => unreachable!("a table row stays one: {other:?}"),
        Err(ConditionFailed) => None,
    }
}

fn on_stream(write: StreamWrite, row: Option<StreamRow>) -> Option<StreamRow> {
    match ConditionalWrite::Stream(write).apply(row.map(Row::Stream).as_ref()) {
        Ok(Some(Row::Stream(row))) => Some(row),
        Ok(other) => unreachable!("a stream row stays one: {other:?}"),
        Err(ConditionFailed) => None,
    }
}

#[test]
fn the_table_row_is_made_once_and_its_maxima_only_rise() {
    assert_eq!(on_table(TableWrite::Create(table()), None), Some(table()));
    assert_eq!(on_table(TableWrite::Create(table()), Some(table())), None);
    let raise = |secs, millis| TableWrite::RaiseMaxima {
        duration: Duration::from_secs(secs),
        grace: Duration::from_millis(millis),
    };
    let raised = on_table(raise(9, 0), Some(table())).unwrap();
    assert_eq!(raised, TableRow { max_duration: Duration::from_secs(9), ..table() });
    let raised = on_table(raise(1, 400), Some(table())).unwrap();
    assert_eq!(raised, TableRow { max_grace: Duration::from_millis(400), ..table() });
    assert_eq!(on_table(raise(9, 0), None), None);
}

#[test]
fn rounds_and_generations_follow_the_one_that_was_seen() {
    let round = |seen| on_table(TableWrite::NextRound { seen }, Some(table()));
    assert_eq!(round(8), Some(TableRow { round: 9, ..table() }));
    assert_eq!(round(7), None);
    let next = |seen| {
        let table_id = "copy".to_owned();
        on_table(TableWrite::NextGeneration { seen, table_id }, Some(table()))
    };
    assert_eq!(next(3), Some(TableRow { generation: 4, table_id: "copy".into(), ..table() }));
    assert_eq!(next(4), None);
}

#[test]
fn a_reset_begins_a_generation_once_and_ends_the_one_it_began() {
    let begin = |seen| on_table(TableWrite::BeginReset { seen }, Some(table()));
    let begun = TableRow { generation: 4, resetting: true, ..table() };
    assert_eq!(begin(3), Some(begun.clone()));
    assert_eq!(begin(2), None);
    let end = |generation| on_table(TableWrite::EndReset { generation }, Some(begun.clone()));
    assert_eq!(end(4), Some(TableRow { generation: 4, ..table() }));
    assert_eq!(end(3), None, "another reset has begun since");
}

#[test]
fn the_first_to_make_a_streams_row_decides_and_only_an_operator_restarts_it() {
    let other = StreamRow { start: StreamStart::AtTimestamp(5), ..stream() };
    assert_eq!(on_stream(StreamWrite::Create(stream()), None), Some(stream()));
    assert_eq!(on_stream(StreamWrite::Create(other.clone()), Some(stream())), None);
    let done = StreamWrite::FirstSyncDone(stream().name);
    let synced = StreamRow { first_sync_done: true, ..stream() };
    assert_eq!(on_stream(done.clone(), Some(stream())), Some(synced.clone()));
    assert_eq!(on_stream(done, None), None);
    let restart = StreamWrite::Restart(other.clone());
    assert_eq!(on_stream(restart.clone(), Some(synced)), Some(other));
    assert_eq!(on_stream(restart, None), None);
}

#[test]
fn each_condition_of_a_worker_row_holds_or_fails_alone() {
    let grant = InboxEntry::Grant { leases: Vec::new() };
    let row = WorkerRow { inbox: [(EntryId(1), grant)].into(), ..row("p", 5) };
    let holds = |condition| {
        let (when, change) = (vec![condition], Vec::new());
        told(&WorkerWrite::Update { id: id("p"), when, change }, &row).is_some()
    };
    assert!(holds(WorkerCondition::StateIs(WorkerState::Live)));
    assert!(!holds(WorkerCondition::StateIs(WorkerState::Missing)));
    assert!(holds(WorkerCondition::StateIsNotDead));
    assert!(holds(WorkerCondition::HeartbeatIs(5)) && !holds(WorkerCondition::HeartbeatIs(6)));
    assert!(holds(WorkerCondition::InboxBelow(2)) && !holds(WorkerCondition::InboxBelow(1)));
    assert!(holds(WorkerCondition::InboxHas(EntryId(1))));
    assert!(!holds(WorkerCondition::InboxHas(EntryId(2))));
}

#[test]
fn each_change_of_a_worker_row_changes_its_field() {
    let grant = InboxEntry::Grant { leases: vec![(key("a"), Fence(1))] };
    let empty = InboxEntry::Grant { leases: Vec::new() };
    let before = WorkerRow {
        inbox: [(EntryId(1), empty.clone()), (EntryId(2), empty)].into(),
        ..row("p", 5)
    };
    let digest = HeldDigest { count: 1, hashes: 2 };
    let change = vec![
        WorkerChange::Beat,
        WorkerChange::State(WorkerState::Gone),
        WorkerChange::Draining(true),
        WorkerChange::Load(7),
        WorkerChange::Digest(digest),
        WorkerChange::InboxPut(EntryId(1), grant.clone()),
        WorkerChange::InboxRemove(EntryId(2)),
        WorkerChange::List(true),
        WorkerChange::Address(Some("host:1".into())),
    ];
    let write = WorkerWrite::Update { id: id("p"), when: Vec::new(), change };
    let after = WorkerRow {
        heartbeat: 6,
        state: WorkerState::Gone,
        draining: true,
        load: 7,
        digest,
        inbox: [(EntryId(1), grant)].into(),
        list: true,
        address: Some("host:1".into()),
        ..before.clone()
    };
    assert_eq!(told(&write, &before), Some(after));
}

#[test]
fn each_condition_of_a_lease_row_holds_or_fails_alone() {
    let open = Lease { ordinal: Ordinal(3), ..lease(Some("me"), 4) };
    let ended = Lease { checkpoint: Checkpoint::ShardEnd, owner: None, ..open.clone() };
    let holds = |condition: LeaseCondition, row: &Lease| {
        let (key, when, change) = (key("a"), vec![condition], Vec::new());
        applied(&LeaseWrite::Update { key, when, change }, row).is_some()
    };
    assert!(holds(LeaseCondition::OwnerIs(id("me")), &open));
    assert!(!holds(LeaseCondition::OwnerIs(id("other")), &open));
    assert!(!holds(LeaseCondition::OwnerIs(id("me")), &ended));
    assert!(holds(LeaseCondition::Unowned, &ended) && !holds(LeaseCondition::Unowned, &open));
    assert!(holds(LeaseCondition::FenceIs(Fence(4)), &open));
    assert!(!holds(LeaseCondition::FenceIs(Fence(5)), &open));
    for (ordinal, at_most, below) in [(2, false, false), (3, true, false), (4, true, true)] {
        assert_eq!(holds(LeaseCondition::OrdinalAtMost(Ordinal(ordinal)), &open), at_most);
        assert_eq!(holds(LeaseCondition::OrdinalBelow(Ordinal(ordinal)), &open), below);
    }
    assert!(holds(LeaseCondition::Ended, &ended) && !holds(LeaseCondition::Ended, &open));
    assert!(holds(LeaseCondition::NotEnded, &open) && !holds(LeaseCondition::NotEnded, &ended));
}

#[test]
fn each_change_of_a_lease_row_changes_its_field() {
    let before = Lease { ordinal: Ordinal(3), owner_switches: 2, ..lease(Some("me"), 4) };
    let changed = |change: Vec<LeaseChange>| {
        let write = LeaseWrite::Update { key: key("a"), when: Vec::new(), change };
        applied(&write, &before).unwrap()
    };
    let moved = changed(vec![LeaseChange::Owner(None)]);
    assert_eq!((moved.owner, moved.owner_switches), (None, 3));
    assert_eq!(changed(vec![LeaseChange::Owner(Some(id("me")))]), before, "no switch");
    let fenced = changed(vec![LeaseChange::Fence(Fence(5))]);
    assert_eq!((fenced.fence, fenced.ordinal), (Fence(5), Ordinal(0)));
    assert_eq!(changed(vec![LeaseChange::Ordinal(Ordinal(9))]).ordinal, Ordinal(9));
    let done = changed(vec![LeaseChange::Checkpoint(at(9))]);
    assert_eq!((done.checkpoint, done.owner_switches), (at(9), 0));
    let children = [ShardId::from("b")];
    let split = changed(vec![LeaseChange::Children(children.clone().into())]);
    assert_eq!(split.children, children.into());
    let parked = Some(Parked { reason: "poison".into(), at: None });
    assert_eq!(changed(vec![LeaseChange::Parked(parked.clone())]).parked, parked);
    let since = changed(vec![LeaseChange::UnlistedSince(Some(7))]);
    assert_eq!(since.unlisted_since_millis, Some(7));
}

#[test]
fn a_row_is_made_only_where_none_is_and_removed_only_where_one_is() {
    let made = |write: ConditionalWrite, row: Option<Row>| write.apply(row.as_ref());
    let (worker, open) = (Row::Worker(row("p", 5)), Row::Lease(lease(None, 4)));
    let create = ConditionalWrite::Worker(WorkerWrite::Create(row("p", 5)));
    assert_eq!(made(create.clone(), None), Ok(Some(worker.clone())));
    assert_eq!(made(create, Some(worker.clone())), Err(ConditionFailed));
    let create = ConditionalWrite::Lease(LeaseWrite::Create(lease(None, 4)));
    assert_eq!(made(create.clone(), None), Ok(Some(open.clone())));
    assert_eq!(made(create, Some(open.clone())), Err(ConditionFailed));
    let delete = |count| {
        let when = vec![WorkerCondition::HeartbeatIs(count)];
        ConditionalWrite::Worker(WorkerWrite::Delete { id: id("p"), when })
    };
    assert_eq!(made(delete(5), Some(worker.clone())), Ok(None));
    assert_eq!(made(delete(6), Some(worker.clone())), Err(ConditionFailed));
    assert_eq!(made(delete(5), None), Err(ConditionFailed));
    let remove = ConditionalWrite::Lease(LeaseWrite::Delete { key: key("a"), when: Vec::new() });
    assert_eq!(made(remove.clone(), Some(open)), Ok(None));
    assert_eq!(made(remove.clone(), None), Err(ConditionFailed));
    assert_eq!(made(remove, Some(worker)), Err(ConditionFailed), "a row of another kind");
}

#[test]
fn a_write_names_its_row() {
    let stream_key = RowKey::Stream(StreamName::from("s"));
    let (worker_key, lease_key) = (RowKey::Worker(id("p")), RowKey::Lease(key("a")));
    let worker = |write| ConditionalWrite::Worker(write).key();
    let of_lease = |write| ConditionalWrite::Lease(write).key();
    let of_stream = |write| ConditionalWrite::Stream(write).key();
    assert_eq!(ConditionalWrite::Table(TableWrite::NextRound { seen: 1 }).key(), RowKey::Table);
    assert_eq!(of_stream(StreamWrite::Create(stream())), stream_key);
    assert_eq!(of_stream(StreamWrite::Restart(stream())), stream_key);
    assert_eq!(of_stream(StreamWrite::FirstSyncDone(stream().name)), stream_key);
    let (when, change) = (Vec::new(), Vec::new());
    assert_eq!(worker(WorkerWrite::Create(row("p", 1))), worker_key);
    assert_eq!(worker(WorkerWrite::Update { id: id("p"), when, change }), worker_key);
    assert_eq!(worker(WorkerWrite::Delete { id: id("p"), when: Vec::new() }), worker_key);
    let (when, change) = (Vec::new(), Vec::new());
    assert_eq!(of_lease(LeaseWrite::Create(lease(None, 1))), lease_key);
    assert_eq!(of_lease(LeaseWrite::Ensure(lease(None, 1))), lease_key);
    assert_eq!(of_lease(LeaseWrite::Update { key: key("a"), when, change }), lease_key);
    assert_eq!(of_lease(LeaseWrite::Delete { key: key("a"), when: Vec::new() }), lease_key);
}

#[test]
fn a_group_of_writes_applies_as_a_whole_or_names_the_first_that_fails() {
    let rows: BTreeMap<_, _> = [Row::Worker(row("p", 5)), Row::Lease(lease(Some("me"), 4))]
        .map(|row| (row.key(), row))
        .into();
    let read = |key: &RowKey| rows.get(key).cloned();
    let beat = |when| WorkerWrite::Update { id: id("p"), when, change: vec![WorkerChange::Beat] };
    let fine = ConditionalWrite::Worker(beat(Vec::new()));
    let bad = ConditionalWrite::Worker(beat(vec![WorkerCondition::HeartbeatIs(1)]));
    let gone = ConditionalWrite::Lease(LeaseWrite::Delete { key: key("a"), when: Vec::new() });
    let after = apply_all(&[fine.clone(), gone.clone()], read);
    let beaten = (RowKey::Worker(id("p")), Some(Row::Worker(row("p", 6))));
    assert_eq!(after, Ok(vec![beaten, (RowKey::Lease(key("a")), None)]));
    assert_eq!(apply_all(&[fine, bad.clone(), gone, bad], read), Err(1));
}

#[test]
fn an_outcome_says_whether_it_won_and_which_row_stands() {
    let stands = Row::Worker(row("p", 5));
    let (won, lost) =
        (CasOutcome::Won(Some(stands.clone())), CasOutcome::Lost(Some(stands.clone())));
    assert!(won.is_won() && !lost.is_won());
    assert_eq!((won.row(), lost.row()), (Some(&stands), Some(&stands)));
    assert_eq!(CasOutcome::Lost(None).row(), None);
    assert_eq!(stands.clone().into_lease(), None);
    assert_eq!(Row::Lease(lease(None, 1)).into_worker(), None);
}
