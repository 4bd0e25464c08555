//! `kcl table show`.

use std::error::Error;

use kcl_core::protocol::{Lease, TableRow, WorkerRow};
use serde_json::{Value, json};

use super::{Found, Place};
use crate::output::cell;

pub(super) async fn run(place: &Place) -> Result<(), Box<dyn Error>> {
    let found = Found::read(&place.open().await).await?;
    place.print(|| text(&found), || as_json(&found))
}

fn text(found: &Found) -> String {
    let mut lines = vec![format!("table     {}", cell(&table_line(found)))];
    for stream in &found.streams {
        let synced = if stream.first_sync_done { "synced" } else { "first sync not done" };
        let (name, made) = (cell(stream.name.as_str()), stream.created_at_millis);
        lines.push(format!("stream    {name}, created at {made} ms, {synced}"));
    }
    let mut rows = vec![["WORKER", "STATE", "HEARTBEAT", "LOAD", "ADDRESS"].map(str::to_owned)];
    rows.extend(found.workers.iter().map(worker_line));
    lines.extend(aligned(rows));
    let mut rows = vec![["LEASE", "OWNER", "FENCE", "CHECKPOINT", "NOTE"].map(str::to_owned)];
    rows.extend(found.leases.iter().map(lease_line));
    lines.extend(aligned(rows));
    lines.join("\n")
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

/// An empty line, and columns as wide as their widest cell. What a worker wrote stays in its own.
fn aligned(rows: Vec<[String; 5]>) -> Vec<String> {
    let rows: Vec<_> = rows.into_iter().map(|row| row.map(|text| cell(&text))).collect();
    let wide = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: [usize; 5] = std::array::from_fn(|column| wide(column).unwrap_or(0));
    let line = |row: &[String; 5]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    [String::new()].into_iter().chain(rows.iter().map(line)).collect()
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kcl_core::protocol::{Checkpoint, HashKeyRange, LeaseTiming, Parked, WorkerId};

    use super::*;

    #[test]
    fn what_workers_wrote_stays_in_its_cell_and_drives_no_terminal() {
        let (key, from) = ("shard-1".into(), Checkpoint::TrimHorizon);
        let mut lease = Lease::unowned(key, from, HashKeyRange::FULL);
        let reason = "bad\u{1b}]0;title\u{7}\nshard-2  nobody".to_owned();
        lease.parked = Some(Parked { reason, at: None });
        let timing = LeaseTiming::new(Duration::from_secs(1), Duration::ZERO);
        let mut worker = WorkerRow::live(WorkerId::from("w\u{9b}2J"), timing);
        worker.address = Some("127.0.0.1:1\r".into());
        let (workers, leases) = (vec![worker], vec![lease]);
        let found = Found { id: "id".into(), table: None, streams: vec![], workers, leases };
        let shown = text(&found);
        assert!(shown.contains(r"bad\u{1b}]0;title\u{7}\nshard-2  nobody"), "{shown}");
        assert!(shown.contains(r"w\u{9b}2J") && shown.contains(r"127.0.0.1:1\r"), "{shown}");
        assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{shown:?}");
        assert_eq!(shown.lines().count(), 7, "{shown}");
    }
}
