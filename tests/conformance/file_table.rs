//! The lease table in a local file against the suite.

use std::sync::Arc;

use kcl_core::LeaseTable;
use kcl_lease_local::FileLeaseTable;

/// A table in a new file; the name goes at once, the open file lives until the test ends.
fn fresh() -> Arc<dyn LeaseTable> {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let name = format!("kcl-conformance-{}-{number}.redb", std::process::id());
    let path = std::env::temp_dir().join(name);
    let table = FileLeaseTable::open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    Arc::new(table)
}

kcl_testkit::lease_table_suite!(fresh());
