//! `kcl table show`.

use std::error::Error;

use kcl_core::protocol::{Lease, TableRow, WorkerRow};
use serde_json::{Value, json};

use super::{Found, Place};

pub(super) async fn run(place: &Place) -> Result<(), Box<dyn Error>> {
    let found = Found::read(&place.open().await).await?;
    if place.json {
        println!("{}", as_json(&found));
        return Ok(());
    }
    println!("table     {}", table_line(&found));
    for stream in &found.streams {
        let synced = if stream.first_sync_done { "synced" } else { "first sync not done" };
        let (name, made) = (&stream.name, stream.created_at_millis);
        println!("stream    {name}, created at {made} ms, {synced}");
    }
    let mut rows = vec![["WORKER", "STATE", "HEARTBEAT", "LOAD", "ADDRESS"].map(str::to_owned)];
    rows.extend(found.workers.iter().map(worker_line));
    print_aligned(&rows);
    let mut rows = vec![["LEASE", "OWNER", "FENCE", "CHECKPOINT", "NOTE"].map(str::to_owned)];
    rows.extend(found.leases.iter().map(lease_line));
    print_aligned(&rows);
    Ok(())
}

fn table_line(found: &Found) -> String {
    match &found.table {
        None => format!("{}; no worker has used it", found.id),
        Some(row) => {
            let TableRow { generation, round, max_duration, max_grace, .. } = row;
            let binding = if row.table_id == found.id {
                String::new()
            } else {
                format!(", bound to {}: see kcl table accept-restored", row.table_id)
            };
            format!(
                "{}{binding}, generation {generation}, round {round}, largest lease duration \
                 {max_duration:?}, grace {max_grace:?}",
                found.id
            )
        }
    }
}

fn worker_line(row: &WorkerRow) -> [String; 5] {
    let draining = if row.draining { ", draining" } else { "" };
    let address = row.address.clone().unwrap_or_default();
    let state = format!("{:?}{draining}", row.state);
    [row.id.to_string(), state, row.heartbeat.to_string(), row.load.to_string(), address]
}

fn lease_line(row: &Lease) -> [String; 5] {
    let owner = row.owner.as_ref().map_or("-".to_owned(), ToString::to_string);
    let note = row.parked.as_ref().map(|parked| format!("parked: {}", parked.reason));
    let (fence, checkpoint) = (row.fence.to_string(), row.checkpoint.to_string());
    [row.key.to_string(), owner, fence, checkpoint, note.unwrap_or_default()]
}

/// Columns as wide as their widest cell.
fn print_aligned(rows: &[[String; 5]]) {
    let wide = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: [usize; 5] = std::array::from_fn(|column| wide(column).unwrap_or(0));
    println!();
    for row in rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}

/// All of it, by the names of the rows' fields. Numbers above 2^53 are possible in fences.
fn as_json(found: &Found) -> Value {
    let workers = found.workers.iter().map(|row| {
        json!({
            "worker": row.id.as_str(), "state": format!("{:?}", row.state).to_lowercase(),
            "heartbeat": row.heartbeat, "draining": row.draining, "load": row.load,
            "lease_duration_ms": row.duration.as_millis() as u64,
            "grace_ms": row.grace.as_millis() as u64, "address": row.address,
        })
    });
    let leases = found.leases.iter().map(|row| {
        json!({
            "lease": row.key.as_str(), "owner": row.owner.as_ref().map(|owner| owner.as_str()),
            "fence": row.fence.0, "checkpoint": row.checkpoint.to_string(),
            "prepared": row.prepared.as_ref().map(|prepared| prepared.checkpoint.to_string()),
            "ended": row.is_ended(), "owner_switches": row.owner_switches,
            "parked": row.parked.as_ref().map(|parked| parked.reason.as_str()),
        })
    });
    let streams = found.streams.iter().map(|row| {
        json!({
            "stream": row.name.as_str(), "created_at_ms": row.created_at_millis,
            "first_sync_done": row.first_sync_done,
        })
    });
    let table = found.table.as_ref();
    json!({
        "table_id": found.id, "bound_to": table.map(|row| row.table_id.as_str()),
        "generation": table.map(|row| row.generation), "round": table.map(|row| row.round),
        "streams": streams.collect::<Vec<_>>(), "workers": workers.collect::<Vec<_>>(),
        "leases": leases.collect::<Vec<_>>(),
    })
}
