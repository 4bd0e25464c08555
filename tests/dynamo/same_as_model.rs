//! Random writes to the table and to the reference meaning of a write, side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kcl_core::{Bytes, LeaseTable, Scan};
use kcl_protocol::writes::apply_all;
use kcl_protocol::{
    CasOutcome, Checkpoint, ConditionalWrite, EntryId, Fence, HashKeyRange, HeldDigest, InboxEntry,
    Lease, LeaseChange, LeaseCondition, LeaseKey, LeaseWrite, Ordinal, Parked, Position, Prepared,
    Reads, Row, RowKey, SequenceNumber, ShardId, StreamName, StreamRow, StreamStart, StreamTag,
    StreamWrite, TableRow, TableWrite, WorkerChange, WorkerCondition, WorkerId, WorkerRow,
    WorkerState, WorkerWrite,
};

use crate::draw::Draw;
use crate::local::{table, worker};

impl Draw {
    fn worker_id(&mut self) -> WorkerId {
        WorkerId::from(format!("w-{}", self.below(3)))
    }
    fn lease_key(&mut self) -> LeaseKey {
        LeaseKey::from(format!("1:orders:17:shardId-{:012}", self.below(4)))
    }
    fn shards(&mut self) -> BTreeSet<ShardId> {
        self.several(2, |d| ShardId::from(format!("shardId-{}", d.below(9)))).into_iter().collect()
    }
    fn position(&mut self) -> Position {
        let sequence = SequenceNumber::from_parts(self.below(1 << 50), u128::MAX / 3);
        Position { sequence, subsequence: self.below(3) }
    }
    fn checkpoint(&mut self) -> Checkpoint {
        match self.below(6) {
            0 => Checkpoint::TrimHorizon,
            1 => Checkpoint::AtTimestamp(self.below(u64::MAX)),
            2 => Checkpoint::Latest,
            3 => Checkpoint::ShardEnd,
            _ => Checkpoint::At(self.position()),
        }
    }
    fn parked(&mut self) -> Option<Parked> {
        self.some(2, |d| Parked {
            reason: ["", "bad record"][d.below(2) as usize].into(),
            at: d.some(2, Self::position),
        })
    }
    /// Parents and range depend on the key, as in a real stream.
    fn fresh_lease(&mut self) -> Lease {
        let key = self.lease_key();
        let shard = key.shard();
        let index = u128::from(shard.as_str().as_bytes()[shard.as_str().len() - 1]);
        let range = HashKeyRange { start: index, end: u128::MAX - index };
        let mut lease = Lease::unowned(key, self.checkpoint(), range);
        if index % 2 == 0 {
            lease.parents = [ShardId::from(format!("parent-{index}"))].into();
        }
        lease
    }
    fn lease(&mut self) -> Lease {
        Lease {
            owner: self.some(2, Self::worker_id),
            fence: Fence(self.below(3)),
            ordinal: Ordinal(self.below(3)),
            prepared: self.prepared(),
            children: self.shards(),
            parked: self.parked(),
            owner_switches: self.below(5),
            unlisted_since_millis: self.some(2, |d| d.below(99)),
            ..self.fresh_lease()
        }
    }
    fn prepared(&mut self) -> Option<Prepared> {
        let state = Bytes::from(vec![7; self.below(3) as usize]);
        self.some(2, |d| Prepared { checkpoint: d.checkpoint(), state: state.clone() })
    }
    fn lease_condition(&mut self) -> LeaseCondition {
        match self.below(7) {
            0 => LeaseCondition::OwnerIs(self.worker_id()),
            1 => LeaseCondition::Unowned,
            2 => LeaseCondition::FenceIs(Fence(self.below(3))),
            3 => LeaseCondition::OrdinalAtMost(Ordinal(self.below(3))),
            4 => LeaseCondition::OrdinalBelow(Ordinal(self.below(3))),
            5 => LeaseCondition::Ended,
            _ => LeaseCondition::NotEnded,
        }
    }
    fn lease_change(&mut self) -> LeaseChange {
        match self.below(8) {
            7 => LeaseChange::Prepared(self.prepared()),
            0 => LeaseChange::Owner(self.some(3, Self::worker_id)),
            1 => LeaseChange::Fence(Fence(self.below(3))),
            2 => LeaseChange::Ordinal(Ordinal(self.below(3))),
            3 => LeaseChange::Checkpoint(self.checkpoint()),
            4 => LeaseChange::Children(self.shards()),
            5 => LeaseChange::Parked(self.parked()),
            _ => LeaseChange::UnlistedSince(self.some(2, |d| d.below(99))),
        }
    }
    fn lease_write(&mut self, alone: bool) -> LeaseWrite {
        match self.below(12) {
            0 | 1 => LeaseWrite::Create(self.lease()),
            2 if alone => LeaseWrite::Ensure(self.lease()),
            2 | 3 => LeaseWrite::Ensure(self.fresh_lease()),
            4 => LeaseWrite::Delete {
                key: self.lease_key(),
                when: self.several(2, Self::lease_condition),
            },
            _ => LeaseWrite::Update {
                key: self.lease_key(),
                when: self.several(2, Self::lease_condition),
                change: self.several(5, Self::lease_change),
            },
        }
    }

