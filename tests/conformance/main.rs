//! Every plug-in against the suites of `kcl-testkit`.

mod memory_table {
    use std::sync::Arc;

    use kcl_lease_local::MemoryLeaseTable;

    kcl_testkit::lease_table_suite!(Arc::new(MemoryLeaseTable::new()));
}

mod effects;
mod file_table;
mod local_sink;
mod local_stream;
mod unpacked;
