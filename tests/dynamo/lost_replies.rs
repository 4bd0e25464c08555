//! Compare-and-set through a network that drops, doubles and loses: every answer must agree with
//! one order of the writes.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kcl_core::{LeaseTable, TableError};
use kcl_lease_dynamo::DynamoLeaseTable;
use kcl_protocol::{
    CasOutcome, ConditionalWrite, Fence, LeaseChange, LeaseCondition, LeaseKey, LeaseWrite, Row,
    RowKey, WorkerId,
};

use crate::local::{client_of, endpoint, lease, table};
use crate::proxy::{Faults, start};

const CLIENTS: u64 = 6;
const ROUNDS: u64 = 40;

/// What was learnt about the lease.
#[derive(Default)]
struct History {
    /// Owner at each fence, as any answer showed it. Two answers must not differ.
    owners: BTreeMap<Fence, WorkerId>,
    won: BTreeMap<WorkerId, Fence>,
    not_applied: Vec<WorkerId>,
    unknown: u64,
}

impl History {
    fn saw(&mut self, row: Option<&Row>) {
        let Some(Row::Lease(lease)) = row else { panic!("the lease is gone: {row:?}") };
        let Some(owner) = lease.owner.clone() else { return };
        let known = self.owners.entry(lease.fence).or_insert_with(|| owner.clone());
        assert_eq!(*known, owner, "two owners at fence {}", lease.fence);
    }

    fn check(&self) {
        for (owner, fence) in &self.won {
            let at = self.owners.get(fence);
            assert!(at == Some(owner), "{owner} won fence {fence}, where {at:?} was seen");
        }
        for owner in &self.not_applied {
            assert!(!self.owners.values().any(|seen| seen == owner), "{owner} was told it lost");
        }
    }
}

async fn client(table: DynamoLeaseTable, me: u64, history: Arc<Mutex<History>>) {
    for round in 0..ROUNDS {
        // Every write carries an owner of its own, which tells afterwards whether it applied.
        let owner = WorkerId::from(format!("w-{me}-{round}"));
        let Ok(row) = table.read(&RowKey::Lease(LeaseKey::new("a"))).await else { continue };
        history.lock().unwrap().saw(row.as_ref());
        let Some(Row::Lease(seen)) = row else { panic!("the lease is gone") };
        let next = Fence(seen.fence.0 + 1);
        let write = ConditionalWrite::Lease(LeaseWrite::Update {
            key: LeaseKey::new("a"),
            when: vec![LeaseCondition::FenceIs(seen.fence), LeaseCondition::NotEnded],
            change: vec![LeaseChange::Owner(Some(owner.clone())), LeaseChange::Fence(next)],
        });
        let marker = lease(&format!("marker-{me}-{round}"));
        let marker = ConditionalWrite::Lease(LeaseWrite::Ensure(marker));
        let outcome = match round % 4 {
            0 => table.write_all(&[write, marker]).await,
            _ => table.write(&write).await,
        };
        let mut history = history.lock().unwrap();
        match outcome {
            Ok(CasOutcome::Won(row)) => {
                history.saw(row.as_ref());
                // The row of a transaction is read after it, so it may be a later one.
                history.owners.entry(next).or_insert_with(|| owner.clone());
                history.won.insert(owner, next);
            }
            Ok(CasOutcome::Lost(row)) => {
                history.saw(row.as_ref());
                history.not_applied.push(owner);
            }
            Err(TableError::Unknown(_)) => history.unknown += 1,
            Err(error) if error.is_transient() => history.not_applied.push(owner),
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_fits_one_order_of_the_writes_whatever_the_network_loses() {
    let Some((_, direct)) = table("lossy").await else { return };
    let write = ConditionalWrite::Lease(LeaseWrite::Create(lease("a")));
    assert!(direct.write(&write).await.unwrap().is_won());
    let faults = Arc::new(Faults::default());
    let upstream = endpoint().unwrap();
    let url = start(&upstream, 0x5EED, Arc::clone(&faults)).await;
    let lossy = direct.for_liveness(&client_of(&url), Duration::from_secs(10));
    let history = Arc::new(Mutex::new(History::default()));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|me| tokio::spawn(client(lossy.clone(), me, Arc::clone(&history))))
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    let last = direct.read(&RowKey::Lease(LeaseKey::new("a"))).await.unwrap();
    let mut history = history.lock().unwrap();
    history.saw(last.as_ref());
    history.check();
    let Some(Row::Lease(last)) = last else { panic!("the lease is gone") };
    let applied = last.fence.0;
    let won = history.won.len() as u64;
    let count = (won, history.unknown, applied);
    assert!(won <= applied && applied <= won + history.unknown, "won, unknown, applied: {count:?}");
    // Whoever loses a race loses it to a winner, so there is about one a round: of far fewer
    // nothing can be told.
    assert!(won >= ROUNDS / 4, "won, unknown, applied: {count:?}");
    for (what, fault) in [
        ("dropped", &faults.dropped),
        ("reply lost", &faults.reply_lost),
        ("doubled", &faults.doubled),
    ] {
        assert!(fault.load(Ordering::Relaxed) > 5, "{what}: too few to tell anything");
    }
}
