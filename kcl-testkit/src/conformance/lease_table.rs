//! What a lease table must do, one fact a function. Each takes a fresh, empty table and panics
//! with the fact that does not hold.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kcl_core::Bytes;
use kcl_core::protocol::limits::PREPARED_STATE_BYTES;
use kcl_core::protocol::writes::apply_all;
use kcl_core::protocol::{
    CasOutcome, Checkpoint, ConditionalWrite, Fence, HashKeyRange, InboxEntry, Lease, LeaseChange,
    LeaseCondition, LeaseKey, LeaseTiming, LeaseWrite, Ordinal, Parked, Position, Prepared, Reads,
    Row, RowKey, SequenceNumber, ShardId, StreamTag, TableWrite, WorkerChange, WorkerCondition,
    WorkerId, WorkerRow, WorkerWrite,
};
use kcl_core::{Effects, LeaseTable, Scan, TableError};

use super::random_writes::{RandomWrites, table_row};

/// A table under test.
pub type Table = Arc<dyn LeaseTable>;

fn lease(number: u32) -> Lease {
    let key = LeaseKey::from(format!("shardId-{number:012}"));
    Lease::unowned(key, Checkpoint::TrimHorizon, HashKeyRange::FULL)
}
fn worker(name: &str) -> WorkerRow {
    WorkerRow::live(WorkerId::new(name), LeaseTiming::new(Duration::from_secs(3), Duration::ZERO))
}
fn create(lease: &Lease) -> ConditionalWrite {
    ConditionalWrite::Lease(LeaseWrite::Create(lease.clone()))
}
fn create_worker(row: &WorkerRow) -> ConditionalWrite {
    ConditionalWrite::Worker(WorkerWrite::Create(row.clone()))
}
async fn won(table: &Table, write: &ConditionalWrite) -> Option<Row> {
    match table.write(write).await {
        Ok(CasOutcome::Won(row)) => row,
        other => panic!("{write:?} should have won: {other:?}"),
    }
}

/// The id is the store's own, and stays.
pub async fn preparing_twice_gives_the_same_id(table: Table) {
    let id = table.prepare().await.unwrap();
    assert!(!id.is_empty());
    assert_eq!(table.prepare().await.unwrap(), id);
}

/// Every field survives, at its extremes too: those of a count are a Java `long`'s.
pub async fn rows_read_back_as_they_were_written(table: Table) {
    let mut full = lease(1);
    full.owner = Some(WorkerId::new("wörker-1"));
    full.fence = Fence(i64::MAX.unsigned_abs());
    full.ordinal = Ordinal(i64::MAX.unsigned_abs());
    let at = Position { sequence: SequenceNumber::MAX, subsequence: u64::MAX };
    full.checkpoint = Checkpoint::At(at);
    let state = Bytes::from(vec![255; PREPARED_STATE_BYTES]);
    full.prepared = Some(Prepared { checkpoint: Checkpoint::ShardEnd, state });
    full.parents = [ShardId::new("shardId-000000000000")].into();
    full.children = [ShardId::new("a"), ShardId::new("b")].into();
    full.range = HashKeyRange { start: 1, end: u128::MAX - 1 };
    full.parked = Some(Parked { reason: "no such \"field\" — 日本".into(), at: Some(at) });
    full.owner_switches = 7;
    full.unlisted_since_millis = Some(1_700_000_000_000);
    let mut busy = worker("busy");
    busy.heartbeat = i64::MAX.unsigned_abs();
    busy.draining = true;
    busy.load = u32::MAX;
    busy.digest.add(&full.key, full.fence);
    busy.reads = Reads::Streams((0..256).map(|n| StreamTag(u64::MAX - n)).collect());
    busy.list = true;
    busy.address = Some("[::1]:4567".into());
    for number in 0..32 {
        let leases = vec![(full.key.clone(), Fence(number)); 16];
        let entry = InboxEntry::Ask { leases, to: full.owner.clone().unwrap(), have: 9 };
        busy.inbox.insert(kcl_core::protocol::EntryId(u128::MAX - u128::from(number)), entry);
    }
    let bare = Lease { key: LeaseKey::in_stream("1:s:2", &ShardId::new("x")), ..lease(2) };
    for (write, row) in [
        (create(&full), Row::Lease(full.clone())),
        (create(&bare), Row::Lease(bare.clone())),
        (create_worker(&busy), Row::Worker(busy.clone())),
        (ConditionalWrite::Table(TableWrite::Create(table_row(0))), Row::Table(table_row(0))),
    ] {
        assert_eq!(won(&table, &write).await.as_ref(), Some(&row));
        assert_eq!(table.read(&row.key()).await.unwrap(), Some(row));
    }
}

