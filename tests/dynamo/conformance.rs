//! The suite that every lease table passes.

use std::sync::Arc;

use crate::local::table;

kcl_testkit::lease_table_suite!(match table("suite").await {
    Some((_, table)) => Arc::new(table),
    None => return,
});
