//! The table in a file: what it keeps, and what it refuses.

use std::path::PathBuf;

use kcl_core::protocol::{
    Checkpoint, ConditionalWrite, Fence, HashKeyRange, Lease, LeaseKey, LeaseWrite, Parked,
    Position, Row, SequenceNumber, WorkerId,
};
use kcl_core::{LeaseTable, Scan, TableError};
use kcl_lease_local::FileLeaseTable;

fn fresh_path() -> PathBuf {
    std::env::temp_dir().join(format!("kcl-lease-{}.redb", uuid::Uuid::new_v4()))
}

fn lease() -> Lease {
    let at = Position { sequence: SequenceNumber::MAX, subsequence: u64::MAX };
    let mut lease =
        Lease::unowned(LeaseKey::new("shard-é"), Checkpoint::At(at), HashKeyRange::FULL);
    lease.owner = Some(WorkerId::new("w"));
    lease.fence = Fence(u64::MAX);
    lease.parked = Some(Parked { reason: "日本".into(), at: Some(at) });
    lease
}

#[tokio::test]
async fn rows_and_id_survive_a_reopening() {
    let path = fresh_path();
    let write = ConditionalWrite::Lease(LeaseWrite::Create(lease()));
    let table = FileLeaseTable::open(&path).unwrap();
    let id = table.prepare().await.unwrap();
    assert!(table.write(&write).await.unwrap().is_won());
    drop(table);
    let table = FileLeaseTable::open(&path).unwrap();
    assert_eq!(table.prepare().await.unwrap(), id);
    assert_eq!(table.scan(Scan::Leases).await.unwrap(), [Row::Lease(lease())]);
    assert_eq!(table.scan(Scan::Coordination).await.unwrap(), []);
    let lost = table.write(&write).await.unwrap();
    assert!(!lost.is_won());
    assert_eq!(lost.row(), Some(&Row::Lease(lease())));
    drop(table);
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_file_of_other_content_is_refused_by_name() {
    let path = fresh_path();
    std::fs::write(&path, "carrier,flight\n".repeat(1000)).unwrap();
    let refused = FileLeaseTable::open(&path).err().unwrap();
    assert!(matches!(&refused, TableError::Refused(why) if why.contains(path.to_str().unwrap())));
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_file_open_elsewhere_is_refused() {
    let path = fresh_path();
    let table = FileLeaseTable::open(&path).unwrap();
    assert!(matches!(FileLeaseTable::open(&path), Err(TableError::Refused(_))));
    drop(table);
    std::fs::remove_file(path).unwrap();
}
