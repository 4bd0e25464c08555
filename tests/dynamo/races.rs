//! Compare-and-set under concurrent clients.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use kcl_core::{LeaseTable, TableError};
use kcl_lease_dynamo::DynamoLeaseTable;
use kcl_protocol::{
    CasOutcome, ConditionalWrite, Fence, LeaseChange, LeaseCondition, LeaseKey, LeaseWrite, Row,
    RowKey, TableRow, TableWrite, WorkerId,
};
use std::time::Duration;

use crate::local::{lease, table};

const CLIENTS: u64 = 8;
const ROUNDS: u64 = 25;

fn bump(owner: &WorkerId, from: Fence) -> ConditionalWrite {
    ConditionalWrite::Lease(LeaseWrite::Update {
        key: LeaseKey::new("a"),
        when: vec![LeaseCondition::FenceIs(from)],
        change: vec![
            LeaseChange::Owner(Some(owner.clone())),
            LeaseChange::Fence(Fence(from.0 + 1)),
        ],
    })
}

fn fence_of(row: Option<&Row>) -> Fence {
    match row {
        Some(Row::Lease(lease)) => lease.fence,
        other => panic!("expected the lease, got {other:?}"),
    }
}

/// One client: races for the next fence, and checks every answer against what the others had
/// finished before the question was sent.
async fn race(
    table: DynamoLeaseTable,
    me: u64,
    floor: Arc<AtomicU64>,
    won: Arc<Mutex<Vec<(Fence, u64)>>>,
) {
    let owner = WorkerId::from(format!("w-{me}"));
    for round in 0..ROUNDS {
        let before = floor.load(Ordering::SeqCst);
        let row = table.read(&RowKey::Lease(LeaseKey::new("a"))).await.unwrap();
        let seen = fence_of(row.as_ref());
        assert!(seen.0 >= before, "a strong read went back: {seen} after {before}");
        floor.fetch_max(seen.0, Ordering::SeqCst);
        let write = bump(&owner, seen);
        // Every third in a transaction: both ways must agree.
        let outcome = if round % 3 == 0 {
            let other = lease(&format!("marker-{me}-{round}"));
            let marker = ConditionalWrite::Lease(LeaseWrite::Create(other));
            table.write_all(&[write, marker]).await
        } else {
            table.write(&write).await
        };
        match outcome {
            Ok(CasOutcome::Won(row)) => {
                let next = Fence(seen.0 + 1);
                won.lock().unwrap().push((next, me));
                let stands = fence_of(row.as_ref());
                assert!(stands >= next, "the row of a won write is at {stands}, below {next}");
                floor.fetch_max(next.0, Ordering::SeqCst);
            }
            Ok(CasOutcome::Lost(row)) => {
                let stands = fence_of(row.as_ref());
                assert!(stands > seen, "lost to {stands}, which is not above {seen}");
                floor.fetch_max(stands.0, Ordering::SeqCst);
            }
            Err(TableError::Conflict) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fence_has_one_winner_and_reads_never_go_back() {
    let Some((_, table)) = table("race").await else { return };
    let write = ConditionalWrite::Lease(LeaseWrite::Create(lease("a")));
    assert!(table.write(&write).await.unwrap().is_won());
    let floor = Arc::new(AtomicU64::new(0));
    let won = Arc::new(Mutex::new(Vec::new()));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|me| tokio::spawn(race(table.clone(), me, Arc::clone(&floor), Arc::clone(&won))))
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    let mut won = won.lock().unwrap().clone();
    won.sort_unstable();
    let fences: Vec<u64> = won.iter().map(|(fence, _)| fence.0).collect();
    let expected: Vec<u64> = (1..=won.len() as u64).collect();
    assert_eq!(fences, expected, "every fence won once, none skipped");
    let row = table.read(&RowKey::Lease(LeaseKey::new("a"))).await.unwrap();
    let Some(Row::Lease(last)) = row else { panic!("the lease is gone") };
    let (fence, winner) = won.last().copied().unwrap();
    assert_eq!((last.fence, last.owner), (fence, Some(WorkerId::from(format!("w-{winner}")))));
    let changes = won.windows(2).filter(|pair| pair[0].1 != pair[1].1).count() as u64 + 1;
    assert_eq!(last.owner_switches, changes, "each change of owner counted once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn maxima_raised_at_once_all_count() {
    let Some((_, table)) = table("maxima").await else { return };
    let row = TableRow {
        table_id: "id".into(),
        generation: 0,
        schema: TableRow::SCHEMA,
        max_duration: Duration::from_secs(1),
        max_grace: Duration::ZERO,
        resetting: false,
        round: 0,
        hint_key: u128::MAX,
    };
    let write = ConditionalWrite::Table(TableWrite::Create(row));
    assert!(table.write(&write).await.unwrap().is_won());
    let raised = (1..=6u64).map(|n| {
        let table = table.clone();
        tokio::spawn(async move {
            let duration = Duration::from_nanos(1_500_000_000 + n);
            let grace = Duration::from_nanos(10 - n);
            let write = ConditionalWrite::Table(TableWrite::RaiseMaxima { duration, grace });
            while let Err(error) = table.write(&write).await {
                assert_eq!(error, TableError::Conflict);
            }
        })
    });
    for raised in raised.collect::<Vec<_>>() {
        raised.await.unwrap();
    }
    let Some(Row::Table(row)) = table.read(&RowKey::Table).await.unwrap() else { panic!() };
    assert_eq!(row.max_duration, Duration::from_nanos(1_500_000_006));
    assert_eq!(row.max_grace, Duration::from_nanos(9));
}
