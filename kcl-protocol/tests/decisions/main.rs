//! The decisions one by one, with times and fences a reader can follow. What they add up to is
//! the model's to say (`docs/model.md`).

mod force;
mod holdings;
mod liveness;
mod moves;
mod rounds;
mod sync;
mod values;
mod watch;
mod writes;

use std::time::Duration;

use kcl_protocol::moves::settled;
use kcl_protocol::{
    Checkpoint, ConditionalWrite, Fence, HashKeyRange, Lease, LeaseKey, LeaseTiming, LeaseWrite,
    Moment, Position, Row, SequenceNumber, WorkerId, WorkerRow, WorkerWrite,
};

/// `D` = 3 s, so `H` = 1 s, `D_own` = 2.977 s and `D_take` = 3.003 s.
const TIMING: LeaseTiming = LeaseTiming::new(Duration::from_secs(3), Duration::ZERO);

fn ms(millis: u64) -> Moment {
    Moment(Duration::from_millis(millis))
}

fn id(name: &str) -> WorkerId {
    WorkerId::new(name)
}

fn key(name: &str) -> LeaseKey {
    LeaseKey::new(name)
}

/// A worker's row at this heartbeat.
fn row(name: &str, heartbeat: u64) -> WorkerRow {
    WorkerRow { heartbeat, ..WorkerRow::live(id(name), TIMING) }
}

/// A lease `a` at this fence.
fn lease(owner: Option<&str>, fence: u64) -> Lease {
    let mut lease = Lease::unowned(key("a"), at(5), HashKeyRange::FULL);
    (lease.owner, lease.fence) = (owner.map(id), Fence(fence));
    lease
}

fn at(number: u128) -> Checkpoint {
    Checkpoint::At(Position { sequence: SequenceNumber::from_parts(0, number), subsequence: 0 })
}

/// What a lease's row is after a write; `None` if a condition failed.
fn applied(write: &LeaseWrite, row: &Lease) -> Option<Lease> {
    let write = ConditionalWrite::Lease(write.clone());
    write.apply(Some(&Row::Lease(row.clone()))).ok().flatten().and_then(Row::into_lease)
}

/// What a worker's row is after a write; `None` if a condition failed.
fn told(write: &WorkerWrite, row: &WorkerRow) -> Option<WorkerRow> {
    let write = ConditionalWrite::Worker(write.clone());
    write.apply(Some(&Row::Worker(row.clone()))).ok().flatten().and_then(Row::into_worker)
}

#[test]
fn after_a_lost_reply_only_an_unfinished_row_that_names_me_is_still_mine() {
    use kcl_protocol::moves::Settled::{Gone, StillMine};
    let me = id("me");
    assert_eq!(settled(Some(&lease(Some("me"), 4)), &me), StillMine);
    assert_eq!(settled(Some(&lease(Some("other"), 4)), &me), Gone);
    assert_eq!(settled(Some(&lease(None, 4)), &me), Gone);
    assert_eq!(settled(None, &me), Gone);
    let ended = Lease { checkpoint: Checkpoint::ShardEnd, ..lease(Some("me"), 4) };
    assert_eq!(settled(Some(&ended), &me), Gone);
}