/// Losing is a value, with the row that stands.
pub async fn creating_a_row_twice_loses_and_shows_the_standing_one(table: Table) {
    let mut first = worker("w");
    won(&table, &create_worker(&first)).await;
    first.load = 5;
    let outcome = table.write(&create_worker(&first)).await.unwrap();
    assert_eq!(outcome, CasOutcome::Lost(Some(Row::Worker(worker("w")))));
}

/// An update or deletion of a row that is not there loses, and makes none.
pub async fn a_write_of_a_missing_row_loses(table: Table) {
    let key = lease(1).key;
    let change = vec![LeaseChange::Fence(Fence(1))];
    let update = LeaseWrite::Update { key: key.clone(), when: Vec::new(), change };
    let delete = LeaseWrite::Delete { key: key.clone(), when: Vec::new() };
    for write in [update, delete] {
        let outcome = table.write(&ConditionalWrite::Lease(write)).await.unwrap();
        assert_eq!(outcome, CasOutcome::Lost(None));
    }
    assert_eq!(table.read(&RowKey::Lease(key)).await.unwrap(), None);
}

/// `Ensure` puts what is absent and always wins.
pub async fn ensure_leaves_a_standing_lease_alone(table: Table) {
    let mut standing = lease(1);
    standing.fence = Fence(7);
    standing.owner = Some(WorkerId::new("w"));
    won(&table, &create(&standing)).await;
    let ensure = |lease: &Lease| ConditionalWrite::Lease(LeaseWrite::Ensure(lease.clone()));
    assert_eq!(won(&table, &ensure(&lease(1))).await, Some(Row::Lease(standing)));
    assert_eq!(won(&table, &ensure(&lease(2))).await, Some(Row::Lease(lease(2))));
}

/// Every condition and every change, one after the other, against the pure reference.
pub async fn random_writes_behave_like_the_reference(table: Table) {
    let mut writes = RandomWrites::new(7);
    let mut reference: BTreeMap<RowKey, Row> = BTreeMap::new();
    for number in 0..600 {
        let write = writes.draw();
        let key = write.key();
        let expected = match write.apply(reference.get(&key)) {
            Ok(row) => {
                match row.clone() {
                    Some(row) => drop(reference.insert(key, row)),
                    None => drop(reference.remove(&key)),
                }
                CasOutcome::Won(row)
            }
            Err(_) => CasOutcome::Lost(reference.get(&key).cloned()),
        };
        let outcome = table.write(&write).await.unwrap();
        assert_eq!(outcome, expected, "write {number}: {write:?}");
    }
    for key in RandomWrites::keys() {
        assert_eq!(table.read(&key).await.unwrap().as_ref(), reference.get(&key));
    }
}

/// All rows change, or none; the answer shows the first row, or the first that failed.
pub async fn a_transaction_applies_all_or_none(table: Table) {
    let mut writes = RandomWrites::new(11);
    let mut reference: BTreeMap<RowKey, Row> = BTreeMap::new();
    for _ in 0..120 {
        let mut group: BTreeMap<RowKey, ConditionalWrite> = BTreeMap::new();
        for _ in 0..3 {
            let write = writes.draw();
            group.insert(write.key(), write);
        }
        let group: Vec<_> = group.into_values().collect();
        let expected = match apply_all(&group, |key| reference.get(key).cloned()) {
            Ok(changed) => {
                let first = changed[0].1.clone();
                for (key, row) in changed {
                    match row {
                        Some(row) => drop(reference.insert(key, row)),
                        None => drop(reference.remove(&key)),
                    }
                }
                CasOutcome::Won(first)
            }
            Err(failed) => CasOutcome::Lost(reference.get(&group[failed].key()).cloned()),
        };
        assert_eq!(table.write_all(&group).await.unwrap(), expected, "{group:?}");
    }
}

