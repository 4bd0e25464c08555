//! The rows of a fleet that has come to rest: is every open shard held, and evenly, and do the
//! leases tile the hash key space?

use std::collections::BTreeMap;

use kcl_core::protocol::Row;
use kcl_core::{Clock, LeaseTable, Scan, SystemClock};
use kcl_testkit::history::{
    Violation, every_open_shard_is_held_evenly, leases_tile_the_hash_space,
};

use crate::limits::{AUDIT_EVERY, AUDIT_PATIENCE};
use crate::stage::{Stage, Trouble};

/// What is wrong with the rows, and stays so: a worker that was killed last may not be declared
/// dead yet.
///
/// # Errors
/// The table or the stream does not answer.
pub(crate) async fn audit(stage: &Stage) -> Result<Vec<Violation>, Trouble> {
    let started = SystemClock.monotonic();
    loop {
        let found = look(stage).await;
        let is_clean = found.as_ref().is_ok_and(Vec::is_empty);
        if is_clean || SystemClock.monotonic().since(started) > AUDIT_PATIENCE {
            return found;
        }
        SystemClock.sleep(AUDIT_EVERY).await;
    }
}

async fn look(stage: &Stage) -> Result<Vec<Violation>, Trouble> {
    let shards = stage.list_shards().await?;
    let leases = stage.table.scan(Scan::Leases).await?.into_iter().filter_map(Row::into_lease);
    let leases: BTreeMap<_, _> = leases.map(|lease| (lease.key.clone(), lease)).collect();
    let workers: Vec<_> = stage
        .table
        .scan(Scan::Coordination)
        .await?
        .into_iter()
        .filter_map(|row| match row {
            Row::Worker(row) => Some(row),
            _ => None,
        })
        .collect();
    let at = SystemClock.monotonic();
    let mut found = every_open_shard_is_held_evenly(at, &workers, &leases, &shards);
    found.extend(leases_tile_the_hash_space(at, &leases, &shards));
    Ok(found)
}
