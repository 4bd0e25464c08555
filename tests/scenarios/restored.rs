//! A table that came back from a backup.

use std::time::Duration;

use kcl_core::protocol::limits::GENERATIONS_AT_ONCE;
use kcl_core::protocol::{ConditionalWrite, Fence, TableWrite};
use kcl_core::{Acceptance, LeaseTable, WorkerError};

use crate::fleet::Fleet;

/// Binds the table to another id, as a copy of it would be.
async fn rebind(fleet: &Fleet, generation: u64) {
    let write = TableWrite::NextGeneration { seen: generation, table_id: "another".into() };
    assert!(fleet.table.write(&ConditionalWrite::Table(write)).await.unwrap().is_won());
}

#[tokio::test(start_paused = true)]
async fn an_accepted_table_serves_again_with_fences_above_all_earlier_ones() {
    let mut fleet = Fleet::new(2);
    let worker = fleet.start();
    fleet.pass(Duration::from_secs(5)).await;
    // Its rows read live for ever.
    worker.kill();
    rebind(&fleet, 0).await;
    let refused = fleet.start().end().await.unwrap_err().to_string();
    assert!(refused.contains("kcl table accept-restored"), "{refused}");
    assert!(refused.contains("row TABLE "), "{refused}");
    let accepted = fleet.config().accept_restored(&fleet.table, None).await.unwrap();
    let Acceptance::Accepted(row) = accepted else { panic!("{accepted:?}") };
    assert_eq!((row.generation, row.table_id), (2, fleet.table.prepare().await.unwrap()));
    let again = fleet.config().accept_restored(&fleet.table, Some(1)).await.unwrap();
    assert!(matches!(again, Acceptance::NotNeeded(row) if row.generation == 2));
    let worker = fleet.start();
    fleet.pass(Duration::from_secs(10)).await;
    assert_eq!(worker.shards(), 2);
    for lease in fleet.leases().await {
        assert!(lease.fence >= Fence(2 << 40), "{lease:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_generation_above_that_of_the_replaced_table_can_be_asked_for() {
    let mut fleet = Fleet::new(1);
    let worker = fleet.start();
    fleet.pass(Duration::from_secs(5)).await;
    worker.handle.shutdown().await;
    rebind(&fleet, 0).await;
    let far = fleet.config().accept_restored(&fleet.table, Some(u64::MAX)).await.unwrap_err();
    assert!(far.to_string().contains("out of reach"), "{far}");
    let most = GENERATIONS_AT_ONCE;
    let accepted = fleet.config().accept_restored(&fleet.table, Some(most)).await.unwrap();
    assert!(matches!(accepted, Acceptance::Accepted(row) if row.generation == most + 1));
    // Also afterwards, when somebody finds that it was higher.
    let accepted = fleet.config().accept_restored(&fleet.table, Some(most + 5)).await.unwrap();
    assert!(matches!(accepted, Acceptance::Accepted(row) if row.generation == most + 6));
}

#[tokio::test(start_paused = true)]
async fn a_table_in_use_or_never_used_is_not_accepted() {
    let mut fleet = Fleet::new(1);
    let unused = fleet.config().accept_restored(&fleet.table, None).await.unwrap_err();
    assert!(unused.to_string().contains("nothing to accept"), "{unused}");
    let worker = fleet.start();
    fleet.pass(Duration::from_secs(5)).await;
    rebind(&fleet, 0).await;
    let running = fleet.config().accept_restored(&fleet.table, None).await.unwrap_err();
    let WorkerError::StillRunning { workers } = running else { panic!("{running}") };
    assert_eq!(workers, [worker.id().unwrap()]);
}
