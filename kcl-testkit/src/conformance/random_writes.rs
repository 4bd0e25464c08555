//! Writes at random over a few rows, so that conditions hold about as often as they fail.

use std::time::Duration;

use kcl_core::Bytes;
use kcl_core::protocol::{
    Checkpoint, ConditionalWrite, EntryId, Fence, HashKeyRange, HeldDigest, InboxEntry, Lease,
    LeaseChange, LeaseCondition, LeaseKey, LeaseTiming, LeaseWrite, Ordinal, Parked, Position,
    Prepared, Reads, RowKey, SequenceNumber, ShardId, StreamName, StreamRow, StreamStart,
    StreamTag, StreamWrite, TableRow, TableWrite, WorkerChange, WorkerCondition, WorkerId,
    WorkerRow, WorkerState, WorkerWrite, hash,
};

/// A stream of random writes that follows from its seed.
pub struct RandomWrites {
    seed: u64,
    drawn: u64,
}

impl RandomWrites {
    /// The writes of a seed.
    pub fn new(seed: u64) -> Self {
        Self { seed, drawn: 0 }
    }
    fn below(&mut self, bound: u64) -> u64 {
        self.drawn += 1;
        hash::mix(self.seed ^ hash::mix(self.drawn)) % bound
    }
    fn pick<T: Clone>(&mut self, choices: &[T]) -> T {
        let index = usize::try_from(self.below(choices.len() as u64)).unwrap_or(0);
        choices[index].clone()
    }

    /// Keys of every row these writes are about.
    pub fn keys() -> Vec<RowKey> {
        let workers = (0..3).map(|n| RowKey::Worker(worker(n)));
        let leases = (0..3).map(|n| RowKey::Lease(lease_key(n)));
        let streams = (0..2).map(|n| RowKey::Stream(stream(n)));
        std::iter::once(RowKey::Table).chain(workers).chain(leases).chain(streams).collect()
    }

    /// The next write.
    pub fn draw(&mut self) -> ConditionalWrite {
        match self.below(10) {
            0 => ConditionalWrite::Table(self.table()),
            1 => ConditionalWrite::Stream(self.stream()),
            2..6 => ConditionalWrite::Worker(self.worker()),
            _ => ConditionalWrite::Lease(self.lease()),
        }
    }

    fn table(&mut self) -> TableWrite {
        let small = self.below(3);
        match self.below(6) {
            4 => TableWrite::BeginReset { seen: small },
            5 => TableWrite::EndReset { generation: small },
            0 => TableWrite::Create(table_row(small)),
            1 => TableWrite::RaiseMaxima {
                duration: Duration::from_millis(900 + 100 * self.below(30)),
                grace: Duration::from_millis(50 * self.below(10)),
            },
            2 => TableWrite::NextRound { seen: small },
            _ => TableWrite::NextGeneration { seen: small, table_id: format!("table-{small}") },
        }
    }

    fn stream(&mut self) -> StreamWrite {
        let name = stream(self.below(2));
        let start = match self.below(3) {
            0 => StreamStart::TrimHorizon,
            1 => StreamStart::AtTimestamp(self.below(u64::MAX)),
            _ => StreamStart::After([(shard(self.below(4)), position(self.below(9)))].into()),
        };
        let created_at_millis = 1 + self.below(5);
        let first_sync_done = self.below(2) == 0;
        let row = StreamRow { name: name.clone(), created_at_millis, start, first_sync_done };
        match self.below(3) {
            0 => StreamWrite::Create(row),
            1 => StreamWrite::FirstSyncDone(name),
            _ => StreamWrite::Restart(row),
        }
    }

    fn worker(&mut self) -> WorkerWrite {
        let id = worker(self.below(3));
        let when = (0..self.below(3)).map(|_| self.worker_condition()).collect();
        match self.below(8) {
            0 => {
                let timing = LeaseTiming::new(Duration::from_millis(1500), Duration::ZERO);
                WorkerWrite::Create(WorkerRow::live(id, timing))
            }
            1 => WorkerWrite::Delete { id, when },
            _ => {
                let change = (0..1 + self.below(3)).map(|n| self.worker_change(n)).collect();
                WorkerWrite::Update { id, when, change }
            }
        }
    }

    fn worker_condition(&mut self) -> WorkerCondition {
        let states = [WorkerState::Live, WorkerState::Missing, WorkerState::Fenced];
        match self.below(5) {
            0 => WorkerCondition::StateIs(self.pick(&states)),
            1 => WorkerCondition::StateIsNotDead,
            2 => WorkerCondition::HeartbeatIs(1 + self.below(6)),
            3 => WorkerCondition::InboxBelow(usize::try_from(self.below(4)).unwrap_or(0)),
            _ => WorkerCondition::InboxHas(EntryId(u128::from(self.below(4)))),
        }
    }

    /// A change; the place in the write keeps two of one kind apart, which no store must combine.
    fn worker_change(&mut self, place: u64) -> WorkerChange {
        let entry = EntryId(u128::from(self.below(4)));
        let leases = vec![(lease_key(self.below(3)), Fence(self.below(9)))];
        match (place, self.below(5)) {
            (0, 0) => WorkerChange::Beat,
            (0, 1) => WorkerChange::Load(u32::try_from(self.below(99)).unwrap_or(0)),
            (0, 2) => WorkerChange::Draining(self.below(2) == 0),
            (0, _) => WorkerChange::Digest(HeldDigest { count: 2, hashes: self.below(u64::MAX) }),
            (1, 0) => WorkerChange::InboxRemove(entry),
            (1, 1) => WorkerChange::InboxPut(entry, InboxEntry::Grant { leases }),
            (1, 2) => {
                let to = worker(self.below(3));
                WorkerChange::InboxPut(entry, InboxEntry::Ask { leases, to, have: 3 })
            }
            (1, _) => {
                let (lease, fence) = leases[0].clone();
                let to = worker(self.below(3));
                WorkerChange::InboxPut(entry, InboxEntry::Revoke { lease, fence, to })
            }
            (_, 0) => WorkerChange::State(self.pick(&[
                WorkerState::Live,
                WorkerState::Missing,
                WorkerState::Fenced,
                WorkerState::Gone,
            ])),
            (_, 2) => WorkerChange::Reads(self.reads()),
            (_, 1) => WorkerChange::List(self.below(2) == 0),
            (_, _) => WorkerChange::Address((entry.0 > 1).then(|| "127.0.0.1:4567".to_owned())),
        }
    }