    fn entry_id(&mut self) -> EntryId {
        EntryId(u128::MAX - u128::from(self.below(3)))
    }
    fn entry(&mut self) -> InboxEntry {
        let to = self.worker_id();
        let leases = self.several(3, |d| (d.lease_key(), Fence(d.below(9))));
        match self.below(3) {
            0 => InboxEntry::Ask { leases, to, have: 7 },
            1 => InboxEntry::Revoke { lease: self.lease_key(), fence: Fence(u64::MAX >> 1), to },
            _ => InboxEntry::Grant { leases },
        }
    }
    fn state(&mut self) -> WorkerState {
        let states =
            [WorkerState::Live, WorkerState::Missing, WorkerState::Fenced, WorkerState::Gone];
        states[self.below(4) as usize]
    }
    fn digest(&mut self) -> HeldDigest {
        HeldDigest { count: 3, hashes: u64::MAX - self.below(9) }
    }
    fn worker(&mut self) -> WorkerRow {
        let inbox = self.several(3, |d| (d.entry_id(), d.entry())).into_iter().collect();
        WorkerRow {
            heartbeat: self.below(3),
            state: self.state(),
            duration: Duration::from_nanos(self.below(86_400_000_000_000)),
            grace: Duration::from_nanos(self.below(9)),
            max_leases: u32::MAX - self.below(2) as u32,
            reads: self.reads(),
            digest: self.digest(),
            inbox,
            address: self.some(2, |_| "10.0.0.1:99".into()),
            ..worker(self.worker_id().as_str())
        }
    }
    fn reads(&mut self) -> Reads {
        let tags = self.several(3, |d| StreamTag(d.below(u64::MAX))).into_iter().collect();
        if self.one_in(2) { Reads::Streams(tags) } else { Reads::TheOne }
    }
    fn worker_condition(&mut self) -> WorkerCondition {
        match self.below(5) {
            0 => WorkerCondition::StateIs(self.state()),
            1 => WorkerCondition::StateIsNotDead,
            2 => WorkerCondition::HeartbeatIs(self.below(3)),
            3 => WorkerCondition::InboxBelow(self.below(4) as usize),
            _ => WorkerCondition::InboxHas(self.entry_id()),
        }
    }
    fn worker_change(&mut self) -> WorkerChange {
        match self.below(12) {
            0 => WorkerChange::Beat,
            1 => WorkerChange::State(self.state()),
            2 => WorkerChange::Draining(self.one_in(2)),
            3 => WorkerChange::Load(self.below(9) as u32),
            4 => WorkerChange::Digest(self.digest()),
            5..=7 => WorkerChange::InboxPut(self.entry_id(), self.entry()),
            8 => WorkerChange::InboxRemove(self.entry_id()),
            11 => WorkerChange::Reads(self.reads()),
            9 => WorkerChange::List(self.one_in(2)),
            _ => WorkerChange::Address(self.some(2, |d| format!("host:{}", d.below(9)))),
        }
    }
    fn worker_write(&mut self) -> WorkerWrite {
        match self.below(8) {
            0 => WorkerWrite::Create(self.worker()),
            1 => WorkerWrite::Delete {
                id: self.worker_id(),
                when: self.several(2, Self::worker_condition),
            },
            _ => WorkerWrite::Update {
                id: self.worker_id(),
                when: self.several(2, Self::worker_condition),
                change: self.several(6, Self::worker_change),
            },
        }
    }

