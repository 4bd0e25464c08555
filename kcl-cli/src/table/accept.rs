//! `kcl table accept-restored`.

use std::error::Error;

use clap::Parser;
use kcl_core::protocol::{TableRow, WorkerState};
use kcl_core::{Acceptance, Config};
use serde_json::{Value, json};

use super::{Found, Place};
use crate::output::cell;

#[derive(Debug, Parser)]
pub(super) struct Args {
    #[command(flatten)]
    place: Place,

    /// Do it
    #[arg(long)]
    yes: bool,

    /// Generation of the table that this one replaces (see `kcl table show`), if the backup is
    /// older than its last reset or acceptance
    #[arg(long, value_name = "GENERATION")]
    above: Option<u64>,
}

/// What came of it.
enum Outcome {
    NotNeeded(TableRow),
    WouldAccept(TableRow),
    Accepted(TableRow),
}

pub(super) async fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let table = args.place.open().await;
    let found = Found::read(&table).await?;
    let Some(row) = found.table.clone() else {
        return Err("no worker has used this table: there is nothing to accept".into());
    };
    let is_bound = row.table_id == found.id && args.above.is_none_or(|it| row.generation > it);
    let outcome = if args.yes {
        match Config::new(&args.place.application).accept_restored(&table, args.above).await? {
            Acceptance::NotNeeded(row) => Outcome::NotNeeded(row),
            Acceptance::Accepted(row) => Outcome::Accepted(row),
        }
    } else if is_bound {
        Outcome::NotNeeded(row.clone())
    } else {
        Outcome::WouldAccept(row.clone())
    };
    args.place.print(|| text(&found, &row, &outcome), || as_json(&found, &row, &outcome))
}

/// The workers whose rows read live.
fn live_workers(found: &Found) -> Vec<&str> {
    let live = found.workers.iter().filter(|row| row.state == WorkerState::Live);
    live.map(|row| row.id.as_str()).collect()
}

fn text(found: &Found, before: &TableRow, outcome: &Outcome) -> String {
    let ended = found.leases.iter().filter(|lease| lease.is_ended()).count();
    let live: Vec<_> = live_workers(found).into_iter().map(cell).collect();
    let last = match outcome {
        Outcome::NotNeeded(_) => "It is bound to itself. There is nothing to accept.".to_owned(),
        Outcome::WouldAccept(_) => {
            "With --yes: workers whose rows read live are watched for a lease duration; if none \
             moves, they are declared dead, and the table is bound to itself in a new generation. \
             Fences go on above all earlier ones; records come again from the checkpoints in it."
                .to_owned()
        }
        Outcome::Accepted(row) => {
            format!("Accepted: bound to itself, generation {}. Start workers.", row.generation)
        }
    };
    let lines = [
        format!("the table is     {}", cell(&found.id)),
        format!("it is bound to   {}", cell(&before.table_id)),
        format!("generation       {}", before.generation),
        format!("leases           {}, of which {ended} ended", found.leases.len()),
        format!("live workers     {} by their rows: {}", live.len(), live.join(" ")),
        last,
    ];
    lines.join("\n")
}

fn as_json(found: &Found, before: &TableRow, outcome: &Outcome) -> Value {
    let (what, row) = match outcome {
        Outcome::NotNeeded(row) => ("not_needed", row),
        Outcome::WouldAccept(row) => ("would_accept", row),
        Outcome::Accepted(row) => ("accepted", row),
    };
    json!({
        "outcome": what, "table_id": found.id, "bound_to": before.table_id,
        "generation_before": before.generation, "generation": row.generation,
        "leases": found.leases.len(), "live_workers": live_workers(found),
    })
}