/// At most 100 writes, of distinct rows.
pub async fn a_transaction_refuses_too_many_or_repeated_rows(table: Table) {
    let many: Vec<_> = (0..101).map(|number| create(&lease(number))).collect();
    let refused = |answer| matches!(answer, Err(TableError::Refused(_)));
    assert!(refused(table.write_all(&many).await));
    assert!(refused(table.write_all(&[create(&lease(1)), create(&lease(1))]).await));
    assert_eq!(table.read(&RowKey::Lease(lease(1).key)).await.unwrap(), None);
    assert!(table.write_all(&many[..100]).await.unwrap().is_won());
    assert_eq!(table.scan(Scan::Leases).await.unwrap().len(), 100);
}

/// Rows come in the order of their keys; leases apart from everything else.
pub async fn scans_are_ordered_and_keep_to_their_scope(table: Table) {
    for number in [3, 1, 2] {
        won(&table, &create(&lease(number))).await;
        won(&table, &create_worker(&worker(&format!("w{number}")))).await;
    }
    won(&table, &ConditionalWrite::Table(TableWrite::Create(table_row(0)))).await;
    let leases = table.scan(Scan::Leases).await.unwrap();
    assert_eq!(leases, [1, 2, 3].map(|number| Row::Lease(lease(number))));
    let rest = table.scan(Scan::Coordination).await.unwrap();
    assert_eq!(rest.len(), 4);
    assert!(rest.is_sorted_by_key(Row::key));
}

/// Of many workers that take one lease at one fence, one wins.
pub async fn one_of_many_racers_wins(table: Table) {
    won(&table, &create(&lease(1))).await;
    let racers = (0..64).map(|number| {
        let table = Arc::clone(&table);
        let me = WorkerId::from(format!("w{number}"));
        let take = LeaseWrite::Update {
            key: lease(1).key,
            when: vec![LeaseCondition::Unowned, LeaseCondition::FenceIs(Fence(0))],
            change: vec![LeaseChange::Owner(Some(me)), LeaseChange::Fence(Fence(1))],
        };
        tokio::spawn(async move { settle(&*table, &ConditionalWrite::Lease(take)).await.is_won() })
    });
    let mut winners = 0;
    for racer in racers.collect::<Vec<_>>() {
        winners += u32::from(racer.await.unwrap());
    }
    assert_eq!(winners, 1);
}

/// Compare-and-sets on one counter from many tasks: every win is one step, and none is lost.
pub async fn concurrent_compare_and_sets_lose_no_step(table: Table) {
    const TASKS: u64 = 8;
    const STEPS: u64 = 25;
    won(&table, &create_worker(&worker("w"))).await;
    let tasks = (0..TASKS).map(|_| {
        let table = Arc::clone(&table);
        tokio::spawn(async move {
            let (mut seen, mut won) = (1, 0);
            while won < STEPS {
                let beat = WorkerWrite::Update {
                    id: WorkerId::new("w"),
                    when: vec![WorkerCondition::HeartbeatIs(seen)],
                    change: vec![WorkerChange::Beat],
                };
                let outcome = settle(&*table, &ConditionalWrite::Worker(beat)).await;
                won += u64::from(outcome.is_won());
                let Some(Row::Worker(row)) = outcome.row() else { panic!("the row is gone") };
                assert!(row.heartbeat >= seen, "the counter went back");
                seen = row.heartbeat;
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let row = table.read(&RowKey::Worker(WorkerId::new("w"))).await.unwrap();
    let Some(Row::Worker(row)) = row else { panic!("the row is gone") };
    assert_eq!(row.heartbeat, 1 + TASKS * STEPS);
}

/// A store that cannot do it, or gets effects that are not of its kind, refuses and changes
/// nothing.
pub async fn effects_of_a_foreign_kind_are_refused(table: Table) {
    let answer = table.write_with(&create(&lease(1)), &Effects::new(())).await;
    assert!(matches!(answer, Err(TableError::Refused(_))), "{answer:?}");
    assert_eq!(table.read(&RowKey::Lease(lease(1).key)).await.unwrap(), None);
}

/// A write that is repeated while the table asks for patience.
async fn settle(table: &dyn LeaseTable, write: &ConditionalWrite) -> CasOutcome {
    loop {
        match table.write(write).await {
            Ok(outcome) => return outcome,
            Err(TableError::Throttled | TableError::Conflict) => {
                tokio::task::yield_now().await;
            }
            Err(error) => panic!("{write:?}: {error}"),
        }
    }
}