    fn stream(&mut self) -> StreamRow {
        StreamRow {
            name: StreamName::from(format!("s-{}", self.below(2))),
            created_at_millis: self.below(u64::MAX),
            start: match self.below(3) {
                0 => StreamStart::TrimHorizon,
                1 => StreamStart::AtTimestamp(self.below(99)),
                _ => StreamStart::After(
                    self.several(3, |d| (ShardId::from(format!("s{}", d.below(9))), d.position()))
                        .into_iter()
                        .collect(),
                ),
            },
            first_sync_done: self.one_in(2),
        }
    }
    fn stream_write(&mut self) -> StreamWrite {
        match self.below(3) {
            0 => StreamWrite::Create(self.stream()),
            1 => StreamWrite::FirstSyncDone(self.stream().name),
            _ => StreamWrite::Restart(self.stream()),
        }
    }
    fn table_write(&mut self) -> TableWrite {
        match self.below(6) {
            4 => TableWrite::BeginReset { seen: self.below(2) },
            5 => TableWrite::EndReset { generation: self.below(3) },
            0 => TableWrite::Create(TableRow {
                table_id: "one".into(),
                generation: self.below(2),
                schema: TableRow::SCHEMA,
                max_duration: Duration::from_nanos(self.below(9)),
                max_grace: Duration::from_secs(86_400),
                resetting: self.below(2) == 0,
                round: self.below(2),
                hint_key: u128::MAX,
            }),
            1 => TableWrite::RaiseMaxima {
                duration: Duration::from_nanos(self.below(99)),
                grace: Duration::from_nanos(self.below(9)),
            },
            2 => TableWrite::NextRound { seen: self.below(4) },
            _ => TableWrite::NextGeneration { seen: self.below(4), table_id: "two".into() },
        }
    }
    fn write(&mut self, alone: bool) -> ConditionalWrite {
        match self.below(10) {
            0 => ConditionalWrite::Table(self.table_write()),
            1 => ConditionalWrite::Stream(self.stream_write()),
            2..=4 => ConditionalWrite::Worker(self.worker_write()),
            _ => ConditionalWrite::Lease(self.lease_write(alone)),
        }
    }
    /// Writes of distinct rows.
    fn group(&mut self) -> Vec<ConditionalWrite> {
        let writes = (0..2 + self.below(3)).map(|_| self.write(false));
        let by_key: BTreeMap<RowKey, _> = writes.map(|write| (write.key(), write)).collect();
        by_key.into_values().collect()
    }
}

/// What the writes must come to, applied to the model.
fn expected(model: &mut BTreeMap<RowKey, Row>, writes: &[ConditionalWrite]) -> CasOutcome {
    match apply_all(writes, |key| model.get(key).cloned()) {
        Err(index) => CasOutcome::Lost(model.get(&writes[index].key()).cloned()),
        Ok(rows) => {
            let first = rows[0].1.clone();
            for (key, row) in rows {
                match row {
                    Some(row) => drop(model.insert(key, row)),
                    None => drop(model.remove(&key)),
                }
            }
            CasOutcome::Won(first)
        }
    }
}

#[tokio::test]
async fn random_writes_come_to_what_their_meaning_says() {
    let Some((_, table)) = table("model").await else { return };
    let mut draw = Draw(0x9E37_79B9_7F4A_7C15);
    let mut model = BTreeMap::new();
    let (mut won, mut lost) = (0, 0);
    for step in 0..900 {
        let (writes, outcome) = if draw.one_in(3) {
            let group = draw.group();
            let outcome = table.write_all(&group).await;
            (group, outcome)
        } else {
            let write = draw.write(true);
            let outcome = table.write(&write).await;
            (vec![write], outcome)
        };
        let outcome = outcome.unwrap_or_else(|error| panic!("step {step}: {error}: {writes:#?}"));
        assert_eq!(outcome, expected(&mut model, &writes), "step {step}: {writes:#?}");
        if outcome.is_won() { won += 1 } else { lost += 1 }
    }
    assert!(won > 200 && lost > 200, "{won} won, {lost} lost: too one-sided to tell anything");
    let mut rows = table.scan(Scan::Coordination).await.unwrap();
    rows.extend(table.scan(Scan::Leases).await.unwrap());
    assert_eq!(rows, model.into_values().collect::<Vec<_>>());
}

#[tokio::test]
async fn a_group_of_too_many_or_repeated_rows_is_refused() {
    let Some((_, table)) = table("groups").await else { return };
    let create = |n: usize| {
        let lease = crate::local::lease(&format!("shardId-{n}"));
        ConditionalWrite::Lease(LeaseWrite::Create(lease))
    };
    let many: Vec<_> = (0..101).map(create).collect();
    for group in [&many[..], &[create(1), create(1)]] {
        let error = table.write_all(group).await.unwrap_err();
        assert!(!error.is_transient(), "{error}");
    }
    assert_eq!(table.write_all(&[]).await.unwrap(), CasOutcome::Won(None));
    assert!(table.scan(Scan::Leases).await.unwrap().is_empty());
}