    /// Of one stream, or of some, or of none.
    fn reads(&mut self) -> Reads {
        match self.below(4) {
            0 => Reads::TheOne,
            count => Reads::Streams((1..count).map(|_| StreamTag(self.below(u64::MAX))).collect()),
        }
    }

    fn lease(&mut self) -> LeaseWrite {
        let key = lease_key(self.below(3));
        let mut fresh = Lease::unowned(key.clone(), self.checkpoint(), HashKeyRange::FULL);
        fresh.parents = (0..self.below(3)).map(shard).collect();
        let when = (0..self.below(4)).map(|_| self.lease_condition()).collect();
        match self.below(9) {
            0 => LeaseWrite::Create(fresh),
            1 => LeaseWrite::Ensure(fresh),
            2 => LeaseWrite::Delete { key, when },
            _ => {
                let change = self.lease_changes();
                LeaseWrite::Update { key, when, change }
            }
        }
    }

    fn lease_condition(&mut self) -> LeaseCondition {
        match self.below(7) {
            0 => LeaseCondition::OwnerIs(worker(self.below(3))),
            1 => LeaseCondition::Unowned,
            2 => LeaseCondition::FenceIs(Fence(self.below(4))),
            3 => LeaseCondition::OrdinalAtMost(Ordinal(self.below(4))),
            4 => LeaseCondition::OrdinalBelow(Ordinal(self.below(4))),
            5 => LeaseCondition::Ended,
            _ => LeaseCondition::NotEnded,
        }
    }

    /// Changes as the protocol combines them: an ownership write, a checkpoint, or a mark.
    fn lease_changes(&mut self) -> Vec<LeaseChange> {
        match self.below(5) {
            0 => {
                let owner = (self.below(4) > 0).then(|| worker(self.below(3)));
                vec![
                    LeaseChange::Owner(owner),
                    LeaseChange::Fence(Fence(self.below(4))),
                    LeaseChange::Parked(None),
                ]
            }
            1 => vec![
                LeaseChange::Checkpoint(self.checkpoint()),
                LeaseChange::Prepared(self.prepared()),
                LeaseChange::Owner(Some(worker(self.below(3)))),
                LeaseChange::Fence(Fence(self.below(4))),
            ],
            2 => vec![
                LeaseChange::Checkpoint(self.checkpoint()),
                LeaseChange::Prepared(self.prepared()),
                LeaseChange::Ordinal(Ordinal(self.below(4))),
            ],
            3 => vec![
                LeaseChange::Checkpoint(Checkpoint::ShardEnd),
                LeaseChange::Children([shard(7), shard(8)].into()),
                LeaseChange::Owner(None),
                LeaseChange::Fence(Fence(self.below(4))),
            ],
            _ => {
                let at = (self.below(2) == 0).then(|| position(3));
                let parked = Parked { reason: "it broke — on purpose".into(), at };
                let unlisted = (self.below(2) == 0).then_some(1_700_000_000_000);
                vec![
                    LeaseChange::Parked((self.below(2) == 0).then_some(parked)),
                    LeaseChange::UnlistedSince(unlisted),
                ]
            }
        }
    }

    /// None, with state, or without any.
    fn prepared(&mut self) -> Option<Prepared> {
        let length = usize::try_from(self.below(3)).unwrap_or(0);
        let state = Bytes::copy_from_slice(&[0, 255, 7][..length]);
        (self.below(2) == 0).then(|| Prepared { checkpoint: self.checkpoint(), state })
    }

    fn checkpoint(&mut self) -> Checkpoint {
        match self.below(6) {
            0 => Checkpoint::TrimHorizon,
            1 => Checkpoint::AtTimestamp(self.below(u64::MAX)),
            2 => Checkpoint::Latest,
            3 => Checkpoint::ShardEnd,
            _ => Checkpoint::At(position(self.below(9))),
        }
    }
}

/// The row of a new table.
pub fn table_row(round: u64) -> TableRow {
    TableRow {
        table_id: "table-0".into(),
        generation: 0,
        schema: TableRow::SCHEMA,
        max_duration: Duration::from_secs(3),
        max_grace: Duration::from_millis(250),
        resetting: false,
        round,
        hint_key: u128::MAX - 5,
    }
}

fn worker(number: u64) -> WorkerId {
    WorkerId::from(format!("worker-{number}"))
}
fn lease_key(number: u64) -> LeaseKey {
    LeaseKey::new(shard(number).as_str())
}
fn shard(number: u64) -> ShardId {
    ShardId::from(format!("shardId-{number:012}"))
}
fn stream(number: u64) -> StreamName {
    StreamName::from(format!("stream-{number}"))
}
fn position(number: u64) -> Position {
    let sequence = SequenceNumber::from_parts(1 << 50, u128::MAX - u128::from(number));
    Position { sequence, subsequence: number / 4 }
}
