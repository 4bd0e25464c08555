//! Effects go with their checkpoint, or not at all.

use kcl_core::protocol::{
    Checkpoint, ConditionalWrite, Fence, HashKeyRange, Lease, LeaseChange, LeaseCondition,
    LeaseKey, LeaseWrite, Ordinal,
};
use kcl_core::{Effects, LeaseTable};
use kcl_lease_local::{LocalEffects, MemoryLeaseTable};

fn checkpoint(fence: u64, ordinal: u64) -> ConditionalWrite {
    ConditionalWrite::Lease(LeaseWrite::Update {
        key: LeaseKey::new("shardId-000000000001"),
        when: vec![
            LeaseCondition::FenceIs(Fence(fence)),
            LeaseCondition::OrdinalBelow(Ordinal(ordinal)),
        ],
        change: vec![LeaseChange::Ordinal(Ordinal(ordinal))],
    })
}

/// Puts, puts again, puts under an old fence and removes; `total` reads the entry.
async fn exercise(table: &dyn LeaseTable, total: impl AsyncFn() -> Option<Vec<u8>>) {
    assert!(table.supports_effects());
    let key = LeaseKey::new("shardId-000000000001");
    let mut lease = Lease::unowned(key, Checkpoint::TrimHorizon, HashKeyRange::FULL);
    lease.fence = Fence(5);
    table.write(&ConditionalWrite::Lease(LeaseWrite::Create(lease))).await.unwrap();
    assert_eq!(total().await, None);
    let put = |value: &str| Effects::new(LocalEffects::new().put("total", value));
    assert!(table.write_with(&checkpoint(5, 1), &put("1")).await.unwrap().is_won());
    assert!(!table.write_with(&checkpoint(5, 1), &put("repeated")).await.unwrap().is_won());
    assert!(!table.write_with(&checkpoint(4, 9), &put("stale")).await.unwrap().is_won());
    assert_eq!(total().await.as_deref(), Some(&b"1"[..]));
    let remove = Effects::new(LocalEffects::new().remove("total"));
    assert!(table.write_with(&checkpoint(5, 2), &remove).await.unwrap().is_won());
    assert_eq!(total().await, None);
}

#[tokio::test]
async fn effects_apply_once_and_only_under_the_current_fence() {
    let table = MemoryLeaseTable::new();
    exercise(&table, async || table.effect("total")).await;
    let table = crate::file_table::fresh();
    exercise(&table, async || table.effect("total").await.unwrap()).await;
}
