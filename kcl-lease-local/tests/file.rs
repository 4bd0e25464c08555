//! The table in a file: what it keeps, and what it refuses.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kcl_core::protocol::{
    Checkpoint, ConditionalWrite, Fence, HashKeyRange, Lease, LeaseChange, LeaseCondition,
    LeaseKey, LeaseWrite, Ordinal, Parked, Position, Row, SequenceNumber, WorkerId,
};
use kcl_core::{Effects, LeaseTable, Scan, TableError};
use kcl_lease_local::{FileLeaseTable, LocalEffects};

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
fn a_file_open_elsewhere_is_refused() {
    let path = fresh_path();
    let table = FileLeaseTable::open(&path).unwrap();
    assert!(matches!(FileLeaseTable::open(&path), Err(TableError::Refused(_))));
    drop(table);
    std::fs::remove_file(path).unwrap();
}

/// Names the file to a process that writes checkpoints until it is killed.
const WRITES: &str = "KCL_TEST_WRITES_LEASE_FILE";

/// Checkpoint after checkpoint, each said once it was answered.
async fn write_for_ever(path: &Path) {
    let table = FileLeaseTable::open(path).unwrap();
    table.write(&ConditionalWrite::Lease(LeaseWrite::Create(lease()))).await.unwrap();
    for ordinal in 1.. {
        let at = Position::from(SequenceNumber::from_parts(0, u128::from(ordinal)));
        let write = LeaseWrite::Update {
            key: lease().key,
            when: vec![LeaseCondition::OrdinalBelow(Ordinal(ordinal))],
            change: vec![
                LeaseChange::Checkpoint(Checkpoint::At(at)),
                LeaseChange::Ordinal(Ordinal(ordinal)),
            ],
        };
        let effects = Effects::new(LocalEffects::new().put("ordinal", ordinal.to_string()));
        let outcome = table.write_with(&ConditionalWrite::Lease(write), &effects).await;
        assert!(outcome.unwrap().is_won());
        eprintln!("answered {ordinal}");
    }
}

#[tokio::test]
async fn answered_checkpoints_and_their_effects_survive_a_kill() {
    if let Some(path) = std::env::var_os(WRITES) {
        return write_for_ever(Path::new(&path)).await;
    }
    let path = fresh_path();
    let mut writer = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "answered_checkpoints_and_their_effects_survive_a_kill", "--nocapture"])
        .env(WRITES, &path)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(writer.stderr.take().unwrap()).lines();
    assert!(said.by_ref().map(Result::unwrap).any(|line| line == "answered 30"));
    writer.kill().unwrap();
    // What it said before the kill took it.
    let answered = said.map_while(Result::ok).last().unwrap_or("answered 30".into());
    let answered: u64 = answered.strip_prefix("answered ").unwrap().parse().unwrap();
    writer.wait().unwrap();
    let table = FileLeaseTable::open(&path).unwrap();
    let found = table.scan(Scan::Leases).await.unwrap().remove(0).into_lease().unwrap();
    assert!(found.ordinal.0 >= answered, "{} is below {answered}", found.ordinal.0);
    let at = Position::from(SequenceNumber::from_parts(0, u128::from(found.ordinal.0)));
    assert_eq!(found.checkpoint, Checkpoint::At(at));
    let effect = table.effect("ordinal").await.unwrap().unwrap();
    assert_eq!(effect, found.ordinal.0.to_string().into_bytes(), "the effect of that checkpoint");
    drop(table);
    std::fs::remove_file(path).unwrap();
}
