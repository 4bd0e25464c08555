//! `kcl table accept-restored`.

use std::error::Error;

use clap::Parser;
use kcl_core::protocol::{TableRow, WorkerState};
use kcl_core::{Acceptance, Config};
use serde_json::json;

use super::{Found, Place};

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
    if args.place.json {
        print_json(&found, &row, &outcome)
    } else {
        print(&found, &row, &outcome)
    }
    Ok(())
}

fn live_workers(found: &Found) -> Vec<&str> {
    let live = found.workers.iter().filter(|row| row.state == WorkerState::Live);
    live.map(|row| row.id.as_str()).collect()
}

fn print(found: &Found, before: &TableRow, outcome: &Outcome) {
    println!("the table is     {}", found.id);
    println!("it is bound to   {}", before.table_id);
    println!("generation       {}", before.generation);
    let ended = found.leases.iter().filter(|lease| lease.is_ended()).count();
    println!("leases           {}, of which {ended} ended", found.leases.len());
    let live = live_workers(found);
    println!("live workers     {} by their rows: {}", live.len(), live.join(" "));
    match outcome {
        Outcome::NotNeeded(_) => println!("It is bound to itself. There is nothing to accept."),
        Outcome::WouldAccept(_) => println!(
            "With --yes: workers whose rows read live are watched for a lease duration; if none \
             moves, they are declared dead, and the table is bound to itself in a new generation. \
             Fences go on above all earlier ones; records come again from the checkpoints in it."
        ),
        Outcome::Accepted(row) => {
            println!("Accepted: bound to itself, generation {}. Start workers.", row.generation);
        }
    }
}

fn print_json(found: &Found, before: &TableRow, outcome: &Outcome) {
    let (what, row) = match outcome {
        Outcome::NotNeeded(row) => ("not_needed", row),
        Outcome::WouldAccept(row) => ("would_accept", row),
        Outcome::Accepted(row) => ("accepted", row),
    };
    let object = json!({
        "outcome": what, "table_id": found.id, "bound_to": before.table_id,
        "generation_before": before.generation, "generation": row.generation,
        "leases": found.leases.len(), "live_workers": live_workers(found),
    });
    println!("{object}");
}
